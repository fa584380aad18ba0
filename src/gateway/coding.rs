//! The text of a body that its server has compressed (RFC 9110 section 8.4.1), as far as that can be read here.
//!
//! It comes in pieces of a bounded size, each made when somebody wants it, so that a few bytes that stand for many
//! cost no memory.

use brotli_decompressor::{BrotliDecompressStream, BrotliResult, BrotliState, StandardAlloc};
use bytes::{Buf, Bytes};
use flate2::{Decompress, FlushDecompress, Status};
use http::header::{self, HeaderMap};
use http_body::Frame;
use http_body_util::BodyExt;

use crate::body::{Body, BodyError, Source};
use crate::http1::elements;

/// The most text in one piece.
const PIECE: usize = 16 << 10;

/// The most codings on top of each other.
const MOST: usize = 3;

/// Why a body's text is not to be had.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unread {
    /// Its coding is none of ours.
    #[error("its body has the coding `{0}`, and only gzip, deflate and br can be read here")]
    Unknown(String),
    /// There are too many of them.
    #[error("its body is coded {0} times over, and at most {MOST} are read here")]
    TooMany(usize),
}

/// Takes the codings off a body that these headers are about, and their names out of the headers.
///
/// # Errors
/// When that cannot be done.
pub(super) fn take_off(headers: &mut HeaderMap, mut body: Body) -> Result<Body, Unread> {
    let mut codings = Vec::new();
    for line in headers.get_all(header::CONTENT_ENCODING) {
        for name in elements(line.as_bytes()) {
            codings.extend(Coding::named(name)?);
        }
    }
    if codings.len() > MOST {
        return Err(Unread::TooMany(codings.len()));
    }
    headers.remove(header::CONTENT_ENCODING);
    // The last one named was put on last.
    while let Some(coding) = codings.pop() {
        headers.remove(header::CONTENT_LENGTH);
        body = Body::from_source(Decoded { body, coding, rest: Bytes::new() });
    }
    Ok(body)
}

/// How a body is compressed, and how far it was read.
enum Coding {
    Gzip(Member),
    /// With the header of RFC 1950 or, as some servers send it, without.
    Deflate(Option<Decompress>),
    Brotli(Box<Brotli>),
    /// All was read; what comes behind it is nothing.
    Done,
}

/// What follows in a gzip body, which may be several files one behind the other.
struct Member {
    inflate: Decompress,
    /// Whether something of it was read.
    begun: bool,
    /// Whether it is the first.
    is_first: bool,
}

type Brotli = BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>;

/// What a step comes to.
enum Step {
    /// So many bytes of text.
    Text(usize),
    /// There is none without further bytes of the body.
    Starved,
}

/// The bytes are not of this coding.
#[derive(Debug, thiserror::Error)]
#[error("the body cannot be decoded: {0}")]
struct Broken(&'static str);

impl Coding {
    /// `None` for what is no coding at all.
    fn named(name: &[u8]) -> Result<Option<Self>, Unread> {
        let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
        if is("identity") {
            return Ok(None);
        }
        Ok(Some(if is("gzip") || is("x-gzip") {
            Self::Gzip(Member { inflate: Decompress::new_gzip(15), begun: false, is_first: true })
        } else if is("deflate") {
            Self::Deflate(None)
        } else if is("br") {
            let alloc = StandardAlloc::default;
            Self::Brotli(Box::new(BrotliState::new_strict(alloc(), alloc(), alloc())))
        } else {
            return Err(Unread::Unknown(String::from_utf8_lossy(name).escape_debug().to_string()));
        }))
    }

    /// Makes text of some of `rest`, if that is enough for some.
    fn step(&mut self, rest: &mut Bytes, text: &mut [u8]) -> Result<Step, Broken> {
        loop {
            match self {
                Self::Done => {
                    rest.clear();
                    return Ok(Step::Starved);
                }
                Self::Gzip(member) => {
                    // Behind the last file there may be zeros, or anything.
                    if !member.is_first && !member.begun && rest.first().is_some_and(|&byte| byte != 0x1f) {
                        *self = Self::Done;
                        continue;
                    }
                    member.begun |= !rest.is_empty();
                    match inflate(&mut member.inflate, rest, text)? {
                        Inflated::More(step) => return Ok(step),
                        Inflated::End(made) => {
                            *member =
                                Member { inflate: Decompress::new_gzip(15), begun: false, is_first: false };
                            if made > 0 {
                                return Ok(Step::Text(made));
                            }
                        }
                    }
                }
                Self::Deflate(state) => {
                    let Some(&first) = rest.first() else { return Ok(Step::Starved) };
                    let has_header = first & 0x0f == 8 && first >> 4 <= 7;
                    match inflate(state.get_or_insert_with(|| Decompress::new(has_header)), rest, text)? {
                        Inflated::More(step) => return Ok(step),
                        Inflated::End(made) => {
                            *self = Self::Done;
                            return Ok(Step::Text(made));
                        }
                    }
                }
                Self::Brotli(state) => {
                    let (mut left, mut read, mut room, mut made, mut total) =
                        (rest.len(), 0, text.len(), 0, 0);
                    let result = BrotliDecompressStream(
                        &mut left, &mut read, rest, &mut room, &mut made, text, &mut total, state,
                    );
                    rest.advance(read);
                    match result {
                        BrotliResult::ResultFailure => return Err(Broken("it is no brotli")),
                        BrotliResult::ResultSuccess => *self = Self::Done,
                        BrotliResult::NeedsMoreInput | BrotliResult::NeedsMoreOutput => {}
                    }
                    return Ok(if made > 0 { Step::Text(made) } else { Step::Starved });
                }
            }
        }
    }

    /// Whether the body may end here.
    fn is_whole(&self) -> bool {
        match self {
            Self::Done => true,
            Self::Gzip(member) => !member.begun,
            // A body without bytes is one without text.
            Self::Deflate(state) => state.is_none(),
            Self::Brotli(_) => false,
        }
    }
}

enum Inflated {
    More(Step),
    /// It has ended, after so many bytes of text.
    End(usize),
}

fn inflate(inflate: &mut Decompress, rest: &mut Bytes, text: &mut [u8]) -> Result<Inflated, Broken> {
    let (read, made) = (inflate.total_in(), inflate.total_out());
    let status = inflate.decompress(rest, text, FlushDecompress::None);
    // Neither is more than what was given.
    rest.advance((inflate.total_in() - read) as usize);
    let made = (inflate.total_out() - made) as usize;
    match status {
        Ok(Status::StreamEnd) => Ok(Inflated::End(made)),
        Ok(_) if made > 0 => Ok(Inflated::More(Step::Text(made))),
        Ok(_) => Ok(Inflated::More(Step::Starved)),
        Err(_) => Err(Broken("it is no gzip or deflate")),
    }
}

/// A body on its way out of one coding.
struct Decoded {
    body: Body,
    coding: Coding,
    /// What was not made into text yet.
    rest: Bytes,
}

impl Source for Decoded {
    async fn next(&mut self) -> Option<Result<Frame<Bytes>, BodyError>> {
        loop {
            let mut text = vec![0; PIECE];
            // Even without further bytes there may be more of what was read.
            match self.coding.step(&mut self.rest, &mut text) {
                Ok(Step::Text(0) | Step::Starved) => {}
                Ok(Step::Text(made)) => {
                    text.truncate(made);
                    return Some(Ok(Frame::data(text.into())));
                }
                Err(broken) => return Some(Err(broken.into())),
            }
            drop(text);
            self.rest = match self.body.frame().await {
                None if self.coding.is_whole() => return None,
                None => return Some(Err(Broken("it ends too early").into())),
                Some(Err(error)) => return Some(Err(error)),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => data,
                    Err(trailers) => return Some(Ok(trailers)),
                },
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
    use http::HeaderValue;

    use super::*;

    struct Pieces(std::vec::IntoIter<Bytes>);

    impl Source for Pieces {
        async fn next(&mut self) -> Option<Result<Frame<Bytes>, BodyError>> {
            Some(Ok(Frame::data(self.0.next()?)))
        }
    }

    fn pieces(of: &[u8], size: usize) -> Body {
        let pieces: Vec<_> = of.chunks(size).map(Bytes::copy_from_slice).collect();
        Body::from_source(Pieces(pieces.into_iter()))
    }

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn named(coding: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(header::CONTENT_ENCODING, HeaderValue::from_static(coding))])
    }

    async fn text(coding: &'static str, body: Body) -> Result<String, String> {
        let mut body = take_off(&mut named(coding), body).map_err(|error| error.to_string())?;
        let mut all = Vec::new();
        while let Some(frame) = body.frame().await {
            all.extend_from_slice(&frame.map_err(|error| error.to_string())?.into_data().unwrap());
        }
        Ok(String::from_utf8(all).unwrap())
    }

    #[tokio::test]
    async fn what_each_coding_stands_for_comes_out_whatever_pieces_it_comes_in() {
        let long = "data: a\n\n".repeat(5000);
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::default());
        zlib.write_all(long.as_bytes()).unwrap();
        let mut raw = DeflateEncoder::new(Vec::new(), Compression::default());
        raw.write_all(long.as_bytes()).unwrap();
        let several = [gzip(b"data: "), gzip(long.as_bytes()), vec![0; 100]].concat();
        for (coding, bytes, expected) in [
            ("gzip", gzip(long.as_bytes()), long.clone()),
            ("X-GZip, identity", gzip(long.as_bytes()), long.clone()),
            ("deflate", zlib.finish().unwrap(), long.clone()),
            ("deflate", raw.finish().unwrap(), long.clone()),
            ("gzip, gzip", gzip(&gzip(long.as_bytes())), long.clone()),
            ("gzip", several, format!("data: {long}")),
            ("gzip", Vec::new(), String::new()),
            ("identity", long.clone().into_bytes(), long.clone()),
        ] {
            for size in [1, 7, 1 << 20] {
                assert_eq!(text(coding, pieces(&bytes, size)).await.as_ref(), Ok(&expected), "{coding}");
            }
        }
    }

    #[tokio::test]
    async fn what_is_flushed_comes_out_before_there_is_more() {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(b"data: a\n\n").unwrap();
        encoder.flush().unwrap();
        let flushed = Bytes::from(std::mem::take(encoder.get_mut()));
        let waits = and_then_waits(flushed);

        let mut body = take_off(&mut named("gzip"), waits).unwrap();

        let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(first, "data: a\n\n");
    }

    /// A body that says this and then nothing for ever.
    fn and_then_waits(first: Bytes) -> Body {
        struct Waits(Option<Bytes>);
        impl Source for Waits {
            async fn next(&mut self) -> Option<Result<Frame<Bytes>, BodyError>> {
                match self.0.take() {
                    Some(first) => Some(Ok(Frame::data(first))),
                    None => std::future::pending().await,
                }
            }
        }
        Body::from_source(Waits(Some(first)))
    }

    #[tokio::test]
    async fn many_zeros_are_made_piece_by_piece() {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        let zeros = vec![0; 1 << 20];
        (0..4).for_each(|_| encoder.write_all(&zeros).unwrap());
        let mut body = take_off(&mut named("gzip"), Body::from(encoder.finish().unwrap())).unwrap();
        let (mut total, mut largest) = (0, 0);

        while let Some(frame) = body.frame().await {
            let length = frame.unwrap().into_data().unwrap().len();
            (total, largest) = (total + length, largest.max(length));
        }

        assert_eq!((total, largest), (4 << 20, PIECE));
    }

    #[tokio::test]
    async fn what_cannot_be_read_is_said() {
        let whole = gzip(b"data: a\n\n");
        for (coding, bytes, said) in [
            ("zstd", &b"data"[..], "`zstd`"),
            ("gzip,gzip,gzip,gzip", b"", "4 times"),
            ("gzip", b"data: a\n\n", "no gzip"),
            ("gzip", &whole[..12], "too early"),
            ("gzip", &whole[..whole.len() - 1], "too early"),
            ("br", b"", "too early"),
            ("br", b"\xff\xff\xff\xff\xff\xff", "no brotli"),
        ] {
            let error = text(coding, pieces(bytes, 5)).await.unwrap_err();
            assert!(error.contains(said), "{coding}: {error}");
        }
    }
}
