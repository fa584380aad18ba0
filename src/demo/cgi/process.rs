//! A script's process: its three pipes, its time limit and its end.

use std::pin::Pin;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::Frame;
use http_body_util::BodyExt;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};

use super::header::{BadHeader, MAX_HEADER, end};
use super::variables::Variables;
use super::{Fault, Scripts};
use crate::body::{Body, BodyError};
use crate::demo::jobs::Jobs;

/// How much is read from a script at once, in bytes.
const CHUNK: usize = 16 << 10;

/// A script on its way. Dropped before the script has ended, it ends the script and whatever that
/// has started in its process group.
pub(super) struct Process {
    child: Child,
    group: Pid,
    script: String,
    started: Instant,
    time_limit: Duration,
    stdin: Option<ChildStdin>,
    stdout: ChildStdout,
    ended: bool,
    jobs: Arc<Jobs>,
    running: Arc<AtomicUsize>,
}

impl Process {
    /// Starts `script` in its folder, with no environment but `variables` and the site's own.
    ///
    /// It is read by `sh` rather than executed: a file that was just written may still be open for
    /// writing in a process that is being forked, and could then not be executed.
    pub(super) fn start(scripts: &Scripts, script: &str, variables: Variables) -> std::io::Result<Self> {
        let mut child = Command::new("sh")
            .arg(format!("./{script}"))
            .current_dir(&scripts.folder)
            .env_clear()
            .envs(variables)
            .envs(scripts.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()?;
        let gone = || std::io::Error::other("the process has no pipes");
        let group = child.id().and_then(|id| Pid::from_raw(id.cast_signed())).ok_or_else(gone)?;
        let stdout = child.stdout.take().ok_or_else(gone)?;
        let stdin = child.stdin.take();
        if let Some(stderr) = child.stderr.take() {
            tokio::spawn(log_errors(stderr, script.to_owned()));
        }
        scripts.running.fetch_add(1, Ordering::Relaxed);
        Ok(Self {
            child,
            group,
            script: script.to_owned(),
            started: Instant::now(),
            time_limit: scripts.time_limit,
            stdin,
            stdout,
            ended: false,
            jobs: Arc::clone(&scripts.jobs),
            running: Arc::clone(&scripts.running),
        })
    }

    /// Writes the request's body to the script, for as long as the script may run.
    pub(super) fn feed(&mut self, body: Body, time_limit: Duration) {
        if let Some(stdin) = self.stdin.take() {
            tokio::spawn(timeout(time_limit, write_body(stdin, body)));
        }
    }

    /// Reads up to the blank line: the header, and what came of the body already.
    pub(super) async fn header(&mut self) -> Result<(Bytes, Bytes), Fault> {
        let deadline = self.deadline();
        let mut bytes = BytesMut::new();
        loop {
            if let Some(end) = end(&bytes).filter(|&end| end <= MAX_HEADER) {
                let block = bytes.split_to(end);
                return Ok((block.freeze(), bytes.freeze()));
            }
            if bytes.len() > MAX_HEADER {
                return Err(BadHeader::TooLarge.into());
            }
            let read = timeout_at(deadline, self.stdout.read_buf(&mut bytes)).await;
            match read.map_err(|_| Fault::TimedOut(self.time_limit))? {
                Ok(0) => return Err(BadHeader::CutOff.into()),
                Ok(_) => {}
                Err(error) => return Err(Fault::Read(error)),
            }
        }
    }

    /// The rest of what the script writes, beginning with `first`, as a body.
    pub(super) fn output(self, first: Bytes) -> Body {
        // Room for one: the script waits when the client is slow.
        let (sender, receiver) = mpsc::channel(1);
        tokio::spawn(self.pump(first, sender));
        Body::stream(Output(receiver))
    }

    async fn pump(mut self, first: Bytes, frames: mpsc::Sender<Result<Bytes, BodyError>>) {
        let deadline = self.deadline();
        let script = self.script.clone();
        let copied = tokio::select! {
            copied = timeout_at(deadline, self.copy(first, &frames)) => copied,
            () = frames.closed() => {
                tracing::debug!(script, "the client left, the script ends");
                return;
            }
        };
        let fault: BodyError = match copied {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.into(),
            Err(_elapsed) => format!("the script ran for more than {:?}", self.time_limit).into(),
        };
        tracing::warn!(script, %fault, "a script was cut off");
        // An error, so that the client does not take what it has for the whole.
        let _ = frames.send(Err(fault)).await;
    }

    /// Copies until the script has closed its output and ended.
    async fn copy(
        &mut self,
        first: Bytes,
        frames: &mpsc::Sender<Result<Bytes, BodyError>>,
    ) -> std::io::Result<()> {
        let mut bytes = first;
        loop {
            if !bytes.is_empty() && frames.send(Ok(bytes)).await.is_err() {
                return Ok(());
            }
            let mut buffer = BytesMut::with_capacity(CHUNK);
            if self.stdout.read_buf(&mut buffer).await? == 0 {
                break;
            }
            bytes = buffer.freeze();
        }
        let status = self.child.wait().await?;
        self.has_ended(status);
        Ok(())
    }

    fn has_ended(&mut self, status: std::process::ExitStatus) {
        self.ended = true;
        self.running.fetch_sub(1, Ordering::Relaxed);
        self.jobs.left_behind(self.group);
        let script = &self.script;
        tracing::debug!(script, %status, ran = ?self.started.elapsed(), "a script ended");
    }

    fn deadline(&self) -> Instant {
        self.started + self.time_limit
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.ended {
            self.running.fetch_sub(1, Ordering::Relaxed);
            // The child is not waited for yet, so its number is still its own.
            let _ = kill_process_group(self.group, Signal::KILL);
        }
    }
}

/// The body of a script's answer, as it is made.
struct Output(mpsc::Receiver<Result<Bytes, BodyError>>);

impl http_body::Body for Output {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.0.poll_recv(cx).map(|next| next.map(|bytes| bytes.map(Frame::data)))
    }
}

async fn write_body(mut stdin: ChildStdin, mut body: Body) {
    while let Some(Ok(frame)) = body.frame().await {
        let Ok(bytes) = frame.into_data() else { continue };
        // A script need not read its body (RFC 3875, 4.2); that is no error.
        if stdin.write_all(&bytes).await.is_err() {
            return;
        }
    }
}

async fn log_errors(mut stderr: ChildStderr, script: String) {
    let mut buffer = vec![0; 4 << 10];
    while let Ok(length @ 1..) = stderr.read(&mut buffer).await {
        for line in String::from_utf8_lossy(&buffer[..length]).lines() {
            tracing::warn!(script, "{line}");
        }
    }
}
