//! The start, tried without starting anything.

use super::StartError;
use crate::broker::Broker;
use crate::config::Config;
use crate::listen::{self, Entrance, unix};

/// Whatever would stand in the way of a start now. Nothing is made, and nothing stays bound.
pub fn rehearse(config: &Config) -> Vec<StartError> {
    let mut obstacles = Vec::new();
    let mut note = |tried: Result<(), StartError>| obstacles.extend(tried.err());
    for entrance in &config.listen {
        note(match entrance {
            Entrance::Tcp(address) => listen::try_bind(*address, "--listen").map_err(Into::into),
            Entrance::Unix(place) => unix::try_bind(place).map_err(Into::into),
        });
    }
    if let Some(admin) = &config.admin {
        note(listen::try_bind(admin.listen, "`listen` in [admin]").map_err(Into::into));
    }
    note(unix::try_bind(&config.publish.place()).map_err(Into::into));
    note(Broker::rehearse(&config.history).map_err(Into::into));
    obstacles
}
