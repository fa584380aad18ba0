//! How many files the process may have open: each client takes one, and each request that the site works
//! on another.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the limit as far as the system lets us (setrlimit(2): the soft limit to the hard one), and warns if
/// that is less than the connections that may come. Most systems begin with 1,024.
pub(super) fn raise(max_connections: usize) {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let is_raised = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    // None is no limit.
    let limit = if is_raised.is_ok() { maximum } else { current };
    if let Some(limit) = limit.filter(|&limit| limit < max_connections as u64) {
        tracing::warn!(
            limit,
            max_connections,
            "fewer files may be open than `max_connections` in [limits]: when they are used up, nobody gets in, \
             publishers and pages neither; raise the limit (LimitNOFILE= for systemd, ulimit -n in a shell) \
             or lower `max_connections` to two thirds of it"
        );
    }
}
