//! The lines that are not published yet: those that wait, and those whose reply has not come.
//!
//! The thread that reads the job's output only ever adds to it. So that it stays
//! bounded while outboard is away, the oldest lines that are not under way go first, and are counted. While
//! outboard gets on, a job that is faster waits for it, as for any other pipe.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// How long a job waits at most for an outboard that got on until now.
const PATIENCE: Duration = Duration::from_secs(2);

/// What a line takes beside its bytes.
const OVERHEAD: usize = 64;

/// How many frames may be on their way without a reply.
const MOST_UNANSWERED: usize = 256;

/// How many bytes are sent in one go.
const LOT: usize = 64 << 10;

#[derive(Debug)]
pub(super) struct Spool {
    frames: VecDeque<Frame>,
    /// How many at the front are under way: sent on this connection, and not answered.
    sent: usize,
    bytes: usize,
    most: usize,
    /// Lines that had to go.
    pub(super) lost: u64,
    /// Since when nothing more comes.
    pub(super) ended: Option<Instant>,
    /// When outboard has got on for the last time, as far as it is known to be there.
    alive: Option<Instant>,
}

#[derive(Debug)]
struct Frame {
    bytes: Vec<u8>,
    /// Whether it is a line, and no close.
    is_line: bool,
}

impl Frame {
    fn size(&self) -> usize {
        self.bytes.len() + OVERHEAD
    }
}

impl Spool {
    pub(super) fn of(most: usize) -> Self {
        Self {
            frames: VecDeque::new(),
            sent: 0,
            bytes: 0,
            most,
            lost: 0,
            ended: None,
            alive: Some(Instant::now()),
        }
    }

    /// Adds a line. Others go if there is no room for it, or it goes itself.
    pub(super) fn push_line(&mut self, bytes: Vec<u8>) {
        self.push(Frame { bytes, is_line: true });
        while self.bytes > self.most {
            // Only what was never sent: a reply to come belongs to what is under way.
            let Some(oldest) = self.frames.remove(self.sent) else { return };
            self.bytes -= oldest.size();
            self.lost += 1;
        }
    }

    /// Until when a job that is faster than outboard waits before this line makes older ones go; `None` if
    /// there is room for it, or outboard does not get on.
    pub(super) fn wait_for_room(&self, line: &[u8]) -> Option<Instant> {
        let is_full = self.bytes + line.len() + OVERHEAD > self.most && !self.frames.is_empty();
        self.alive.filter(|_| is_full).map(|alive| alive + PATIENCE).filter(|until| *until > Instant::now())
    }

    /// Adds the frame that closes the channel, for which there is always room, as the last one.
    pub(super) fn push_close(&mut self, bytes: Vec<u8>) {
        self.push(Frame { bytes, is_line: false });
    }

    fn push(&mut self, frame: Frame) {
        self.bytes += frame.size();
        self.frames.push_back(frame);
    }

    /// Whether there is something to send, and room for it among what is under way.
    pub(super) fn may_send(&self) -> bool {
        self.sent < self.frames.len() && self.sent < MOST_UNANSWERED
    }

    /// The frames to send next; they are under way from now on.
    pub(super) fn next_lot(&mut self) -> Vec<u8> {
        let mut lot = Vec::new();
        while self.may_send() && lot.len() < LOT {
            lot.extend_from_slice(&self.frames[self.sent].bytes);
            self.sent += 1;
        }
        lot
    }

    /// Whether replies are due.
    pub(super) fn is_waiting(&self) -> bool {
        self.sent > 0
    }

    /// Forgets the oldest frame: its reply is here. Whether it was a line.
    pub(super) fn answered(&mut self) -> bool {
        self.alive = Some(Instant::now());
        let Some(frame) = self.frames.pop_front() else { return false };
        self.sent = self.sent.saturating_sub(1);
        self.bytes -= frame.size();
        frame.is_line
    }

    /// There is no connection: what was under way is to be sent again.
    pub(super) fn start_again(&mut self) {
        self.sent = 0;
        self.alive = None;
    }

    /// Lines that are not known to be published.
    pub(super) fn lines(&self) -> u64 {
        self.frames.iter().filter(|frame| frame.is_line).count() as u64
    }

    /// Whether all that will ever come is done with.
    pub(super) fn is_done(&self) -> bool {
        self.ended.is_some() && self.frames.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> Spool {
        let mut spool = Spool::of(3 * (1 + OVERHEAD));
        for line in [b"1", b"2", b"3"] {
            spool.push_line(line.to_vec());
        }
        spool
    }

    #[test]
    fn the_oldest_goes_when_there_is_no_room() {
        let mut spool = full();

        spool.push_line(b"4".to_vec());

        assert_eq!(spool.next_lot(), b"234");
        assert_eq!(spool.lost, 1);
    }

    #[test]
    fn what_is_under_way_stays_until_its_reply_comes() {
        let mut spool = full();
        assert_eq!(spool.next_lot(), b"123");

        spool.push_line(b"4".to_vec());
        assert_eq!((spool.lost, spool.lines()), (1, 3));
        assert!(spool.answered());
        spool.push_line(b"5".to_vec());
        spool.start_again();

        assert_eq!(spool.next_lot(), b"235");
    }

    #[test]
    fn a_job_waits_for_an_outboard_that_gets_on_and_for_no_other() {
        let mut spool = full();
        assert!(spool.wait_for_room(b"4").is_some(), "it may be there");
        spool.alive = Instant::now().checked_sub(PATIENCE);
        assert_eq!(spool.wait_for_room(b"4"), None, "it stands still");
        spool.next_lot();
        spool.answered();
        assert_eq!(spool.wait_for_room(b"4"), None, "there is room");
        spool.push_line(b"4".to_vec());
        assert!(spool.wait_for_room(b"5").is_some(), "it gets on");
        spool.start_again();
        assert_eq!(spool.wait_for_room(b"5"), None, "it is away");
    }

    #[test]
    fn a_line_that_never_fits_is_lost_alone() {
        let mut spool = Spool::of(10);

        spool.push_line(vec![b'x'; 20]);
        spool.push_close(b"close".to_vec());

        assert_eq!((spool.lost, spool.lines()), (1, 0));
        assert_eq!(spool.next_lot(), b"close");
        assert!(!spool.answered());
    }
}
