//! Request bodies that come in chunks, for sites that read only as much as `Content-Length` says, as CGI programs do.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::Frame;
use http_body_util::BodyExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::fault::Fault;
use crate::body::{Body, BodyError, Source};
use crate::http1::{Length, ReadError};

/// How many bodies of the greatest size may be in memory at a time.
const AT_ONCE: usize = 64;
/// What is counted.
const UNIT: usize = 1 << 10;

/// What becomes of a body for which there is no room (`[backend] larger_requests`).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum LargerRequests {
    /// It passes as it comes.
    #[default]
    Pass,
    /// The client is told to say its length (411).
    Refuse,
}

/// The room for bodies whose length is found out.
pub(super) struct Gatherer {
    most: usize,
    larger: LargerRequests,
    patience: Duration,
    /// In units.
    room: Arc<Semaphore>,
}

impl Gatherer {
    /// `most` is the greatest body; `patience` is how long a client may pause in it.
    pub(super) fn new(most: usize, larger: LargerRequests, patience: Duration) -> Self {
        let units = most.div_ceil(UNIT).saturating_mul(AT_ONCE).min(Semaphore::MAX_PERMITS);
        Self { most, larger, patience, room: Arc::new(Semaphore::new(units)) }
    }

    /// The body with its length, or as it comes if it is too large.
    pub(super) async fn gather(&self, mut body: Body) -> Result<(Length, Body), Fault> {
        let mut gathered = BytesMut::new();
        let mut room: Option<OwnedSemaphorePermit> = None;
        loop {
            let next = tokio::time::timeout(self.patience, body.frame()).await;
            let next = next.map_err(|_| Fault::ClientStalled { waited: self.patience })?;
            let data = match next {
                None => {
                    let length = Length::Exactly(gathered.len() as u64);
                    let first = VecDeque::from([gathered.freeze()]);
                    return Ok((length, Body::from_source(Rest { first, body: None, room })));
                }
                Some(Err(error)) => {
                    return Err(match error.downcast_ref() {
                        Some(ReadError::Chunk(cause)) => Fault::BadBody { cause: *cause },
                        _ => Fault::ClientLeft,
                    });
                }
                // Trailers have no place behind a body of a known length.
                Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
            };
            let length = gathered.len() + data.len();
            let needed = length.div_ceil(UNIT) - gathered.len().div_ceil(UNIT);
            let more = u32::try_from(needed).ok().filter(|_| length <= self.most);
            match more.and_then(|more| Arc::clone(&self.room).try_acquire_many_owned(more).ok()) {
                Some(more) => match &mut room {
                    Some(room) => room.merge(more),
                    None => room = Some(more),
                },
                None if self.larger == LargerRequests::Refuse => {
                    return Err(Fault::LengthRequired { limit: self.most });
                }
                None => {
                    let first = VecDeque::from([gathered.freeze(), data]);
                    let rest = Rest { first, body: Some(body), room };
                    return Ok((Length::Chunked, Body::from_source(rest)));
                }
            }
            gathered.extend_from_slice(&data);
        }
    }
}

/// A body of which something was read, or all.
struct Rest {
    first: VecDeque<Bytes>,
    body: Option<Body>,
    room: Option<OwnedSemaphorePermit>,
}

impl Source for Rest {
    async fn next(&mut self) -> Option<Result<Frame<Bytes>, BodyError>> {
        while let Some(first) = self.first.pop_front() {
            if !first.is_empty() {
                return Some(Ok(Frame::data(first)));
            }
        }
        self.room = None;
        self.body.as_mut()?.frame().await
    }
}
