//! A scripted backend that says exactly the bytes it is told to, a proxy in front of it, and a client
//! that reads bytes.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use outboard::drain;
use outboard::listen::Request;
use outboard::listen::connection::{self, Handled, Options, TakesOver};
use outboard::peer::Peer;
use outboard::proxy::{
    Address, Asked, Backend, Fault, Forwarded, RequestId, Settings, headers, page, tunnel,
};
use outboard::socket::Socket;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// Longer than anything here takes; a test that waits so long has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Waits, but not for ever.
pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("it does not happen")
}

/// One connection, seen from the backend or the client.
pub(crate) struct Wire {
    pub(crate) stream: BufReader<TcpStream>,
}

impl Wire {
    pub(crate) fn new(stream: TcpStream) -> Self {
        Self { stream: BufReader::new(stream) }
    }

    /// Opens a connection.
    pub(crate) async fn to(address: SocketAddr) -> Self {
        Self::new(TcpStream::connect(address).await.unwrap())
    }

    /// Reads a message's head, with the blank line; empty at the end of the connection.
    pub(crate) async fn head(&mut self) -> String {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if soon(self.stream.read_line(&mut head)).await.unwrap_or(0) == 0 {
                break;
            }
        }
        head
    }

    /// Reads so many bytes.
    pub(crate) async fn read(&mut self, size: usize) -> String {
        let mut bytes = vec![0; size];
        soon(self.stream.read_exact(&mut bytes)).await.unwrap();
        String::from_utf8(bytes).unwrap()
    }

    /// Reads to the end, and whether it was a clean one.
    pub(crate) async fn rest(&mut self) -> (String, bool) {
        let mut bytes = Vec::new();
        let clean = soon(self.stream.read_to_end(&mut bytes)).await.is_ok();
        (String::from_utf8(bytes).unwrap(), clean)
    }

    pub(crate) async fn say(&mut self, text: &str) {
        soon(self.stream.write_all(text.as_bytes())).await.unwrap();
    }

    pub(crate) async fn say_bytes(&mut self, bytes: &[u8]) {
        soon(self.stream.write_all(bytes)).await.unwrap();
    }

    /// Says it to somebody who may have left.
    pub(crate) async fn mutter(&mut self, text: &str) {
        let _ = soon(self.stream.write_all(text.as_bytes())).await;
    }

    /// Returns once the other side has closed, or broken off.
    pub(crate) async fn closed(&mut self) {
        let mut byte = [0];
        while !matches!(soon(self.stream.read(&mut byte)).await, Ok(0) | Err(_)) {}
    }
}

/// A backend whose connections are handled by the test itself.
pub(crate) struct Script {
    pub(crate) address: SocketAddr,
    connections: mpsc::UnboundedReceiver<Wire>,
}

impl Script {
    pub(crate) async fn new() -> Self {
        let (sender, connections) = mpsc::unbounded_channel();
        let address = listen(move |stream, _| {
            let _ = sender.send(Wire::new(stream));
            async {}
        })
        .await;
        Self { address, connections }
    }

    /// The next connection made to it.
    pub(crate) async fn connection(&mut self) -> Wire {
        soon(self.connections.recv()).await.unwrap()
    }

    /// The next connection and the request's head on it.
    pub(crate) async fn request(&mut self) -> (Wire, String) {
        let mut wire = self.connection().await;
        let head = wire.head().await;
        (wire, head)
    }

    /// Whether a connection waits that nobody has looked at.
    pub(crate) fn has_another(&mut self) -> bool {
        self.connections.try_recv().is_ok()
    }
}

/// A backend that does the same on each connection; `handle` gets the connection and its number.
pub(crate) async fn listen<F, A>(handle: F) -> SocketAddr
where
    F: Fn(TcpStream, usize) -> A + Send + Sync + 'static,
    A: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let number = AtomicUsize::new(0);
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(handle(stream, number.fetch_add(1, Ordering::Relaxed)));
        }
    });
    address
}

/// Settings with which nothing waits for long, and a connection is used again at once.
pub(crate) fn settings(backend: SocketAddr) -> Settings {
    Settings {
        connect_timeout: Duration::from_secs(5),
        answer_timeout: Duration::from_secs(10),
        idle_timeout: Duration::from_secs(10),
        silence: Duration::ZERO,
        ..Settings::of(Address::Tcp { host: backend.ip().to_string(), port: backend.port() })
    }
}

/// What the proxy could not answer with an answer: status and cause.
pub(crate) type Faults = mpsc::UnboundedReceiver<Fault>;

/// A proxy in front of a backend.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    pub(crate) faults: Faults,
}

impl Proxy {
    pub(crate) async fn before(backend: SocketAddr) -> Self {
        Self::with(settings(backend)).await
    }

    pub(crate) async fn with(settings: Settings) -> Self {
        let backend = Arc::new(Backend::new(settings));
        let (sender, faults) = mpsc::unbounded_channel();
        let address = listen(move |stream, _| serve(stream, backend.clone(), sender.clone())).await;
        Self { address, faults }
    }

    /// A client's connection to it.
    pub(crate) async fn client(&self) -> Wire {
        Wire::to(self.address).await
    }

    /// Sends a request and reads until the proxy closes.
    pub(crate) async fn ask(&self, request: &str) -> String {
        let mut client = self.client().await;
        client.say(request).await;
        client.rest().await.0
    }

    /// The next fault, as the operator reads it.
    pub(crate) async fn fault(&mut self) -> String {
        soon(self.faults.recv()).await.unwrap().to_string()
    }
}

/// What the gateway will do, as far as the proxy is concerned.
async fn serve(stream: TcpStream, backend: Arc<Backend>, faults: mpsc::UnboundedSender<Fault>) {
    let peer = Peer::plain(stream.peer_addr().unwrap().into(), stream.local_addr().unwrap().into());
    let (_drain, never) = drain::drain();
    let answer = |request| answer(request, &peer, &backend, &faults);
    connection::serve(Socket::Tcp(stream), Bytes::new(), Options::default(), never, answer).await;
}

async fn answer(
    request: Request,
    peer: &Peer,
    backend: &Backend,
    faults: &mpsc::UnboundedSender<Fault>,
) -> Handled<Tunnel> {
    let id = RequestId::generate();
    let Request { head, length, body, interim } = request;
    if let Err(refusal) = backend.check(&head) {
        return Handled::Response(page::error_page(refusal.status(), "Refused", "Mend it", id, None));
    }
    let asked = Asked::new(head, length, *peer, id);
    match backend.forward(&asked, length, body, None, |status, lines| interim.tell(status, lines)).await {
        Ok(Forwarded::Answer(answer)) if answer.is_plain() => Handled::Reply(answer.into_reply()),
        Ok(Forwarded::Answer(answer)) => {
            let mut response = answer.into_response();
            headers::own_stream(response.headers_mut());
            Handled::Response(response)
        }
        Ok(Forwarded::Upgrade(head, upstream)) => Handled::Taken(Box::new(Tunnel(head, upstream))),
        Err(fault) => {
            let page = page::error_page(fault.status(), "No answer", "Try again", id, None);
            let _ = faults.send(fault);
            Handled::Response(page)
        }
    }
}

/// A switch of protocols that the client is still to hear of.
struct Tunnel(Vec<u8>, tunnel::Upstream);

impl TakesOver for Tunnel {
    fn take_over(self, socket: Socket, read_ahead: Bytes) {
        let Self(head, upstream) = self;
        tokio::spawn(tunnel::run(socket, read_ahead, head, upstream));
    }
}

/// The body of a message, without its head.
pub(crate) fn body_of(message: &str) -> &str {
    message.split_once("\r\n\r\n").unwrap_or_default().1
}
