//! What stands in front of the site.
use super::DemoError;
use super::files::Home;
use std::net::SocketAddr;
pub(super) struct Front;
pub(super) async fn start(_home: &Home, _address: SocketAddr) -> Result<Front, DemoError> {
    println!("HOME {}", _home.path().display());
    Ok(Front)
}
impl Front {
    pub(super) async fn ended(&mut self) -> Result<(), DemoError> {
        std::future::pending().await
    }
    pub(super) async fn stop(self) {}
}
