//! HTTP/1 on the wire (RFC 9112), as both sides of the product speak it.
//!
//! - [`Head`] is a message's head in the bytes in which it came, with the places of its lines;
//! - [`gate`] refuses requests that two servers in a row could read in two ways, and says how long the
//!   body of the others is;
//! - [`Reader`] takes heads and bodies from a socket, [`Writer`] puts them on one.
//!
//! Nothing here builds a map of headers: most messages only pass through, and for them a walk over the
//! lines is all that is needed. The bytes of a head are split by `httparse`.

mod answer;
pub mod chunked;
mod excerpt;
mod field;
pub mod gate;
mod head;
mod lines;
mod reader;
mod refusal;
mod repair;
mod reply;
mod value;
mod writer;

use http::{StatusCode, Version};

pub use answer::{AnswerHead, StatusLine};
pub use excerpt::Excerpt;
pub use field::Field;
pub use head::{Head, Header, RequestHead, RequestLine};
pub use lines::{Lines, title_case};
pub use reader::{BodyReader, ReadError, Reader};
pub use refusal::{BadAnswer, Refusal};
pub use reply::{Reply, Terms, Words};
pub use value::{begins, elements, essence, strip_start};
pub use writer::{Framing, Waits, WriteError, Writer};

/// How the end of a message's body is found (RFC 9112 section 6.3).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Length {
    /// So many bytes, which may be none.
    Exactly(u64),
    /// In chunks, the last of which is empty.
    Chunked,
    /// Only the end of the connection ends it.
    UntilClose,
}

impl Length {
    /// No body at all.
    pub const NONE: Self = Self::Exactly(0);
}

/// Whether an answer with this status has no body, whatever its headers say (RFC 9112 section 6.3).
fn is_bodyless(status: StatusCode) -> bool {
    status.is_informational() || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}

/// Whether a version of HTTP has chunks (RFC 9112 section 7.1): HTTP/1.0 has none yet, and HTTP/2 needs none.
pub fn has_chunks(version: Version) -> bool {
    version == Version::HTTP_11
}

/// The most bytes of a head.
const MAX_HEAD: usize = 64 << 10;

/// How large a buffer may be that a connection keeps from one message to the next, in bytes: enough for
/// most heads, and next to nothing for a connection that waits.
const KEPT: usize = 4 << 10;
