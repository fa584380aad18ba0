//! Trailers, of which only those pass that were announced and may (RFC 9110 section 6.5.1): whoever reads
//! them may take them for header lines.

use bytes::Bytes;
use http::HeaderName;
use http_body::Frame;
use smallvec::SmallVec;

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
