//! How many files the process may have open: each client takes one, and each request that the site works
//! on another.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::app::MostFiles;

/// Raises the limit as far as the system lets us (setrlimit(2): the soft limit to the hard one), and warns if
/// that is less than may be open at a time. Most systems begin with 1,024.
pub(super) fn raise(most: MostFiles) {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let is_raised = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    // None is no limit.
    let limit = if is_raised.is_ok() { maximum } else { current };
    let needed = most.sum();
    if let Some(limit) = limit.filter(|&limit| limit < needed as u64) {
        tracing::warn!(
            limit,
            needed,
            max_connections = most.connections,
            max_subscribers = most.streams,
            tunnels = most.tunnels,
            backend = most.backend,
            max_publishers = most.publishers,
            operators = most.operators,
            "fewer files may be open than everything that is allowed needs: when they are used up, nobody gets in, \
             publishers and pages neither; raise the limit (LimitNOFILE= for systemd, ulimit -n in a shell) \
             or lower `max_connections` in [limits] and `max_subscribers` in [stream]"
        );
    }
}
