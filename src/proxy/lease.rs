//! A connection to the backend that is in use.

use std::sync::Arc;

use super::Inside;
use super::link::Link;
use super::pool::{Permit, Room};
use super::tunnel::Upstream;

/// A link in use, with its permit. Dropped, it closes the connection.
pub(super) struct Lease {
    pub(super) link: Box<Link>,
    pub(super) inside: Arc<Inside>,
    pub(super) permit: Permit,
}

impl Lease {
    /// Gives the link back, if it can be used again.
    pub(super) fn end(self) {
        self.inside.pool.put(self.link);
        drop(self.permit);
    }

    /// It is an endless stream that comes, which takes nobody's room but that of other streams, as long as there
    /// is any. Whether there is.
    pub(super) fn becomes_stream(&mut self) -> bool {
        self.permit.move_to(Room::Streams)
    }

    /// Leaves the pool for good; the socket is all that is wanted, and its place among the streams.
    pub(super) fn into_upstream(self) -> Upstream {
        let Self { mut link, permit, .. } = self;
        let read_ahead = link.reader.take_rest();
        Upstream::new(link.socket, read_ahead, Some(permit))
    }
}
