//! What the hand-over to fan-out threads is built from; a test puts `loom`'s in its place.

pub(super) use std::sync::Arc;
pub(super) use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
