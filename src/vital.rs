//! Threads and tasks without which outboard is of no use.
//!
//! If one of them ended by a panic and the others went on, every n-th client would be dropped for ever, or
//! nothing stored any more, and nobody would be told. So the process ends with it, with a last line that
//! says so; whoever supervises it starts it anew.

use std::io;
use std::thread::{Builder, JoinHandle, panicking};

use crate::journal;

/// Starts a thread that must not panic.
///
/// # Errors
/// When the system gives no more threads.
pub fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    let guard = Guard { name: name.into(), end: end_of_process };
    Builder::new().name(name.into()).spawn(move || {
        let _guard = guard;
        work();
    })
}

/// A future that must not panic.
pub async fn task<F: Future>(name: &'static str, work: F) -> F::Output {
    let _guard = Guard { name: name.into(), end: end_of_process };
    work.await
}

/// Something of ours cannot go on: ends the process, after a last line.
pub fn end(name: &str, why: &str) {
    end_of_process(&format!("outboard: {name} cannot go on: {why}. outboard ends, to be started anew"));
}

/// Ends the process if it is dropped by a panic.
struct Guard {
    name: Box<str>,
    /// What becomes of the last line, and then of the process.
    end: fn(&str),
}

impl Drop for Guard {
    fn drop(&mut self) {
        if panicking() {
            (self.end)(&format!(
                "outboard: {} has died by a mistake of outboard's own, told in the lines above; please report \
                 them. outboard ends, to be started anew",
                self.name
            ));
        }
    }
}

fn end_of_process(last_line: &str) {
    journal::last_words(last_line);
    std::process::exit(1);
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    static SAID: Mutex<Vec<String>> = Mutex::new(Vec::new());

    fn note(last_line: &str) {
        SAID.lock().unwrap().push(last_line.to_owned());
    }

    fn guard(name: &str) -> Guard {
        Guard { name: name.into(), end: note }
    }

    #[tokio::test]
    async fn a_panic_in_a_thread_or_a_task_ends_the_process_and_a_proper_end_does_not() {
        let guarded = guard("fan-out-0");
        let died = std::thread::spawn(move || {
            let _guard = guarded;
            panic!("planted");
        });
        assert!(died.join().is_err());
        let guarded = guard("clock");
        let died = tokio::spawn(async move {
            let _guard = guarded;
            tokio::task::yield_now().await;
            panic!("planted");
        });
        assert!(died.await.is_err());
        drop(guard("log-writer"));

        let said = SAID.lock().unwrap().clone();

        assert_eq!(said.len(), 2, "{said:?}");
        assert!(said[0].starts_with("outboard: fan-out-0 has died"), "{said:?}");
        assert!(said[1].starts_with("outboard: clock has died"), "{said:?}");
    }
}
