//! Frames out, replies in (PROTOCOL 2).

use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::timeout;

use super::{ANSWER_TIMEOUT, Fault, Outboard};
use crate::channel::Channel;
use crate::event::Event;

/// Longer reply lines than this are nonsense.
const LONGEST_REPLY: usize = 64 << 10;

/// What is to be published.
#[derive(Clone, Debug)]
pub struct Draft {
    /// Where to.
    pub channel: Channel,
    /// The event, if it is not only about closing.
    pub event: Option<Event>,
    /// Whether the channel is closed afterwards.
    pub close: bool,
    /// After how long the event leaves the history; whole seconds count.
    pub ttl: Option<Duration>,
    /// The key by which a second try is known: 1 to 255 bytes without control characters.
    pub dedupe: Option<String>,
}

impl Draft {
    /// The frame that says this. No value can end its line: [`Channel`] and [`Event`] see to that
    /// for their part, and control characters of a key are left out.
    pub fn encode(&self) -> Vec<u8> {
        let mut frame = String::new();
        let mut field = |name: &str, value: &str| {
            for part in [name, ": ", value, "\n"] {
                frame.push_str(part);
            }
        };
        field("channel", self.channel.as_str());
        if let Some(event) = &self.event {
            if let Some(name) = event.name() {
                field("event", name);
            }
            if let Some(id) = event.id() {
                field("id", id);
            }
            if let Some(retry) = event.retry() {
                field("retry", &retry.to_string());
            }
            for line in event.data().into_iter().flat_map(|data| data.split('\n')) {
                field("data", line);
            }
        }
        if self.close {
            field("close", "");
        }
        if let Some(ttl) = self.ttl {
            field("ttl", &ttl.as_secs().to_string());
        }
        if let Some(key) = &self.dedupe {
            field("dedupe", &key.replace(char::is_control, ""));
        }
        frame.push('\n');
        frame.into_bytes()
    }
}

/// The reply to a frame that was taken.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Reply {
    /// Nothing to number: the frame only closed its channel.
    Done,
    /// An event was published.
    Published {
        /// Its id.
        id: String,
        /// Subscribers it was handed to.
        receivers: usize,
        /// How safe it is: `accepted` or `stored`.
        level: String,
        /// Whether it had been published before; `id` is the first one's.
        duplicate: bool,
    },
}

/// Reads a line of the socket's.
fn read_reply(line: &str) -> Result<Reply, Fault> {
    let nonsense = || Fault::Nonsense(format!("{line:?} is no reply"));
    if let Some(error) = line.strip_prefix("error ") {
        let (code, text) = error.split_once(' ').unwrap_or((error, "refused"));
        return Err(Fault::Refused { code: code.into(), text: text.into() });
    }
    let words: Vec<_> = line.split(' ').collect();
    match words.as_slice() {
        ["ok"] => Ok(Reply::Done),
        ["ok", id, receivers, level, rest @ ..] => Ok(Reply::Published {
            id: (*id).into(),
            receivers: receivers.parse().map_err(|_| nonsense())?,
            level: (*level).into(),
            duplicate: rest.contains(&"duplicate"),
        }),
        _ => Err(nonsense()),
    }
}

/// A connection for frames: what goes out, and what comes back.
pub struct Publisher {
    /// Sends frames.
    pub frames: Frames,
    /// Reads replies.
    pub replies: Replies,
}

/// The sending half of a connection.
pub struct Frames(OwnedWriteHalf);

/// The reading half of a connection.
pub struct Replies {
    stream: OwnedReadHalf,
    read: BytesMut,
}

impl Outboard {
    /// Opens a connection for frames.
    ///
    /// # Errors
    /// When nobody listens, or not for this user.
    pub async fn publisher(&self) -> Result<Publisher, Fault> {
        let (stream, frames) = self.connect().await?.into_split();
        Ok(Publisher { frames: Frames(frames), replies: Replies { stream, read: BytesMut::new() } })
    }

    /// Publishes one draft.
    ///
    /// # Errors
    /// When outboard is not there, does not answer, or refuses.
    pub async fn publish(&self, draft: &Draft) -> Result<Reply, Fault> {
        let mut publisher = self.publisher().await?;
        // A refused frame may have been answered before all of it was read.
        let sent = publisher.frames.send(&draft.encode()).await;
        let reply = timeout(ANSWER_TIMEOUT, publisher.replies.next()).await.map_err(|_| Fault::Silent)?;
        match (sent, reply) {
            (Err(fault), Err(Fault::Lost)) => Err(fault),
            (_, reply) => reply,
        }
    }
}

impl Frames {
    /// Sends a frame, or several.
    ///
    /// # Errors
    /// When the connection is gone, or takes nothing.
    pub async fn send(&mut self, frame: &[u8]) -> Result<(), Fault> {
        match timeout(ANSWER_TIMEOUT, self.0.write_all(frame)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(Fault::Lost),
            Err(_) => Err(Fault::Silent),
        }
    }
}

impl Replies {
    /// The next reply, however long it takes. Nothing is lost if the future is dropped.
    ///
    /// # Errors
    /// [`Fault::Refused`] if the frame was refused; anything else is the end of the connection.
    pub async fn next(&mut self) -> Result<Reply, Fault> {
        loop {
            if let Some(end) = self.read.iter().position(|&b| b == b'\n') {
                let line = self.read.split_to(end);
                self.read.advance(1);
                return read_reply(String::from_utf8_lossy(&line).trim_end_matches('\r'));
            }
            if self.read.len() > LONGEST_REPLY {
                return Err(Fault::Nonsense("it writes without ever ending a line".into()));
            }
            match self.stream.read_buf(&mut self.read).await {
                Ok(0) | Err(_) => return Err(Fault::Lost),
                Ok(_) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draft(event: Option<Event>) -> Draft {
        Draft { channel: Channel::parse("job-42").unwrap(), event, close: false, ttl: None, dedupe: None }
    }

    fn encoded(draft: &Draft) -> String {
        String::from_utf8(draft.encode()).unwrap()
    }

    #[test]
    fn a_draft_becomes_one_frame() {
        let mut event = Event::with_data("50\n\n 60");
        event.set_name("progress").unwrap();
        event.set_id("7").unwrap();
        let full = Draft {
            close: true,
            ttl: Some(Duration::from_secs(60)),
            dedupe: Some("k 1".into()),
            ..draft(Some(event))
        };

        assert_eq!(
            encoded(&full),
            "channel: job-42\nevent: progress\nid: 7\ndata: 50\ndata: \ndata:  60\nclose: \nttl: 60\ndedupe: k 1\n\n"
        );
    }

    #[test]
    fn no_value_ends_its_line() {
        let injected = Draft {
            dedupe: Some("k\nchannel: other".into()),
            ..draft(Some(Event::with_data("a\r\ndata: b\rc")))
        };

        assert_eq!(
            encoded(&injected),
            "channel: job-42\ndata: a\ndata: data: b\ndata: c\ndedupe: kchannel: other\n\n"
        );
    }

    #[test]
    fn replies_are_read_word_by_word() {
        let published = |duplicate| Reply::Published {
            id: "3q9f7c-1042".into(),
            receivers: 17,
            level: "accepted".into(),
            duplicate,
        };

        assert_eq!(read_reply("ok").unwrap(), Reply::Done);
        assert_eq!(read_reply("ok 3q9f7c-1042 17 accepted").unwrap(), published(false));
        assert_eq!(read_reply("ok 3q9f7c-1042 17 accepted duplicate").unwrap(), published(true));
        assert_eq!(
            read_reply("error too-large an event has at most 10 bytes").unwrap_err().to_string(),
            "an event has at most 10 bytes (too-large)"
        );
        for line in ["", "okay", "ok 1", "ok 1 x accepted", "HTTP/1.1 400 Bad Request"] {
            assert!(matches!(read_reply(line), Err(Fault::Nonsense(_))), "{line}");
        }
    }
}
