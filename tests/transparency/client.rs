//! A client that sends a case's bytes and keeps what comes back.

use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use super::cases::{Case, When};
use super::wire::{Framing, Kind, Message, Reader};

/// What is asked for behind every case, to see whether the connection was kept.
pub(crate) const PROBE: &str = "/probe.txt";

/// How long an answer may take. Nothing here takes as long, unless somebody waits for ever.
const PATIENCE: Duration = Duration::from_secs(5);

/// One answer, with the interim ones before it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answer {
    pub(crate) interim: Vec<Message>,
    pub(crate) message: Message,
}

/// What a client saw.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answers {
    pub(crate) answers: Vec<Answer>,
    /// Whether the connection went on to serve another request.
    pub(crate) kept: bool,
}

enum Came {
    Head,
    Answer,
}

/// Sends what `case` sends to `address`.
pub(crate) fn ask(address: &str, case: &Case) -> Answers {
    let socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.set_nodelay(true).unwrap();
    let mut reader = Reader::new(&socket);
    let (sender, came) = channel();
    std::thread::scope(|scope| {
        // Apart from the reading: who refuses an upload may answer before having read it.
        let sending = scope.spawn({
            let socket = &socket;
            move || send(socket, case, &came)
        });
        let mut answers = Vec::new();
        for method in &case.methods {
            let mut answer = Answer::default();
            let is_final = loop {
                let Some(message) = reader.message(Kind::AnswerTo(method)) else { break false };
                let _ = sender.send(Came::Head);
                if message.is_interim() {
                    answer.interim.push(message);
                } else {
                    answer.message = message;
                    break true;
                }
            };
            let ends = !is_final || !answer.message.complete || answer.message.framing == Framing::UntilClose;
            if is_final || !answer.interim.is_empty() {
                answers.push(answer);
            }
            let _ = sender.send(Came::Answer);
            if ends {
                drop(sender);
                let _ = socket.shutdown(Shutdown::Both);
                return Answers { answers, kept: false };
            }
        }
        drop(sender);
        let sent = sending.join().unwrap();
        let kept = sent && probe(&socket, &mut reader);
        Answers { answers, kept }
    })
}

/// Sends everything in its time; whether it could.
fn send(mut socket: &TcpStream, case: &Case, came: &Receiver<Came>) -> bool {
    case.parts.iter().all(|part| {
        let may_go_on = match part.when {
            When::AtOnce => true,
            When::SomethingCame => came.recv().is_ok(),
            When::Answered => came.iter().any(|came| matches!(came, Came::Answer)),
        };
        may_go_on && socket.write_all(&part.bytes).is_ok()
    })
}

fn probe(mut socket: &TcpStream, reader: &mut Reader<&TcpStream>) -> bool {
    let request = format!("GET {PROBE} HTTP/1.1\r\nHost: site.example\r\n\r\n");
    let _ = socket.write_all(request.as_bytes());
    reader.message(Kind::AnswerTo("GET")).is_some_and(|answer| answer.complete && answer.status() == 200)
}
