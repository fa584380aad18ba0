//! A client's request, as far as it has to be known when it has been sent on.

use std::sync::Arc;

use http::Method;

use super::{RequestId, headers};
use crate::http1::{Length, RequestHead};
use crate::peer::Peer;

/// What was asked, and who asks: all that is needed to ask the backend on the client's behalf.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The request's head.
    pub head: Arc<RequestHead>,
    /// Who sent it.
    pub peer: Peer,
    /// What the backend knows it by.
    pub id: RequestId,
    /// Whether it is an `EventSource` that asks.
    pub is_event_source: bool,
}

impl Asked {
    /// A request that has just come in, with a body of this length.
    pub fn new(head: RequestHead, length: Length, peer: Peer, id: RequestId) -> Self {
        let is_event_source = headers::is_event_source(&head, length);
        Self { head: Arc::new(head), peer, id, is_event_source }
    }

    /// Its method.
    pub fn method(&self) -> &Method {
        &self.head.start.method
    }

    /// Its path, as it was written.
    pub fn path(&self) -> &str {
        self.head.path()
    }
}
