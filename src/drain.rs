//! The one signal that everything is to come to an end.

use tokio::sync::watch;

/// Held by whoever decides; dropping it starts the drain as well.
#[derive(Debug)]
pub struct Drain(watch::Sender<bool>);

/// Held by every task that has something to finish.
///
/// Its receiver never counts the change as seen, and neither do its clones: whether there was one is
/// all that is asked.
#[derive(Clone, Debug)]
pub struct Draining(watch::Receiver<bool>);

/// A new signal: the side that gives it, and the side that hears it.
pub fn drain() -> (Drain, Draining) {
    let (sender, receiver) = watch::channel(false);
    (Drain(sender), Draining(receiver))
}

impl Drain {
    /// Asks all who listen to finish what they hold and stop.
    pub fn start(&self) {
        self.0.send_replace(true);
    }
}

impl Draining {
    /// Returns when the drain has begun.
    pub async fn begun(&self) {
        // On a receiver that is thrown away, for waiting counts the change as seen. A closed channel means
        // that the deciding side is gone: that is a drain too.
        let _ = self.0.clone().wait_for(|draining| *draining).await;
    }

    /// Whether the drain has begun. It is asked for every request, and takes no lock.
    pub fn has_begun(&self) -> bool {
        self.0.has_changed().unwrap_or(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn whoever_has_heard_of_the_drain_can_ask_for_it_again() {
        let (drain, draining) = drain();
        assert!(!draining.has_begun());

        drain.start();
        draining.begun().await;

        assert!(draining.has_begun());
        assert!(draining.clone().has_begun());
        draining.begun().await;
    }

    #[tokio::test]
    async fn nobody_left_to_decide_is_a_drain() {
        let (drain, draining) = drain();

        drop(drain);

        assert!(draining.has_begun());
        draining.begun().await;
    }
}
