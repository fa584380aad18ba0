//! Holding a client that a backend handed over.

use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, Response, StatusCode};
use http_body::Body as _;

use super::origins::Reader;
use super::{Asked, Gateway, Handled, Taker, coding, cookies, refuse, stream};
use crate::body::Body;
use crate::handoff::Handoff;
use crate::proxy::headers::Charset;
use crate::subscribe::{Ask, Initial, Opened, Promises, Question, Recheck, head, last_event_id, no_content};

impl Gateway {
    /// Takes a client over as the backend's answer asks for it, to a question that was put when the latest
    /// disconnect was that of `asked_at`.
    pub(super) fn hand_over(
        &self,
        answer: Response<Body>,
        handoff: Handoff,
        asked: &Asked,
        asked_at: u64,
    ) -> Handled {
        match self.wish(answer, handoff, asked, asked_at) {
            Ok((hold, handoff, question)) => {
                self.note_success(StatusCode::OK, asked);
                self.hold(hold, handoff, asked, question)
            }
            Err(reason) => Handled::Response(self.bad_handoff(&reason, asked)),
        }
    }

    /// What a handoff asks for.
    ///
    /// # Errors
    /// When it cannot be done, with what to write.
    pub(super) fn wish(
        &self,
        answer: Response<Body>,
        handoff: Handoff,
        asked: &Asked,
        asked_at: u64,
    ) -> Result<(Ask, Handoff, Question), String> {
        if handoff.channels.is_empty() {
            let reason = "it has `Outboard-*` headers but no `Outboard-Channel`, which names the channels";
            return Err(reason.into());
        }
        let is_repeatable = matches!(*asked.method(), Method::GET | Method::HEAD);
        if handoff.recheck.is_some() && handoff.recheck_path.is_none() && !is_repeatable {
            return Err(format!(
                "it answers a {}, which is not sent again: `Outboard-Recheck` needs a path that is asked for \
                 with GET, as in `Outboard-Recheck: 60 /may-stay.cgi`",
                asked.method()
            ));
        }
        let (mut parts, body) = answer.into_parts();
        let mut hold = Ask::new(handoff.channels.clone(), asked.head.start.version);
        hold.pad = self.pad(asked);
        hold.initial = initial(&mut parts.headers, body, asked)?;
        hold.headers = parts.headers;
        hold.asked_at = Some(asked_at);
        Ok((hold, handoff, Question::Request))
    }

    /// Fills in what the backend said in answer to `question` and what the client said.
    pub(super) fn fill_in(&self, mut hold: Ask, handoff: Handoff, asked: &Asked, question: Question) -> Ask {
        hold.last_event_id = last_event_id(&asked.head.map(), asked.head.query());
        hold.replay = handoff.replay.unwrap_or(hold.replay);
        hold.retry = handoff.retry.or(hold.retry);
        hold.keep_alive = handoff.keep_alive.or(hold.keep_alive);
        hold.subject = handoff.subject.clone().or(hold.subject);
        hold.promises = promises(&hold, handoff, asked, question);
        hold
    }

    /// Opens the stream of a client that the backend lets in.
    pub(super) fn hold(&self, mut hold: Ask, handoff: Handoff, asked: &Asked, question: Question) -> Handled {
        if *asked.method() == Method::HEAD {
            return Handled::Response(head_only(&hold));
        }
        if let Some(reader) = Reader::of(self.routes.find(asked.path()).as_ref(), asked) {
            reader.tell(&mut hold.headers);
        }
        let hold = self.fill_in(hold, handoff, asked, question);
        if self.draining.has_begun() {
            self.streams.turn_away(hold);
            return Handled::Response(self.come_back_soon_or(asked, || refuse::busy(asked)));
        }
        match self.streams.open(hold) {
            Opened::Stay(stay) => Handled::Taken(Box::new(Taker::Stay(*stay))),
            Opened::Over => Handled::Response(no_content()),
            // Who may still listen is let in when it asks again.
            Opened::Disconnected => {
                let denied = || refuse::denied(StatusCode::FORBIDDEN, asked);
                Handled::Response(self.come_back_soon_or(asked, denied))
            }
            Opened::Full(_) => Handled::Response(self.come_back_soon_or(asked, || refuse::busy(asked))),
        }
    }
}

/// What was promised about a client, if anything was.
fn promises(hold: &Ask, handoff: Handoff, asked: &Asked, question: Question) -> Option<Promises> {
    let Handoff { channels, subject, recheck, recheck_path, gone, .. } = handoff;
    if recheck.is_none() && gone.is_none() {
        return None;
    }
    let question = match recheck_path {
        Some(path) => Question::Path { path, channels: hold.channels.clone() },
        None => question,
    };
    let set = hold.headers.get_all(header::SET_COOKIE).iter().map(HeaderValue::as_bytes);
    Some(Promises {
        asked: cookies::changed(asked, set),
        channels: hold.channels.clone(),
        subject: hold.subject.clone(),
        recheck: recheck.map(|every| Recheck { every, question, channels, subject }),
        gone,
    })
}

/// The answer's text in UTF-8, if there is any.
///
/// # Errors
/// When it cannot be read: to leave events out without a word would be worse than to fail.
fn initial(headers: &mut HeaderMap, body: Body, asked: &Asked) -> Result<Option<Initial>, String> {
    if body.is_end_stream() || *asked.method() == Method::HEAD {
        return Ok(None);
    }
    let body = coding::take_off(headers, body).map_err(|unread| unread.to_string())?;
    // By its type or not, its body is one.
    let charset = Charset::of(headers);
    Ok(Some(Initial(stream::passed(headers, charset, body, stream::Manner::default()))))
}

fn head_only(hold: &Ask) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.headers_mut() = hold.headers.clone();
    head::take_place_of(response.headers_mut());
    response
}
