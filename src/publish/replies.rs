//! Replies to a publisher that may never read them.

use std::fmt::Write;
use std::io;

use bytes::{Buf, BytesMut};
use tokio::net::UnixStream;

use crate::broker::Receipt;
use crate::event::frame::FrameError;

/// How many bytes of replies wait for a publisher at most, besides those the system holds.
const MOST: usize = 256 << 10;

/// The reply lines that the socket has not taken yet.
///
/// They never hold up reading. A publisher that lets so many pile up is not reading them, and gets
/// no more: half of the replies would only mislead it.
#[derive(Debug, Default)]
pub(super) struct Replies {
    waiting: BytesMut,
    stopped: bool,
}

impl Replies {
    pub(super) fn are_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Hands the socket as much as it takes now.
    pub(super) fn write(&mut self, stream: &UnixStream) {
        while self.are_waiting() {
            match stream.try_write(&self.waiting) {
                Ok(written) => self.waiting.advance(written),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // The publisher has left. What it sent may still be there to be read.
                Err(_) => {
                    self.stopped = true;
                    self.waiting = BytesMut::new();
                }
            }
        }
        if self.waiting.capacity() > MOST / 16 {
            self.waiting = BytesMut::new();
        }
    }

    /// `ok`: done, and there is nothing to say about it.
    pub(super) fn done(&mut self) {
        self.line(format_args!("ok"));
    }

    /// `ok ID RECEIVERS LEVEL[ duplicate]`.
    pub(super) fn receipt(&mut self, receipt: &Receipt) {
        let Some(id) = &receipt.id else { return self.done() };
        let duplicate = if receipt.duplicate { " duplicate" } else { "" };
        self.line(format_args!("ok {id} {} {}{duplicate}", receipt.receivers, receipt.level.as_str()));
    }

    /// `error CODE TEXT`.
    pub(super) fn error(&mut self, error: &FrameError) {
        self.line(format_args!("error {} {}", error.code, one_line(&error.text)));
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        if self.stopped {
            return;
        }
        let before = self.waiting.len();
        // Writing to memory cannot fail.
        let _ = writeln!(self.waiting, "{line}");
        if self.waiting.len() > MOST {
            self.waiting.truncate(before);
            self.stopped = true;
        }
    }
}

/// Our own texts have no control characters; this is for those that come from the system.
fn one_line(text: &str) -> String {
    text.replace(char::is_control, " ")
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;
    use crate::broker::Level;
    use crate::event::frame::Code;
    use crate::event::{Epoch, EventId, Position};

    fn written(write: impl FnOnce(&mut Replies)) -> String {
        let mut replies = Replies::default();
        write(&mut replies);
        String::from_utf8(replies.waiting.to_vec()).unwrap()
    }

    #[test]
    fn replies_are_lines_as_the_protocol_has_them() {
        let position = Position { epoch: Epoch::from_word("3q9f7c"), sequence: 1042 };
        let receipt = Receipt {
            id: Some(EventId::Position(position)),
            receivers: 17,
            level: Level::Accepted,
            duplicate: false,
            disconnected: 0,
        };
        let again = Receipt { level: Level::Stored, duplicate: true, ..receipt.clone() };
        let closed = Receipt { id: None, ..receipt.clone() };
        let error = FrameError { code: Code::Store, text: "disk\nfull".into() };

        assert_eq!(written(|replies| replies.receipt(&receipt)), "ok 3q9f7c-1042 17 accepted\n");
        assert_eq!(written(|replies| replies.receipt(&again)), "ok 3q9f7c-1042 17 stored duplicate\n");
        assert_eq!(written(|replies| replies.receipt(&closed)), "ok\n");
        assert_eq!(written(Replies::done), "ok\n");
        assert_eq!(written(|replies| replies.error(&error)), "error store disk full\n");
    }

    #[tokio::test]
    async fn what_nobody_reads_is_bounded_and_ends_with_a_whole_line() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let mut replies = Replies::default();

        for _ in 0..1_000_000 {
            replies.done();
            replies.write(&ours);
        }
        assert!(replies.stopped);
        assert!(replies.waiting.len() <= MOST);

        let deliver = async move {
            while replies.are_waiting() {
                ours.writable().await.unwrap();
                replies.write(&ours);
            }
        };
        let mut read = Vec::new();
        let (_, end) = tokio::join!(deliver, theirs.read_to_end(&mut read));
        end.unwrap();
        assert!(read.ends_with(b"ok\n"));
        assert!(read.len() % 3 == 0 && read.len() > MOST);
    }
}
