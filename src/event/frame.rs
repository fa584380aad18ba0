//! The language of the publish socket.
