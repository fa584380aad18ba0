//! Holding a client that a backend handed over.

use std::sync::Arc;
use std::time::Duration;

use http::header;
use http::{HeaderValue, Method, Response};
use tokio::sync::Mutex;

use super::ask::{self, Question};
use super::{Asked, Gateway, Handled};
use crate::body::Body;
use crate::handoff::Handoff;
use crate::http1::Lines;
use crate::proxy::Backend;
use crate::subscribe::{Ask, End, Initial, MayStay, OnEnd, Recheck, head, last_event_id};

/// How long we wait before telling a backend again that a client is gone: it may just restart.
const TELL_AGAIN: [Duration; 4] =
    [Duration::from_secs(1), Duration::from_secs(4), Duration::from_secs(15), Duration::from_secs(60)];

impl Gateway {
    /// Takes a client over as the backend's answer asks for it.
    pub(super) fn hand_over(&self, answer: Response<Body>, handoff: Handoff, asked: Asked) -> Handled {
        if handoff.channels.is_empty() {
            let reason = "it has `Outboard-*` headers but no `Outboard-Channel`, which names the channels";
            return Handled::Response(self.bad_handoff(reason, &asked));
        }
        let (parts, body) = answer.into_parts();
        let mut hold = Ask::new(handoff.channels.clone(), asked.head.start.version);
        hold.initial = initial(&parts.headers, body, &asked);
        hold.headers = parts.headers;
        self.hold(hold, handoff, asked, Question::Request)
    }

    /// Fills in what the backend said in answer to `question` and what the client said, and opens the
    /// stream.
    pub(super) fn hold(&self, mut hold: Ask, handoff: Handoff, asked: Asked, question: Question) -> Handled {
        if self.draining.has_begun() {
            return Handled::Response(self.streams.come_back());
        }
        if *asked.method() == Method::HEAD {
            return Handled::Response(head_only(&hold));
        }
        hold.last_event_id = last_event_id(&asked.head.map(), asked.head.query());
        hold.replay = handoff.replay.unwrap_or(hold.replay);
        hold.retry = handoff.retry.or(hold.retry);
        hold.keep_alive = handoff.keep_alive.or(hold.keep_alive);
        hold.subject = handoff.subject.clone().or(hold.subject);
        hold.on_end = handoff.gone.clone().map(|path| self.tell_gone(path, &hold, &asked));
        hold.recheck = handoff.recheck.map(|every| self.recheck(every, question, handoff, asked));
        self.streams.open(hold).widen()
    }

    fn recheck(&self, every: Duration, question: Question, first: Handoff, asked: Asked) -> Recheck {
        let backend = Arc::clone(&self.backend);
        let client = Arc::new(Rechecked { backend, question, first, asked, under_way: Mutex::const_new(()) });
        let ask = move || -> MayStay {
            let client = Arc::clone(&client);
            Box::pin(async move { client.may_stay().await })
        };
        Recheck { every, ask: Box::new(ask) }
    }

    /// Tells the backend once that the client is gone; tries again while nobody answers.
    fn tell_gone(&self, path: String, hold: &Ask, asked: &Asked) -> OnEnd {
        let (backend, asked) = (Arc::clone(&self.backend), asked.clone());
        let (channels, subject) = (hold.channels.clone(), hold.subject.clone());
        let runtime = tokio::runtime::Handle::current();
        OnEnd::new(move |end: End| {
            runtime.spawn(async move {
                let mut lines = ask::lines(&backend, &asked);
                // Some servers answer 411 to a POST that does not say how long it is (RFC 9110 section 8.6).
                lines.add("Content-Length", b"0");
                ask::name_channels(&mut lines, &channels);
                if let Some(subject) = &subject {
                    lines.add(ask::SUBJECT, subject.as_str().as_bytes());
                }
                lines.add(ask::REASON, end.as_str().as_bytes());
                post_until_answered(&backend, &path, &lines).await;
            });
        })
    }
}

async fn post_until_answered(backend: &Backend, path: &str, lines: &Lines) {
    let mut pauses = TELL_AGAIN.into_iter();
    loop {
        let fault = match ask::ask(backend, Method::POST, path, lines).await {
            Ok(answer) => return ask::discard(answer.into_body()).await,
            Err(fault) => fault,
        };
        let Some(pause) = pauses.next() else {
            tracing::error!(%fault, %path, "the backend was not told that a client is gone");
            return;
        };
        tracing::warn!(%fault, %path, "cannot tell the backend that a client is gone; it is told again");
        tokio::time::sleep(pause).await;
    }
}

/// A held client about which the backend is asked again and again.
struct Rechecked {
    backend: Arc<Backend>,
    question: Question,
    /// What the backend said at first.
    first: Handoff,
    asked: Asked,
    /// Locked while the backend has not answered.
    under_way: Mutex<()>,
}

impl Rechecked {
    /// Asks the same question; only the same answer lets the client stay.
    async fn may_stay(&self) -> bool {
        // A backend that is slower than `Outboard-Recheck` must not have its questions pile up: the one
        // under way decides.
        let Ok(_under_way) = self.under_way.try_lock() else { return true };
        match ask::confirm(&self.backend, &self.question, &self.asked, &self.first).await {
            Ok(()) => true,
            Err(reason) => {
                let path = self.asked.path();
                tracing::info!(%reason, path, "a stream is not allowed any more");
                false
            }
        }
    }
}

/// The answer's body, if it can stand in a stream.
fn initial(headers: &header::HeaderMap, body: Body, asked: &Asked) -> Option<Initial> {
    let coding = headers.get(header::CONTENT_ENCODING).map(HeaderValue::as_bytes);
    if let Some(coding) = coding.filter(|coding| !coding.eq_ignore_ascii_case(b"identity")) {
        tracing::warn!(
            coding = %String::from_utf8_lossy(coding), path = asked.path(), request_id = %asked.id,
            "the initial events of a handoff are compressed and are left out; turn compression off for event streams"
        );
        return None;
    }
    Some(Initial(body))
}

fn head_only(hold: &Ask) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.headers_mut() = hold.headers.clone();
    head::take_place_of(response.headers_mut());
    response
}
