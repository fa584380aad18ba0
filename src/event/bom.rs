//! A byte order mark at the front of an event stream: behind anything of ours it would spoil the first line.

/// Takes a byte order mark off the front.
#[derive(Debug, Default)]
pub struct Bom {
    seen: usize,
}

impl Bom {
    const BYTES: &[u8] = b"\xef\xbb\xbf";

    /// What is left of the next bytes. The mark may come in pieces; a piece that turns out to be none
    /// is dropped, since no text in UTF-8 goes on from there.
    pub fn strip<'a>(&mut self, mut bytes: &'a [u8]) -> &'a [u8] {
        while let (Some(&expected), Some((&first, rest))) = (Self::BYTES.get(self.seen), bytes.split_first())
        {
            if first != expected {
                self.seen = Self::BYTES.len();
                break;
            }
            self.seen += 1;
            bytes = rest;
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_order_mark_goes_even_in_pieces() {
        for pieces in [&["\u{feff}data"[..].as_bytes()][..], &[b"\xef", b"\xbb", b"\xbfda", b"ta"]] {
            let mut bom = Bom::default();

            let left: Vec<u8> = pieces.iter().flat_map(|piece| bom.strip(piece)).copied().collect();

            assert_eq!(left, b"data");
        }
        assert_eq!(Bom::default().strip(b"data"), b"data");
        let mut later = Bom::default();
        assert_eq!(later.strip(b"d"), b"d");
        assert_eq!(later.strip(b"\xef\xbb\xbf"), b"\xef\xbb\xbf", "further on it is text");
    }
}
