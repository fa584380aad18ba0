//! Holding a client that a backend handed over.

use std::sync::Arc;
use std::time::Duration;

use http::header::{self, HeaderName};
use http::{HeaderValue, Method, Response};

use super::ask::Question;
use super::{Asked, Gateway, ask};
use crate::body::Body;
use crate::handoff::Handoff;
use crate::listen::connection::Answer;
use crate::subscribe::{Ask, End, Initial, OnEnd, Recheck, head};

/// The query parameters in which clients that cannot set headers say where they were, in the order
/// in which they count (PROTOCOL 6.4).
const LAST_EVENT_ID: [&str; 3] = ["last_event_id", "lastEventId", "lastEventID"];

/// How long we wait before telling a backend again that a client is gone: it may just restart.
const TELL_AGAIN: [Duration; 4] =
    [Duration::from_secs(1), Duration::from_secs(4), Duration::from_secs(15), Duration::from_secs(60)];

impl Gateway {
    /// Takes a client over as the backend's answer asks for it.
    pub(super) fn hand_over(
        self: &Arc<Self>,
        answer: Response<Body>,
        handoff: Handoff,
        asked: Asked,
    ) -> Answer {
        if handoff.channels.is_empty() {
            let reason = "it has `Outboard-*` headers but no `Outboard-Channel`, which names the channels";
            return Answer::Response(self.bad_handoff(reason, &asked));
        }
        let (parts, body) = answer.into_parts();
        let mut hold = Ask::new(handoff.channels.clone(), asked.version);
        hold.initial = initial(&parts.headers, body, &asked);
        hold.headers = parts.headers;
        self.hold(hold, handoff, Question::Itself, asked)
    }

    /// Fills in what the backend said and what the client said, and opens the stream.
    pub(super) fn hold(
        self: &Arc<Self>,
        mut hold: Ask,
        handoff: Handoff,
        question: Question,
        asked: Asked,
    ) -> Answer {
        if self.draining.has_begun() {
            return Answer::Response(self.streams.come_back());
        }
        if asked.method == Method::HEAD {
            return Answer::Response(head_only(&hold));
        }
        hold.last_event_id = last_event_id(&asked);
        hold.replay = handoff.replay.unwrap_or(hold.replay);
        hold.retry = handoff.retry.or(hold.retry);
        hold.keep_alive = handoff.keep_alive.or(hold.keep_alive);
        hold.subject = handoff.subject.clone().or(hold.subject);
        // What is held may be the route's choice in part, so this comes after all that is filled in.
        hold.on_end = handoff.gone.clone().map(|path| self.tell_gone(path, &hold, &asked));
        hold.recheck = handoff.recheck.map(|every| self.recheck(every, question, handoff, asked));
        self.streams.open(hold)
    }

    /// Asks the same question again; only the same answer lets the client stay.
    fn recheck(
        self: &Arc<Self>,
        every: Duration,
        question: Question,
        first: Handoff,
        asked: Asked,
    ) -> Recheck {
        let gateway = Arc::downgrade(self);
        let about = Arc::new((question, first, asked));
        let ask = move || -> crate::subscribe::MayStay {
            let (gateway, about) = (gateway.clone(), Arc::clone(&about));
            Box::pin(async move {
                let Some(gateway) = gateway.upgrade() else { return false };
                let (question, first, asked) = &*about;
                match ask::once_more(&gateway.backend, question, asked).await {
                    Ok(now) => now.channels == first.channels && now.subject == first.subject,
                    Err(reason) => {
                        tracing::info!(%reason, path = asked.uri.path(), "a stream is not allowed any more");
                        false
                    }
                }
            })
        };
        Recheck { every, ask: Box::new(ask) }
    }

    /// Tells the backend once that the client is gone; tries again while nobody answers.
    fn tell_gone(self: &Arc<Self>, path: String, held: &Ask, asked: &Asked) -> OnEnd {
        let backend = Arc::clone(&self.backend);
        let asked = asked.clone();
        let (channels, subject) = (held.channels.clone(), held.subject.clone());
        let runtime = tokio::runtime::Handle::current();
        OnEnd::new(move |end: End| {
            runtime.spawn(async move {
                for pause in TELL_AGAIN {
                    let Some(mut request) = ask::request(Method::POST, &path, &asked) else { return };
                    let headers = request.headers_mut();
                    ask::name_channels(headers, &channels);
                    if let Some(subject) = &subject {
                        ask::set(headers, ask::SUBJECT, subject.as_str());
                    }
                    ask::set(headers, ask::REASON, end.as_str());
                    match backend.ask(request).await {
                        Ok(answer) => return ask::discard(answer.into_body()).await,
                        Err(fault) => {
                            tracing::warn!(%fault, %path, "cannot tell the backend that a client is gone; it is told again");
                        }
                    }
                    tokio::time::sleep(pause).await;
                }
            });
        })
    }
}

/// The answer's body, if it can stand in a stream.
fn initial(headers: &header::HeaderMap, body: Body, asked: &Asked) -> Option<Initial> {
    let coding = headers.get(header::CONTENT_ENCODING).map(HeaderValue::as_bytes);
    if let Some(coding) = coding.filter(|coding| !coding.eq_ignore_ascii_case(b"identity")) {
        tracing::warn!(
            coding = %String::from_utf8_lossy(coding), path = asked.uri.path(), request_id = %asked.id,
            "the initial events of a handoff are compressed and are left out; turn compression off for event streams"
        );
        return None;
    }
    Some(Initial(body))
}

fn head_only(hold: &Ask) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.headers_mut() = hold.headers.clone();
    response.headers_mut().remove(header::CONTENT_LENGTH);
    for (name, value) in head::HEADERS {
        response.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    response
}

/// Where the client was. The header wins: a browser repeats the old query with each reconnect.
pub(super) fn last_event_id(asked: &Asked) -> Option<String> {
    let header =
        asked.headers.get("last-event-id").map(|id| String::from_utf8_lossy(id.as_bytes()).into_owned());
    let query = || {
        let query = asked.uri.query()?;
        LAST_EVENT_ID.iter().find_map(|name| {
            form_urlencoded::parse(query.as_bytes())
                .find(|(key, _)| key == name)
                .map(|(_, id)| id.into_owned())
        })
    };
    header.or_else(query).filter(|id| !id.is_empty())
}
