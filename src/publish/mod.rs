//! The publish socket: frames or HTTP from the old application.

mod socket;

pub use socket::Settings;
