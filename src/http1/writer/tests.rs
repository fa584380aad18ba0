use std::collections::VecDeque;

use http::HeaderMap;
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;

use super::*;

/// A piece of a body, or the end that breaks it off.
type Piece = Result<Frame<Bytes>, BodyError>;

/// A body that comes in these pieces, and keeps one waiting where it is said.
struct Pieces(VecDeque<Poll<Piece>>);

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Option<Piece>> {
        self.0.pop_front().map_or(Poll::Ready(None), |piece| piece.map(Some))
    }
}

fn data(text: &'static str) -> Piece {
    Ok(Frame::data(Bytes::from_static(text.as_bytes())))
}

fn trailers() -> Piece {
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", http::HeaderValue::from_static("1"));
    Ok(Frame::trailers(trailers))
}

fn pieces<const N: usize>(pieces: [Piece; N]) -> Body {
    Body::stream(Pieces(pieces.map(Poll::Ready).into()))
}

async fn written(body: Body, framing: Framing) -> (String, Option<String>) {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let mut socket = Socket::Unix(ours);
    let mut writer = Writer::new(b"head ".to_vec(), body, framing);
    let end = std::future::poll_fn(|cx| writer.poll(cx, &mut socket)).await;
    drop(socket);
    let mut text = String::new();
    theirs.read_to_string(&mut text).await.unwrap();
    (text, end.err().map(|error| error.to_string()))
}

#[tokio::test]
async fn a_body_is_framed_as_its_head_says() {
    for (framing, expected) in [
        (Framing::None, "head "),
        (Framing::Exactly(3), "head abc"),
        (Framing::UntilClose, "head abc"),
        (Framing::Chunked { trailers: false }, "head 1\r\na\r\n2\r\nbc\r\n0\r\n\r\n"),
        (Framing::Chunked { trailers: true }, "head 1\r\na\r\n2\r\nbc\r\n0\r\nx-sum: 1\r\n\r\n"),
    ] {
        let body = pieces([data("a"), data(""), data("bc"), trailers()]);

        assert_eq!(written(body, framing).await, (expected.into(), None), "{framing:?}");
    }
}

#[tokio::test]
async fn a_large_piece_is_written_in_its_place() {
    let large = || Ok(Frame::data(Bytes::from(vec![b'x'; LARGE])));
    let xs = "x".repeat(LARGE);
    for (framing, expected) in [
        (Framing::None, "head ".to_owned()),
        (Framing::Exactly(LARGE as u64 * 2 + 2), format!("head a{xs}{xs}b")),
        (Framing::UntilClose, format!("head a{xs}{xs}b")),
        (
            Framing::Chunked { trailers: false },
            format!("head 1\r\na\r\n2000\r\n{xs}\r\n2000\r\n{xs}\r\n1\r\nb\r\n0\r\n\r\n"),
        ),
    ] {
        let body = pieces([data("a"), large(), large(), data("b")]);

        assert_eq!(written(body, framing).await, (expected, None), "{framing:?}");
    }
}

#[tokio::test]
async fn a_large_piece_is_written_whole_however_little_the_socket_takes() {
    let (mut socket, mut theirs) = full();
    let large = Bytes::from((0..1 << 20).map(|number: u32| number as u8).collect::<Vec<_>>());
    let mut writer =
        Writer::new(b"head ".to_vec(), Body::from(large.clone()), Framing::Chunked { trailers: false });
    let (_, blocked) = looked_at(&mut writer, &mut socket).await;
    assert!(blocked.is_some());

    let reads = tokio::spawn(async move {
        let mut bytes = Vec::new();
        theirs.read_to_end(&mut bytes).await.unwrap();
        bytes
    });
    std::future::poll_fn(|cx| writer.poll(cx, &mut socket)).await.unwrap();
    drop(socket);

    let all = reads.await.unwrap();
    let wire = all.windows(5).position(|part| part == b"head ").unwrap();
    let expected = [b"head 100000\r\n", &large[..], b"\r\n0\r\n\r\n"].concat();
    assert!(all[wire..] == expected);
}

#[tokio::test]
async fn what_breaks_off_is_written_and_not_ended() {
    let broken = || pieces([data("abc"), Err("gone".into())]);

    for framing in [Framing::Exactly(5), Framing::UntilClose] {
        assert_eq!(written(broken(), framing).await, ("head abc".into(), Some("gone".into())));
    }
    let chunked = Framing::Chunked { trailers: false };
    assert_eq!(written(broken(), chunked).await, ("head 3\r\nabc\r\n".into(), Some("gone".into())));
}

#[tokio::test]
async fn a_message_that_broke_off_is_never_done() {
    let (ours, _theirs) = UnixStream::pair().unwrap();
    let mut socket = Socket::Unix(ours);
    let body = pieces([data("abc"), Err("gone".into())]);
    let mut writer = Writer::new(b"head ".to_vec(), body, Framing::Exactly(5));

    for _ in 0..2 {
        let end = std::future::poll_fn(|cx| writer.poll(cx, &mut socket)).await;
        assert!(matches!(end, Err(WriteError::Body(_))));
        assert!(!writer.is_done());
        assert!(!writer.rewind());
    }
}

#[tokio::test]
async fn a_body_of_another_length_than_announced_is_broken() {
    for (length, expected) in [(2, "head "), (4, "head abc")] {
        let (text, error) = written(pieces([data("abc")]), Framing::Exactly(length)).await;

        assert_eq!(text, expected);
        assert_eq!(error.as_deref(), Some("the body does not have the length that was announced"));
    }
}

#[tokio::test]
async fn what_nobody_reads_is_not_gathered_without_end() {
    struct Endless;
    impl http_body::Body for Endless {
        type Data = Bytes;
        type Error = BodyError;
        fn poll_frame(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Option<Piece>> {
            Poll::Ready(Some(data("0123456789abcdef")))
        }
    }
    let (ours, _theirs) = UnixStream::pair().unwrap();
    let mut socket = Socket::Unix(ours);
    let mut writer = Writer::new(Vec::new(), Body::stream(Endless), Framing::UntilClose);

    std::future::poll_fn(|cx| {
        assert!(writer.poll(cx, &mut socket).is_pending());
        Poll::Ready(())
    })
    .await;

    assert_eq!(writer.waits().0, Waits::Socket);
    assert!(writer.out.len() < GATHER + 100, "{}", writer.out.len());
}

/// A message whose body stops after its first piece, so many times.
fn halting(times: usize) -> Writer {
    let mut pieces = VecDeque::from([Poll::Ready(data("abc"))]);
    pieces.resize_with(1 + times, || Poll::Pending);
    let framing = Framing::Chunked { trailers: false };
    Writer::new(b"head ".to_vec(), Body::stream(Pieces(pieces)), framing)
}

/// A socket that takes nothing until its other side is read.
fn full() -> (Socket, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    // tokio takes a socket for writable until a write has failed.
    let full = loop {
        if let Err(full) = ours.try_write(&[0; 4096]) {
            break full;
        }
    };
    assert_eq!(full.kind(), io::ErrorKind::WouldBlock);
    (Socket::Unix(ours), theirs)
}

/// For whom it waits after another look, and since when.
async fn looked_at(writer: &mut Writer, socket: &mut Socket) -> (Waits, Option<Instant>) {
    std::future::poll_fn(|cx| {
        assert!(writer.poll(cx, socket).is_pending());
        Poll::Ready(writer.waits())
    })
    .await
}

#[tokio::test]
async fn a_message_that_stands_still_makes_no_progress_by_being_polled() {
    let (mut socket, _theirs) = full();
    let mut writer = halting(2);

    let (waits, since) = looked_at(&mut writer, &mut socket).await;

    assert!(waits == Waits::Socket && since.is_some());
    assert_eq!(looked_at(&mut writer, &mut socket).await, (waits, since));
}

#[tokio::test]
async fn the_wait_for_the_body_begins_when_what_was_stuck_is_written() {
    let (mut socket, mut theirs) = full();
    let mut writer = halting(1000);
    let (_, blocked) = looked_at(&mut writer, &mut socket).await;

    let reads = tokio::spawn(async move { tokio::io::copy(&mut theirs, &mut tokio::io::sink()).await });
    let since = std::future::poll_fn(|cx| match (writer.poll(cx, &mut socket), writer.waits()) {
        (Poll::Pending, (Waits::Body, since)) => Poll::Ready(since),
        _ => Poll::Pending,
    });

    assert!(since.await > blocked);
    reads.abort();
}

#[tokio::test]
async fn the_end_of_a_body_is_progress_too() {
    let (ours, _theirs) = UnixStream::pair().unwrap();
    let mut socket = Socket::Unix(ours);
    let mut writer = halting(1);
    let (_, halted) = looked_at(&mut writer, &mut socket).await;

    std::future::poll_fn(|cx| writer.poll(cx, &mut socket)).await.unwrap();

    assert!(writer.waits().1 > halted);
}

#[tokio::test]
async fn a_message_of_one_piece_can_be_written_a_second_time() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let mut writer = Writer::new(b"head ".to_vec(), Body::empty(), Framing::None);
    let mut socket = Socket::Unix(ours);
    std::future::poll_fn(|cx| writer.poll(cx, &mut socket)).await.unwrap();
    drop(theirs);

    assert!(writer.rewind());

    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let mut socket = Socket::Unix(ours);
    std::future::poll_fn(|cx| writer.poll(cx, &mut socket)).await.unwrap();
    drop(socket);
    let mut text = String::new();
    theirs.read_to_string(&mut text).await.unwrap();
    assert_eq!(text, "head ");
}
