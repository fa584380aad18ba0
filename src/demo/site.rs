//! The demo's own little web server: files as they are, scripts below `/cgi-bin/`.
//!
//! It knows nothing of outboard, as the server of a site that has been there for twenty years.
//! Dropping [`Site::serve`]'s future ends every connection, and with it every script.

use std::convert::Infallible;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use percent_encoding::percent_decode_str;
use tokio::net::UnixListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::cgi::{self, Fault, Scripts};
use crate::body::Body;
use crate::drain;
use crate::listen::connection::{Handled, Options};
use crate::listen::{self, connection};
use crate::socket::Socket;

/// The most connections at a time; more wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 64;

/// How long a client may take for a request's header.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// The pages bring no code, style or picture from anywhere else, and none inline.
const CONTENT_SECURITY_POLICY: &str = "default-src 'self'; base-uri 'none'; frame-ancestors 'none'";

/// A web site: a folder of documents, and scripts.
#[derive(Debug)]
pub(super) struct Site {
    /// Files that are served as they are.
    pub(super) documents: PathBuf,
    /// What answers below `/cgi-bin/`.
    pub(super) scripts: Scripts,
}

impl Site {
    /// Answers requests until it is dropped.
    pub(super) async fn serve(self: Arc<Self>, listener: UnixListener) -> std::io::Error {
        let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let mut connections = JoinSet::new();
        loop {
            // The semaphore is never closed, so there is a permit sooner or later.
            let slot = Arc::clone(&slots).acquire_owned().await;
            let socket = match listener.accept().await {
                Ok((socket, _)) => socket,
                Err(error) => return error,
            };
            while connections.try_join_next().is_some() {}
            let site = Arc::clone(&self);
            connections.spawn(async move {
                let _slot = slot;
                let answer = |request: listen::Request| async {
                    Handled::<Infallible>::Response(match request.into_http() {
                        Ok(request) => site.answer(request).await,
                        Err(refusal) => text(refusal.status(), &refusal.to_string()),
                    })
                };
                let options = Options { header_timeout: HEADER_TIMEOUT, ..Options::default() };
                // Dropping the task is how the site ends.
                let (_drain, never) = drain::drain();
                connection::serve(Socket::Unix(socket), Bytes::new(), options, never, answer).await;
            });
        }
    }

    /// The answer to one request.
    async fn answer(&self, request: Request<Body>) -> Response<Body> {
        if cgi::is_for_scripts(request.uri()) {
            return self.run(request).await;
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return text(StatusCode::METHOD_NOT_ALLOWED, "this is a file: GET it");
        }
        if request.uri().path() == "/server-status" {
            return self.status();
        }
        self.document(request.uri()).await
    }

    async fn run(&self, request: Request<Body>) -> Response<Body> {
        let path = request.uri().path().to_owned();
        match self.scripts.answer(request).await {
            Ok(response) => response,
            Err(fault) => {
                let status = status_of(&fault);
                if status.is_server_error() {
                    tracing::warn!(path, %fault, "a script failed");
                }
                text(status, &fault.to_string())
            }
        }
    }

    /// What runs now, as Apache's page of that name tells it.
    fn status(&self) -> Response<Body> {
        let running = self.scripts.running.load(Ordering::Relaxed);
        let jobs = self.scripts.jobs.count();
        let json = serde_json::json!({ "scripts": running, "jobs": jobs }).to_string();
        let mut response = Response::new(Body::from(json));
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }

    async fn document(&self, uri: &Uri) -> Response<Body> {
        let Some((file, content_type)) = document(uri.path()) else {
            return text(StatusCode::NOT_FOUND, "there is no such page");
        };
        // The whole file at once: the largest one of this site has a few KiB.
        let Ok(bytes) = tokio::fs::read(self.documents.join(file)).await else {
            return text(StatusCode::NOT_FOUND, "there is no such page");
        };
        let mut response = Response::new(Body::from(bytes));
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(CONTENT_SECURITY_POLICY));
        response
    }
}

/// The file that a path names, and its type. Only plain names lead anywhere: nothing leaves the
/// folder, and nothing is served that has no known type.
fn document(path: &str) -> Option<(PathBuf, &'static str)> {
    let path = percent_decode_str(path).decode_utf8().ok()?;
    let path = path.strip_prefix('/')?;
    let path = Path::new(if path.is_empty() { "index.html" } else { path });
    let plain = path.components().all(|part| matches!(part, Component::Normal(_)));
    let hidden = path.components().any(|part| part.as_os_str().as_encoded_bytes().starts_with(b"."));
    if !plain || hidden || path.as_os_str().as_encoded_bytes().contains(&0) {
        return None;
    }
    let content_type = match path.extension()?.to_str()? {
        "html" => "text/html; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "svg" => "image/svg+xml",
        _ => return None,
    };
    Some((path.to_owned(), content_type))
}

fn status_of(fault: &Fault) -> StatusCode {
    match fault {
        Fault::Unknown => StatusCode::NOT_FOUND,
        Fault::LengthRequired => StatusCode::LENGTH_REQUIRED,
        Fault::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Fault::Busy => StatusCode::SERVICE_UNAVAILABLE,
        Fault::TimedOut(_) => StatusCode::GATEWAY_TIMEOUT,
        Fault::Spawn(_) | Fault::Read(_) | Fault::Header(_) | Fault::Loop => {
            StatusCode::INTERNAL_SERVER_ERROR
        }
    }
}

fn text(status: StatusCode, text: &str) -> Response<Body> {
    let mut response = Response::new(Body::from(format!("{text}\n")));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_leads_to_a_file_of_the_folder_or_nowhere() {
        assert_eq!(document("/"), Some(("index.html".into(), "text/html; charset=utf-8")));
        assert_eq!(document("/demo.css"), Some(("demo.css".into(), "text/css; charset=utf-8")));
        for path in [
            "/../outboard.toml",
            "/../cgi-bin/same-url.html",
            "/%2e%2e/cgi-bin/same-url.html",
            "/x/../../cgi-bin/same-url.html",
            "//etc/x.html",
            "/.hidden.html",
            "/x%00.html",
            "/%ff.html",
            "/notes.txt",
            "/name",
            "*",
        ] {
            assert_eq!(document(path), None, "{path}");
        }
    }
}
