//! Build, run, drain.

use crate::config::Config;

/// Runs outboard until it is asked to end.
///
/// # Errors
/// When a part of it cannot start.
pub async fn run(_config: Config) -> Result<(), std::io::Error> {
    Err(std::io::Error::other("the application is not built yet"))
}
