//! The background jobs that scripts leave behind, so that none of them outlives the demo.
//!
//! A job that a CGI script starts with `&` stays in the script's process group. The number of a
//! group is not given to another as long as somebody is in it, so a group is remembered only
//! while it has members, and looked after often enough to forget it soon after the last one left.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitOptions, kill_process_group, test_kill_process_group, waitpgid};
use tokio::process::Child;
use tokio::time::{Instant, sleep};

/// How long a job may take to end once it is asked to.
const GRACE: Duration = Duration::from_secs(1);

/// How often groups that have become empty are forgotten.
const ROUND: Duration = Duration::from_secs(1);

/// Process groups that have members.
#[derive(Debug, Default)]
pub(super) struct Jobs(Mutex<Vec<Group>>);

#[derive(Debug)]
struct Group {
    id: Pid,
    /// Whether its first process has ended and was waited for.
    left_behind: bool,
}

impl Group {
    /// Whether somebody is in it.
    fn lives(&self) -> bool {
        // As the first process of a container we inherit orphans, and nobody else buries them.
        // A child that we have a handle for is not ours to bury here.
        while self.left_behind && matches!(waitpgid(self.id, WaitOptions::NOHANG), Ok(Some(_))) {}
        test_kill_process_group(self.id).is_ok()
    }
}

impl Jobs {
    /// Remembers the group `id`, whose first process has been waited for, if somebody is left.
    pub(super) fn left_behind(&self, id: Pid) {
        self.living().push(Group { id, left_behind: true });
        self.count();
    }

    /// Remembers the group that `child` leads.
    pub(super) fn started(&self, child: &Child) {
        if let Some(id) = child.id().and_then(|id| Pid::from_raw(id.cast_signed())) {
            self.living().push(Group { id, left_behind: false });
        }
    }

    /// How many groups have members now.
    pub(super) fn count(&self) -> usize {
        self.living().len()
    }

    /// Forgets groups that have become empty; returns never.
    pub(super) async fn look_after(&self) {
        loop {
            sleep(ROUND).await;
            self.count();
        }
    }

    /// Ends all jobs: asks them, and after a second makes them.
    pub(super) async fn end(&self) {
        self.signal(Signal::TERM);
        let deadline = Instant::now() + GRACE;
        while self.count() > 0 && Instant::now() < deadline {
            sleep(Duration::from_millis(10)).await;
        }
        self.signal(Signal::KILL);
    }

    fn signal(&self, signal: Signal) {
        for group in self.living().iter() {
            // The only error is that it has ended by itself, which is what we want.
            let _ = kill_process_group(group.id, signal);
        }
    }

    fn living(&self) -> MutexGuard<'_, Vec<Group>> {
        let mut groups = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        groups.retain(Group::lives);
        groups
    }
}
