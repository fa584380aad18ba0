//! Runs a script for a request, as CGI/1.1 has it (RFC 3875).
//!
//! What stays true, whatever the script does:
//!
//! - the answer's body leaves as the script produces it, and ends when the script has ended;
//! - a script has a time limit, and it ends when its client has left;
//! - its header is bounded, and what it writes to standard error is in the log.
//!
//! Left out: `nph-` scripts, search words as arguments, and everything about authentication.

mod header;
mod process;
mod variables;

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use http::request::Parts;
use http::{HeaderMap, Method, Request, Response, Uri};
use percent_encoding::percent_decode_str;

use crate::body::Body;
use crate::demo::jobs::Jobs;
use header::{BadHeader, Head};
use process::Process;

/// The most bytes of a request's body.
const MAX_BODY: u64 = 1 << 20;

/// The most background jobs at a time; no script is started beside that many.
const MAX_JOBS: usize = 64;

/// How often scripts may send a request on to each other (6.2.2 leaves loops to the server).
const MAX_REDIRECTS: usize = 4;

/// What the scripts of a site have in common.
#[derive(Debug)]
pub(super) struct Scripts {
    /// Where they are.
    pub(super) folder: PathBuf,
    /// The document root.
    pub(super) documents: PathBuf,
    /// Variables that they get on top of the request's.
    pub(super) environment: Vec<(OsString, OsString)>,
    /// How long one may run.
    pub(super) time_limit: Duration,
    /// The jobs that they leave behind.
    pub(super) jobs: Arc<Jobs>,
    /// How many run now.
    pub(super) running: Arc<AtomicUsize>,
}

/// Why there is no answer from a script.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    /// There is no such script.
    #[error("there is no such script")]
    Unknown,
    /// A body without a length cannot be announced to a script (4.1.2).
    #[error("the request's body must have a Content-Length")]
    LengthRequired,
    /// The body is too long.
    #[error("the request's body has more than {MAX_BODY} bytes")]
    TooLarge,
    /// Too many jobs.
    #[error("{MAX_JOBS} background jobs are running; wait for one to end")]
    Busy,
    /// No process.
    #[error("cannot run the script: {0}")]
    Spawn(#[source] std::io::Error),
    /// The script's answer cannot be read.
    #[error("cannot read the script's answer: {0}")]
    Read(#[source] std::io::Error),
    /// The script's answer is none.
    #[error(transparent)]
    Header(#[from] BadHeader),
    /// No header in time.
    #[error("the script gave no answer within {0:?}")]
    TimedOut(Duration),
    /// Scripts send the request round in circles.
    #[error("the scripts redirected the request more than {MAX_REDIRECTS} times")]
    Loop,
}

impl Scripts {
    /// Runs the script that `request` names; the body of the answer follows as it is made.
    pub(super) async fn answer(&self, request: Request<Body>) -> Result<Response<Body>, Fault> {
        let (mut request, mut body) = request.into_parts();
        for _ in 0..=MAX_REDIRECTS {
            let (head, output) = self.run(&request, body).await?;
            match head {
                Head::Response(status, headers) => {
                    let mut response = Response::new(output);
                    *response.status_mut() = status;
                    *response.headers_mut() = headers;
                    return Ok(response);
                }
                Head::LocalRedirect(path) => {
                    request.uri = path.parse().map_err(|_| BadHeader::Line(format!("Location: {path}")))?;
                    request.method = Method::GET;
                    body = Body::empty();
                    remove_body_headers(&mut request.headers);
                }
            }
        }
        Err(Fault::Loop)
    }

    async fn run(&self, request: &Parts, body: Body) -> Result<(Head, Body), Fault> {
        let target = Target::parse(request.uri.path()).ok_or(Fault::Unknown)?;
        if !tokio::fs::metadata(self.folder.join(&target.script)).await.is_ok_and(|meta| meta.is_file()) {
            return Err(Fault::Unknown);
        }
        let length = body_length(&request.headers, &body)?;
        if self.jobs.count() >= MAX_JOBS {
            return Err(Fault::Busy);
        }

        let variables = variables::meta_variables(request, &target, &self.documents, length);
        let mut process = Process::start(self, &target.script, variables).map_err(Fault::Spawn)?;
        process.feed(body, self.time_limit);
        let (block, rest) = process.header().await?;
        let head = header::parse(&block)?;
        Ok((head, process.output(rest)))
    }
}

/// What a path below `/cgi-bin/` asks for: the script, and what follows its name.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Target {
    /// The script's file name.
    script: String,
    /// The decoded rest of the path, with its slash.
    path_info: Option<OsString>,
}

impl Target {
    /// `None` if the path cannot be a script's. Scripts end in `.cgi`: what they read in does not.
    pub(super) fn parse(path: &str) -> Option<Self> {
        let path = path.strip_prefix("/cgi-bin/")?;
        let (script, info) = path.split_at(path.find('/').unwrap_or(path.len()));
        let stem = script.strip_suffix(".cgi")?;
        if stem.is_empty() || !stem.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-') {
            return None;
        }
        Some(Self { script: script.to_owned(), path_info: path_info(info)? })
    }

    fn script_name(&self) -> String {
        format!("/cgi-bin/{}", self.script)
    }
}

/// An environment variable cannot hold NUL, and a slash that was encoded would become one.
fn path_info(encoded: &str) -> Option<Option<OsString>> {
    use std::os::unix::ffi::OsStringExt;

    if encoded.is_empty() {
        return Some(None);
    }
    let decoded: Vec<u8> = percent_decode_str(encoded).collect();
    let slashes = |bytes: &[u8]| bytes.iter().filter(|&&byte| byte == b'/').count();
    (!decoded.contains(&0) && slashes(&decoded) == slashes(encoded.as_bytes()))
        .then(|| Some(OsString::from_vec(decoded)))
}

fn body_length(headers: &HeaderMap, body: &Body) -> Result<Option<u64>, Fault> {
    use http_body::Body as _;

    if body.is_end_stream() && !headers.contains_key(http::header::CONTENT_LENGTH) {
        return Ok(None);
    }
    match body.size_hint().exact() {
        None => Err(Fault::LengthRequired),
        Some(length) if length > MAX_BODY => Err(Fault::TooLarge),
        Some(length) => Ok(Some(length)),
    }
}

fn remove_body_headers(headers: &mut HeaderMap) {
    headers.remove(http::header::CONTENT_LENGTH);
    headers.remove(http::header::CONTENT_TYPE);
}

/// Whether a request is for a script.
pub(super) fn is_for_scripts(uri: &Uri) -> bool {
    uri.path().starts_with("/cgi-bin/")
}

#[cfg(test)]
mod tests;
