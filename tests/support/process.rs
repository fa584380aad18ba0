//! A server process: started in the foreground, read line by line, ended with the test.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use super::DEADLINE;

/// A running server, and everything it has written to its standard output and error.
pub struct Process {
    name: String,
    child: Child,
    lines: Receiver<String>,
    log: Arc<Mutex<Vec<String>>>,
}

impl Process {
    /// Starts `command` in a process group of its own.
    ///
    /// # Panics
    /// When the program is not there: a missing server is a failure, not a reason to skip.
    pub fn start(name: &str, command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .unwrap_or_else(|error| {
                panic!("cannot start {name} ({:?}): {error}; `tests/run` installs it", command.get_program())
            });
        let (sender, lines) = channel();
        let log = Arc::new(Mutex::new(Vec::new()));
        let outputs: [Box<dyn Read + Send>; 2] =
            [Box::new(child.stdout.take().unwrap()), Box::new(child.stderr.take().unwrap())];
        for output in outputs {
            let (sender, log) = (sender.clone(), Arc::clone(&log));
            std::thread::spawn(move || {
                for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
                    let line = String::from_utf8_lossy(&line).into_owned();
                    log.lock().unwrap().push(line.clone());
                    // The test may have seen enough and gone; the log is kept all the same.
                    let _ = sender.send(line);
                }
            });
        }
        Self { name: name.to_owned(), child, lines, log }
    }

    /// Reads on in the log until `fact` finds something in a line.
    ///
    /// # Panics
    /// At the deadline, or when the process ends first; with the whole log.
    pub fn wait_for<T>(&self, what: &str, fact: impl Fn(&str) -> Option<T>) -> T {
        let deadline = Instant::now() + DEADLINE;
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    if let Some(found) = fact(&line) {
                        return found;
                    }
                }
                Err(RecvTimeoutError::Timeout) => panic!("{} never said {what}:\n{}", self.name, self.log()),
                Err(RecvTimeoutError::Disconnected) => {
                    panic!("{} ended before it said {what}:\n{}", self.name, self.log())
                }
            }
        }
    }

    /// What it has written so far.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().join("\n")
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// Waits until it has ended by itself.
    pub fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + DEADLINE;
        // Both outputs closed is how the end announces itself; `wait` then does not block.
        while Instant::now() < deadline {
            let left = deadline.saturating_duration_since(Instant::now());
            if let Err(RecvTimeoutError::Disconnected) = self.lines.recv_timeout(left) {
                return self.child.wait().unwrap();
            }
        }
        panic!("{} does not end:\n{}", self.name, self.log());
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Ends it at once, with its children, as a crash would.
    pub fn kill(&mut self) {
        // It may have ended by itself; then there is nobody to kill and nothing wrong with that.
        let _ = kill_process_group(self.pid(), Signal::KILL);
        let _ = self.child.wait();
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let log = self.log.lock().unwrap();
            let last: VecDeque<_> = log.iter().rev().take(60).rev().collect();
            eprintln!("--- the last lines of {} ---", self.name);
            for line in last {
                eprintln!("{line}");
            }
        }
    }
}
