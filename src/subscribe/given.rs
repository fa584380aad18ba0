//! The ids that stand in a text on its way (WHATWG HTML 9.2.6).

use crate::event::MAX_ID;

/// The longest line that is kept: a longer one has no id that anybody remembers.
const LONGEST: usize = "id: ".len() + MAX_ID;

/// Hears the ids of a text that comes in pieces.
#[derive(Debug, Default)]
pub(super) struct Given {
    /// The line that has begun, as far as it may matter.
    line: Vec<u8>,
    is_too_long: bool,
    /// What the last one is; an empty one is none.
    last: Option<String>,
    /// Those since [`Given::take`].
    fresh: Vec<String>,
}

impl Given {
    pub(super) fn follow(&mut self, text: &[u8]) {
        for &byte in text {
            match byte {
                b'\n' | b'\r' => self.end_line(),
                _ if self.line.len() < LONGEST => self.line.push(byte),
                _ => self.is_too_long = true,
            }
        }
    }

    /// The line that has begun ends here.
    pub(super) fn end_line(&mut self) {
        let is_too_long = std::mem::take(&mut self.is_too_long);
        if let Some(value) = self.line.strip_prefix(b"id")
            && let Some(value) = value.strip_prefix(b":").or(value.is_empty().then_some(value))
            && !value.contains(&0)
        {
            let id = String::from_utf8_lossy(value.strip_prefix(b" ").unwrap_or(value)).into_owned();
            self.last = Some(id).filter(|id| !id.is_empty());
            self.fresh.extend(self.last.clone().filter(|_| !is_too_long));
        }
        self.line.clear();
    }

    /// The ids since this was asked last.
    pub(super) fn take(&mut self) -> Vec<String> {
        std::mem::take(&mut self.fresh)
    }

    /// The one that a client has at the end.
    pub(super) fn last(&self) -> Option<&str> {
        self.last.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_heard_whatever_pieces_it_comes_in() {
        for (text, ids, last) in [
            ("id: 1\ndata: a\n\nid:2\r\nid:  3\r\r", &["1", "2", " 3"][..], Some(" 3")),
            ("id: 1\nid\n", &["1"], None),
            (" id: 1\ndata: id: 2\n: id: 3\nidx: 4\nid: 5\0\n", &[], None),
        ] {
            for size in [1, 3, 100] {
                let mut given = Given::default();
                text.as_bytes().chunks(size).for_each(|piece| given.follow(piece));

                assert_eq!(given.take(), ids, "{text:?}");
                assert_eq!(given.last(), last, "{text:?}");
                assert!(given.take().is_empty());
            }
        }
    }

    #[test]
    fn of_a_long_line_only_so_much_is_kept_and_an_id_in_it_is_one_all_the_same() {
        let mut given = Given::default();

        given.follow(format!("id: {}\n", "1".repeat(100_000)).as_bytes());

        assert!(given.line.capacity() < 1024);
        assert!(given.last().is_some() && given.take().is_empty());
    }
}
