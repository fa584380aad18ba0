//! Clients that have vanished: no end of theirs ever comes, and what is sent to them is answered by nobody.
//!
//! The kernel sends it again for a quarter of an hour before it gives up. A time limit on it would also end a client
//! that only pauses and answers when it is asked, so the kernel is asked instead how often it has asked in vain
//! (`sock_diag(7)`). One thread does that for all answers that take long, and only as long as there are any.

mod diag;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::socket::Socket;
use crate::vital;

/// How often the kernel is asked.
const EVERY: Duration = Duration::from_secs(10);

/// After how many times in a row at which nobody had answered a client has vanished: well within a minute, for the
/// kernel asks six times in the first ten seconds.
const TIMES: u8 = 5;

/// Everybody who is watched.
static ALL: LazyLock<Mutex<All>> = LazyLock::new(Mutex::default);

#[derive(Default)]
struct All {
    watched: HashMap<u64, Arc<Watched>>,
    next: u64,
    /// Whether the thread is there.
    has_thread: bool,
    /// Whether the kernel does not say, so that nobody can be watched.
    is_blind: bool,
}

/// A connection that is watched.
struct Watched {
    local: SocketAddr,
    peer: SocketAddr,
    record: Mutex<Record>,
    is_gone: AtomicBool,
    /// Who wants to hear of it.
    waker: Mutex<Option<Waker>>,
}

/// What the kernel has said of a connection so far.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Record {
    /// How often it had asked in vain when it was asked last.
    vain: u8,
    /// How often in a row nobody had answered.
    times: u8,
}

impl Record {
    /// Takes down that the kernel has asked so often in vain since the client last answered; whether it has
    /// vanished.
    fn note(&mut self, vain: u8) -> bool {
        // An answer begins the count anew: a smaller one means that there was one.
        self.times = match vain {
            0 => 0,
            vain if vain < self.vain => 1,
            _ => self.times.saturating_add(1),
        };
        self.vain = vain;
        self.times >= TIMES
    }
}

/// Watches a connection until it is dropped.
pub struct Watch {
    number: u64,
    watched: Arc<Watched>,
}

/// Watches whether somebody is still at the other end of `socket`; `None` where that cannot be seen, or need not: a
/// Unix socket's peer cannot vanish.
pub fn watch(socket: &Socket) -> Option<Watch> {
    let Socket::Tcp(stream) = socket else { return None };
    let (local, peer) = (stream.local_addr().ok()?, stream.peer_addr().ok()?);
    let watched = Watched {
        local,
        peer,
        record: Mutex::default(),
        is_gone: AtomicBool::new(false),
        waker: Mutex::default(),
    };
    let watched = Arc::new(watched);
    let mut all = lock(&ALL);
    if all.is_blind {
        return None;
    }
    if !all.has_thread {
        all.has_thread = vital::spawn("vigil", look_on).is_ok();
    }
    let number = all.next;
    all.next += 1;
    all.watched.insert(number, Arc::clone(&watched));
    Some(Watch { number, watched })
}

impl Watch {
    /// Ready once nobody is there any more.
    pub fn poll_gone(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut waker = lock(&self.watched.waker);
        if self.watched.is_gone.load(Ordering::Acquire) {
            return Poll::Ready(());
        }
        if !waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Returns once nobody is there any more.
    pub async fn gone(&self) {
        std::future::poll_fn(|cx| self.poll_gone(cx)).await;
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        lock(&ALL).watched.remove(&self.number);
    }
}

impl Watched {
    fn is_gone_now(&self) {
        self.is_gone.store(true, Ordering::Release);
        let waker = lock(&self.waker).take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// Asks the kernel about all who are watched, until there is nobody left.
fn look_on() {
    let kernel = match diag::Kernel::open() {
        Ok(kernel) => kernel,
        Err(error) => {
            let mut all = lock(&ALL);
            (all.is_blind, all.has_thread) = (true, false);
            all.watched.clear();
            drop(all);
            tracing::info!(%error, "the kernel does not say whether clients still answer: those that vanish while an answer is written to them are noticed late");
            return;
        }
    };
    loop {
        std::thread::sleep(EVERY);
        let mut all = lock(&ALL);
        if all.watched.is_empty() {
            all.has_thread = false;
            return;
        }
        let watched: Vec<_> = all.watched.values().cloned().collect();
        drop(all);
        for watched in watched {
            // What the kernel does not know any more has ended by itself.
            let Ok(Some(vain)) = kernel.asked_in_vain(watched.local, watched.peer) else { continue };
            if lock(&watched.record).note(vain) {
                watched.is_gone_now();
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(vain: &[u8]) -> bool {
        let mut record = Record::default();
        vain.iter().any(|&vain| record.note(vain))
    }

    #[test]
    fn who_answers_no_question_has_vanished_and_who_answers_one_has_not() {
        assert!(verdict(&[6, 7, 7, 8, 8]));
        assert!(verdict(&[0, 3, 4, 5, 5, 6]));
        for there in [
            &[0, 0, 0, 0, 0, 0, 0][..],
            &[6, 7, 7, 8],
            &[6, 7, 7, 8, 0, 1, 2, 3, 4],
            // One that pauses is asked again and again, and answers each time.
            &[1, 0, 1, 0, 1, 0, 1, 0, 1],
            &[3, 2, 1, 3, 2, 1, 3, 2, 1],
        ] {
            assert!(!verdict(there), "{there:?}");
        }
    }
}
