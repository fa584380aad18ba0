//! The background jobs that scripts leave behind, so that none of them outlives the demo.
//!
//! A job that a CGI script starts with `&` stays in the script's process group. The number of a
//! group is not given to another as long as somebody is in it, so a group is remembered only
//! while it has members, and looked after often enough to forget it soon after the last one left.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};
use tokio::process::Child;
use tokio::time::{Instant, sleep};

/// How long a job may take to end once it is asked to.
const GRACE: Duration = Duration::from_secs(1);

/// Process groups whose first process has ended.
#[derive(Debug, Default)]
pub(super) struct Jobs(Mutex<Vec<Pid>>);

impl Jobs {
    /// Remembers `group` if somebody is left in it.
    pub(super) fn left_behind(&self, group: Pid) {
        let mut groups = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        groups.push(group);
        groups.retain(|group| test_kill_process_group(*group).is_ok());
    }

    /// Remembers the group that `child` leads.
    pub(super) fn started(&self, child: &Child) {
        if let Some(group) = child.id().and_then(|id| Pid::from_raw(id.cast_signed())) {
            self.left_behind(group);
        }
    }

    /// How many groups have members now.
    pub(super) fn count(&self) -> usize {
        let mut groups = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        groups.retain(|group| test_kill_process_group(*group).is_ok());
        groups.len()
    }

    /// Forgets groups that have become empty; returns never.
    pub(super) async fn look_after(&self) {
        loop {
            sleep(GRACE).await;
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
        let groups = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for group in groups.iter() {
            // The only error is that it has ended by itself, which is what we want.
            let _ = kill_process_group(*group, signal);
        }
    }
}
