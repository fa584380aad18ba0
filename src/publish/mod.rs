//! The publish socket: frames or HTTP from the old application.

pub mod socket;

pub use socket::Settings;
