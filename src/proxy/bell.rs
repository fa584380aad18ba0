//! The waker of one backend connection.
//!
//! A connection is driven by whichever task waits for its answer, not by a task of its own, so most
//! of what happens on it happens while that very task is polling it: hyper hands a chunk from its
//! one half to its other half and wakes the receiver, which is already awake. A bell keeps such
//! wakes to itself. It rings through to the waiting task only between two polls, and to nobody
//! while the connection is idle.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Wake, Waker};

/// Between two polls: the listener sleeps and wants to be woken.
const OPEN: u8 = 0;
/// Being polled, or idle: whoever rings is remembered, nobody is woken.
const MUFFLED: u8 = 1;
/// Rung since it was muffled, or already rung through: further rings change nothing.
const RUNG: u8 = 2;

/// Wakes the task that waits for a connection, and only when it sleeps.
pub(super) struct Bell {
    state: AtomicU8,
    listener: Mutex<Option<Waker>>,
}

impl Bell {
    /// A bell nobody listens to.
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { state: AtomicU8::new(MUFFLED), listener: Mutex::new(None) })
    }

    /// Rings go to `listener` from now on.
    pub(super) fn listen(&self, listener: &Waker) {
        let mut current = self.listener.lock().unwrap_or_else(PoisonError::into_inner);
        match &*current {
            Some(known) if known.will_wake(listener) => {}
            _ => *current = Some(listener.clone()),
        }
    }

    /// Rings go to nobody from now on, so that an idle connection does not keep the task alive that
    /// used it last.
    pub(super) fn forget(&self) {
        self.muffle();
        self.listener.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// To be called before the connection is polled.
    pub(super) fn muffle(&self) {
        self.state.store(MUFFLED, Ordering::SeqCst);
    }

    /// To be called before the listener sleeps. `false`: somebody rang, so poll again.
    pub(super) fn open(&self) -> bool {
        self.state.compare_exchange(MUFFLED, OPEN, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.state.swap(RUNG, Ordering::SeqCst) == OPEN {
            let listener = self.listener.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(listener) = listener {
                listener.wake();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[derive(Default)]
    struct Listener(AtomicUsize);

    impl Wake for Listener {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn bell_with_listener() -> (Arc<Bell>, Waker, Arc<Listener>) {
        let (bell, listener) = (Bell::new(), Arc::new(Listener::default()));
        bell.listen(&Waker::from(listener.clone()));
        let waker = Waker::from(bell.clone());
        (bell, waker, listener)
    }

    #[test]
    fn a_ring_while_polling_is_remembered_and_wakes_nobody() {
        let (bell, waker, listener) = bell_with_listener();

        bell.muffle();
        waker.wake_by_ref();

        assert!(!bell.open());
        assert_eq!(listener.0.load(Ordering::SeqCst), 0);
    }

    #[test]
    fn a_sleeping_listener_is_woken_once() {
        let (bell, waker, listener) = bell_with_listener();

        bell.muffle();
        assert!(bell.open());
        waker.wake_by_ref();
        waker.wake_by_ref();

        assert_eq!(listener.0.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn an_idle_connection_wakes_nobody_and_holds_no_task() {
        let (bell, waker, listener) = bell_with_listener();

        bell.forget();
        waker.wake_by_ref();

        assert_eq!(listener.0.load(Ordering::SeqCst), 0);
        assert_eq!(Arc::strong_count(&listener), 1);
    }
}
