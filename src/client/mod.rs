//! Talking to a running `outboard` over its socket.
