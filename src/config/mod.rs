//! The configuration: what was written, and what it means.
