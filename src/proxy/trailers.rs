//! Trailers, of which only those pass that were announced and may (RFC 9110 section 6.5.1): whoever reads
//! them may take them for header lines.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderName;
use http_body::{Frame, SizeHint};
use smallvec::SmallVec;

use crate::body::{Body, BodyError};

/// The names that were announced and may pass.
pub(super) type Announced = SmallVec<[HeaderName; 2]>;

/// A frame of a body, with only those trailers that were announced.
pub(super) fn keep(frame: Frame<Bytes>, announced: &[HeaderName]) -> Frame<Bytes> {
    match frame.into_trailers() {
        Ok(mut trailers) => {
            let others: Vec<_> = trailers.keys().filter(|name| !announced.contains(name)).cloned().collect();
            for name in others {
                trailers.remove(name);
            }
            Frame::trailers(trailers)
        }
        Err(data) => data,
    }
}

/// A body whose trailers are only those that were announced.
pub(super) struct Only {
    pub(super) body: Body,
    pub(super) announced: Announced,
}

impl http_body::Body for Only {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Self { body, announced } = self.get_mut();
        Pin::new(body).poll_frame(cx).map_ok(|frame| keep(frame, announced))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
