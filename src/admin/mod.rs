//! The optional TCP listener that serves the API.
//!
//! A port has no file permissions. So a listener that others than this machine can reach needs a
//! token, and nothing but the health pages is shown without it.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::api::{Api, Door};
use crate::drain::Draining;
use crate::listen::connection::Options;
use crate::listen::{self, Listener, Service};

/// The most connections at a time; more wait.
pub const MOST_CONNECTIONS: usize = 256;

/// Where operators come in (`[admin]`).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Settings {
    /// The address; one of this machine alone if there is no token.
    pub listen: SocketAddr,
    /// Every request but those for health needs this as its bearer token (RFC 6750 section 2.1); none does
    /// if it is `None`.
    pub token: Option<String>,
}

/// Why there is no admin listener.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Anybody on the network could publish.
    #[error(
        "the admin listener {0} can be reached from other machines and has no token; set `token` in [admin], or listen on 127.0.0.1"
    )]
    Open(SocketAddr),
    /// The system does not allow it.
    #[error(transparent)]
    Listen(#[from] listen::BindError),
}

/// A bound admin listener.
#[derive(Debug)]
pub struct Bound {
    listener: Listener,
    address: SocketAddr,
    token: Option<Arc<str>>,
}

/// Binds the address. Must be called within the runtime.
///
/// # Errors
/// When the address is taken, or can be reached from other machines and there is no token.
pub fn bind(settings: &Settings) -> Result<Bound, BindError> {
    let token = settings.token.as_deref().filter(|token| !token.is_empty());
    if token.is_none() && !settings.listen.ip().to_canonical().is_loopback() {
        return Err(BindError::Open(settings.listen));
    }
    let listener = listen::bind(settings.listen, "`listen` in [admin]")?;
    let address = listener.tcp().unwrap_or(settings.listen);
    Ok(Bound { listener, address, token: token.map(Into::into) })
}

impl Bound {
    /// The address, with the port the system chose if none was given.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Serves operators until the drain begins and their last request is answered.
pub async fn serve(bound: Bound, api: Arc<Api>, draining: Draining) {
    let Bound { listener, token, .. } = bound;
    let room = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    let answer = move |request, _| Arc::clone(&api).answer(request, Door::Tcp(token.clone()));
    let options = Options { half_close: true, ..Options::default() };
    let service = Service { options, connections: Arc::clone(&room), introductions: None };
    listener.serve(service, draining, answer, |_| {}).await;
    let _ = room.acquire_many(MOST_CONNECTIONS as u32).await;
}
