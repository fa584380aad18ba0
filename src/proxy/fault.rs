//! What can go wrong between here and the backend, whose fault it is, and what the client is told.

use std::io;
use std::time::Duration;

use http::StatusCode;

use crate::http1::BadAnswer;
use crate::http1::chunked::BadChunk;

/// Why the backend gave no proper answer. The text is for the operator's log: it names the backend and
/// says what to look at. Clients get [`Fault::status`] and nothing else of it.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// No connection could be made.
    #[error("cannot connect to backend {backend}: {cause}; {}", advice(cause))]
    Unreachable {
        /// The backend's address.
        backend: String,
        /// What the system said.
        cause: io::Error,
    },
    /// The backend's host name has no address.
    #[error("cannot find the host of backend {backend}: {cause}; check the name in `url` and the resolver")]
    Unresolved {
        /// The backend's address.
        backend: String,
        /// What the resolver said.
        cause: io::Error,
    },
    /// The connection did not open in time.
    #[error(
        "backend {backend} accepted no connection within {limit:?}; is it overloaded, or a firewall in between?"
    )]
    ConnectTimeout {
        /// The backend's address.
        backend: String,
        /// How long it was given.
        limit: Duration,
    },
    /// All connections were in use for too long.
    #[error(
        "all {limit} connections to backend {backend} were in use for {waited:?}; raise `{key}` if it can serve more at a time"
    )]
    Busy {
        /// The backend's address.
        backend: String,
        /// How many there may be.
        limit: usize,
        /// The key that says so.
        key: &'static str,
        /// How long the request waited.
        waited: Duration,
    },
    /// No answer came in time.
    #[error(
        "backend {backend} took the request and did not answer within {waited:?}; raise `answer_timeout` (for streams, `stream_answer_timeout`) if it needs longer"
    )]
    Silent {
        /// The backend's address.
        backend: String,
        /// How long it was given.
        waited: Duration,
    },
    /// The connection ended before an answer.
    #[error("backend {backend} closed the connection without an answer ({cause}); its own log may say why")]
    Closed {
        /// The backend's address.
        backend: String,
        /// What is known of it.
        cause: String,
    },
    /// The answer to a question of ours broke off.
    #[error("backend {backend} broke off in the middle of its answer; its own log may say why")]
    Cut {
        /// The backend's address.
        backend: String,
    },
    /// The answer to a question of ours is too long to be read to its end.
    #[error(
        "backend {backend} had sent {limit} bytes and not come to the end of its answer, of which the head is all that counts; let the script answer without a body"
    )]
    Endless {
        /// The backend's address.
        backend: String,
        /// How many bytes of it were read.
        limit: usize,
    },
    /// The answer to a question of ours did not end in time.
    #[error(
        "backend {backend} began its answer and did not end it within {waited:?}, of which the head is all that counts; let the script answer without a body"
    )]
    Unended {
        /// The backend's address.
        backend: String,
        /// How long it was given.
        waited: Duration,
    },
    /// The answer is no HTTP, or not such that it could be passed on safely.
    #[error("backend {backend} answered what is not valid HTTP: {cause}")]
    Nonsense {
        /// The backend's address.
        backend: String,
        /// What is wrong with it.
        cause: BadAnswer,
    },
    /// The answer switches to a protocol that nobody has asked for.
    #[error("backend {backend} switches to a protocol that was not asked for (101)")]
    Switches {
        /// The backend's address.
        backend: String,
    },
    /// A request of our own would go to what is no path.
    #[error("the backend cannot be asked: `{target}` is no path")]
    NoPath {
        /// What was to be asked for, made printable.
        target: String,
    },
    /// The client broke off while its request was passed on.
    #[error("the client broke off while it was sending its request")]
    ClientLeft,
    /// The client's chunks are none.
    #[error("the client's request cannot be read to its end: {cause}")]
    BadBody {
        /// What is wrong with them.
        cause: BadChunk,
    },
    /// The body has no length, and is too large to find it out.
    #[error(
        "the request's body has no length, and is larger than `buffer_requests` ({limit} bytes) or there is no room for it"
    )]
    LengthRequired {
        /// How large it may be.
        limit: usize,
    },
    /// The client stopped sending in the middle of its request.
    #[error("the client sent nothing of the rest of its request for {waited:?}")]
    ClientStalled {
        /// How long it was given.
        waited: Duration,
    },
}

impl Fault {
    /// What a client is told.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Unreachable { .. } | Self::Unresolved { .. } => StatusCode::BAD_GATEWAY,
            Self::Closed { .. } | Self::NoPath { .. } => StatusCode::BAD_GATEWAY,
            Self::Nonsense { .. } | Self::Switches { .. } => StatusCode::BAD_GATEWAY,
            Self::Cut { .. } | Self::Endless { .. } => StatusCode::BAD_GATEWAY,
            Self::Unended { .. } => StatusCode::GATEWAY_TIMEOUT,
            Self::ConnectTimeout { .. } | Self::Silent { .. } => StatusCode::GATEWAY_TIMEOUT,
            Self::Busy { .. } => StatusCode::SERVICE_UNAVAILABLE,
            Self::ClientLeft | Self::BadBody { .. } => StatusCode::BAD_REQUEST,
            Self::ClientStalled { .. } => StatusCode::REQUEST_TIMEOUT,
            Self::LengthRequired { .. } => StatusCode::LENGTH_REQUIRED,
        }
    }

    /// Whether the client is to blame, and not the backend.
    pub fn is_client(&self) -> bool {
        match self {
            Self::ClientLeft | Self::BadBody { .. } => true,
            Self::ClientStalled { .. } | Self::LengthRequired { .. } => true,
            Self::Unreachable { .. }
            | Self::Unresolved { .. }
            | Self::ConnectTimeout { .. }
            | Self::Busy { .. }
            | Self::Silent { .. }
            | Self::Closed { .. }
            | Self::Cut { .. }
            | Self::Endless { .. }
            | Self::Unended { .. }
            | Self::Nonsense { .. }
            | Self::Switches { .. }
            | Self::NoPath { .. } => false,
        }
    }

    /// What an operator reads first of it.
    pub fn title(&self) -> &'static str {
        match self {
            Self::ClientLeft | Self::ClientStalled { .. } => "the client gave up",
            Self::BadBody { .. } | Self::LengthRequired { .. } => "a client's request is not taken",
            Self::Nonsense { .. } | Self::Switches { .. } => "the backend's answer cannot be passed on",
            Self::Cut { .. } | Self::Endless { .. } | Self::Unended { .. } => {
                "the backend's answer has no end, so it counts for none"
            }
            Self::Unreachable { .. }
            | Self::Unresolved { .. }
            | Self::ConnectTimeout { .. }
            | Self::Busy { .. }
            | Self::Silent { .. }
            | Self::Closed { .. }
            | Self::NoPath { .. } => "the backend did not answer",
        }
    }
}

/// What an operator can look at when no connection could be made.
fn advice(cause: &io::Error) -> &'static str {
    match cause.kind() {
        io::ErrorKind::PermissionDenied => "may this user open the socket?",
        io::ErrorKind::NotFound => "is it running, and is the path right?",
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => "is its machine up?",
        _ => "is it running, and does it listen there?",
    }
}

/// An error with everything that led to it.
pub(super) fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        // Many errors repeat their cause's text in their own.
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backend() -> String {
        "http://app:80".into()
    }

    #[test]
    fn each_fault_has_the_status_that_says_what_to_do() {
        let (limit, waited) = (2, Duration::from_secs(5));
        let cause = || io::Error::from(io::ErrorKind::ConnectionRefused);
        for (fault, status) in [
            (Fault::Unreachable { backend: backend(), cause: cause() }, 502),
            (Fault::Unresolved { backend: backend(), cause: cause() }, 502),
            (Fault::Closed { backend: backend(), cause: String::new() }, 502),
            (Fault::Nonsense { backend: backend(), cause: BadAnswer::TooLarge }, 502),
            (Fault::Switches { backend: backend() }, 502),
            (Fault::Cut { backend: backend() }, 502),
            (Fault::Endless { backend: backend(), limit }, 502),
            (Fault::Unended { backend: backend(), waited }, 504),
            (Fault::ConnectTimeout { backend: backend(), limit: waited }, 504),
            (Fault::Silent { backend: backend(), waited }, 504),
            (Fault::NoPath { target: String::new() }, 502),
            (Fault::Busy { backend: backend(), limit, key: "max_connections", waited }, 503),
            (Fault::ClientLeft, 400),
            (Fault::BadBody { cause: BadChunk::Size }, 400),
            (Fault::ClientStalled { waited }, 408),
            (Fault::LengthRequired { limit }, 411),
        ] {
            assert_eq!(fault.status().as_u16(), status, "{fault}");
            assert_eq!(fault.is_client(), status < 500, "{fault}");
        }
    }

    #[test]
    fn the_text_names_the_backend_the_cause_and_what_to_look_at() {
        let cause = io::Error::from(io::ErrorKind::ConnectionRefused);
        let fault = Fault::Unreachable { backend: backend(), cause };

        assert_eq!(
            fault.to_string(),
            "cannot connect to backend http://app:80: connection refused; is it running, and does it listen there?"
        );
    }
}
