//! The body of a request or a response, whichever side it comes from.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

/// Why a body ended before its end.
pub type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// Bytes on their way through, one frame in memory at a time.
pub enum Body {
    /// A body we wrote; `None` when nothing is left of it.
    Full(Option<Bytes>),
    /// Bytes that some module makes or watches on their way.
    Stream(Pin<Box<dyn http_body::Body<Data = Bytes, Error = BodyError> + Send>>),
}

impl Body {
    /// A body without bytes.
    pub fn empty() -> Self {
        Self::Full(None)
    }

    /// Boxes a body of another type.
    pub fn stream<B>(body: B) -> Self
    where
        B: http_body::Body<Data = Bytes, Error = BodyError> + Send + 'static,
    {
        Self::Stream(Box::pin(body))
    }

    /// A body whose frames come from `source`.
    pub fn from_source(source: impl Source) -> Self {
        Self::stream(Pulled::Idle(Some(source)))
    }
}

/// Somebody who is asked for a body's frames, one after the other.
pub trait Source: Send + 'static {
    /// The next frame; `None` at the end. Dropped while it waits if nobody wants the body any more.
    fn next(&mut self) -> impl Future<Output = Option<Result<Frame<Bytes>, BodyError>>> + Send;
}

/// What comes next of a body; `None` at its end.
type Next = Option<Result<Frame<Bytes>, BodyError>>;

/// A source, or the future that has it while the next frame is waited for.
enum Pulled<S> {
    Idle(Option<S>),
    Waits(Pin<Box<dyn Future<Output = (S, Next)> + Send>>),
}

// Nothing in it is pinned where it is: the future has a box of its own.
impl<S> Unpin for Pulled<S> {}

impl<S: Source> http_body::Body for Pulled<S> {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        loop {
            match this {
                Self::Idle(source) => {
                    let Some(mut source) = source.take() else { return Poll::Ready(None) };
                    *this = Self::Waits(Box::pin(async move {
                        let frame = source.next().await;
                        (source, frame)
                    }));
                }
                Self::Waits(next) => {
                    let (source, frame) = ready!(next.as_mut().poll(cx));
                    *this = Self::Idle(Some(source).filter(|_| frame.is_some()));
                    return Poll::Ready(frame);
                }
            }
        }
    }
}

impl<T: Into<Bytes>> From<T> for Body {
    fn from(bytes: T) -> Self {
        Self::Full(Some(bytes.into()).filter(|bytes| !bytes.is_empty()))
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            Self::Full(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Stream(body) => body.as_mut().poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Full(bytes) => bytes.is_none(),
            Self::Stream(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Full(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |b| b.len() as u64)),
            Self::Stream(body) => body.size_hint(),
        }
    }
}
