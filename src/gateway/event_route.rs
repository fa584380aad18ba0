//! A path that outboard answers itself.

use http::header::{self, HeaderMap, HeaderValue};
use http::{Response, StatusCode};

use super::{Asked, Gateway, Handled, ask, is_passing, refuse, retry_after};
use crate::body::Body;
use crate::channel::Channel;
use crate::handoff::{self, Handoff};
use crate::proxy::Room;
use crate::route::{Match, Variables, Wished};
use crate::subscribe::{Ask, Question};

/// What the backend says of a client that may listen.
#[derive(Default)]
struct LetIn {
    handoff: Handoff,
    /// The lines for the client, which are its cookies.
    headers: HeaderMap,
}

impl Gateway {
    /// Opens the stream that a request for an event route means, if the client may listen.
    pub(super) async fn event_route(&self, found: Match<'_>, asked: &Asked) -> Handled {
        let route = found.route;
        let headers = asked.head.map();
        let variables = Variables::new(&found.captures, asked.head.query(), &headers);
        let (wished, subject, auth) =
            match (route.channels(&variables), route.subject(&variables), route.auth_path(&variables)) {
                (Ok(wished), Ok(subject), Ok(auth)) => (wished, subject, auth),
                (Err(unfit), ..) | (_, Err(unfit), _) | (.., Err(unfit)) => {
                    return Handled::Response(refuse::unfit(&unfit.to_string(), asked));
                }
            };

        let all = || wished.iter().map(|wished| wished.channel.clone()).collect::<Vec<_>>();
        let asked_at = self.streams.latest_disconnect();
        let (question, let_in, channels) = match auth {
            None => (Question::Request, LetIn::default(), all()),
            Some(path) => {
                let question = Question::Path { path, channels: all() };
                let let_in = match self.may_listen(&question, asked).await {
                    Ok(let_in) => let_in,
                    Err(refusal) => return Handled::Response(*refusal),
                };
                let named = &let_in.handoff.channels;
                let channels = if wished.is_empty() { named.clone() } else { approved(&wished, named) };
                (question, let_in, channels)
            }
        };
        if channels.is_empty() && !wished.is_empty() {
            tracing::warn!(
                path = asked.path(), request_id = %asked.id,
                "the answer to `auth` lets a client in and names none of the channels that it wishes in \
                 `Outboard-Channel`: it is turned away, for what a client asks for grants nothing by itself"
            );
            return Handled::Response(refuse::denied(StatusCode::FORBIDDEN, asked));
        }
        if channels.is_empty() {
            let reason = "the route has no `channels`, and the answer to its `auth` no `Outboard-Channel`";
            return Handled::Response(self.bad_handoff(reason, asked));
        }

        let mut hold = Ask::new(channels, asked.head.start.version);
        hold.replay = route.replay;
        hold.keep_alive = route.keep_alive;
        hold.retry = route.retry;
        hold.pad = route.pad;
        hold.subject = subject;
        hold.asked_at = Some(asked_at);
        hold.headers = let_in.headers;
        hold.headers.append(header::VARY, HeaderValue::from_static("Accept"));
        self.hold(hold, let_in.handoff, asked, question)
    }

    /// Asks the backend whether this client may listen. A failure to answer is never a yes, and for an
    /// `EventSource` never a no for good.
    async fn may_listen(&self, question: &Question, asked: &Asked) -> Result<LetIn, Box<Response<Body>>> {
        let asking = async {
            let permit = self.backend.permit(Room::Auth).await?;
            ask::put(question, &self.backend, permit, asked).await
        };
        let mut answer = asking.await.map_err(|fault| Box::new(self.fault(&fault, asked)))?;

        let status = answer.status();
        let said = handoff::take(answer.headers_mut());
        if is_passing(status) {
            tracing::warn!(
                status = status.as_u16(), path = asked.path(), request_id = %asked.id,
                "the backend failed when it was asked whether a client may listen"
            );
            let not_before = retry_after(answer.headers());
            return Err(Box::new(match self.comes_back(asked) {
                true => self.ask_to_come_back(asked, not_before),
                false => answer,
            }));
        }
        if !status.is_success() {
            self.failing.succeeds(asked.path());
            tracing::info!(
                status = status.as_u16(), path = asked.path(), request_id = %asked.id,
                "the backend does not let a client listen"
            );
            return Err(Box::new(denied(&answer, asked)));
        }
        let (parts, body) = answer.into_parts();
        if let Err(fault) = ask::ended(&self.backend, body).await {
            return Err(Box::new(self.fault(&fault, asked)));
        }
        let mut headers = HeaderMap::new();
        for cookie in parts.headers.get_all(header::SET_COOKIE) {
            headers.append(header::SET_COOKIE, cookie.clone());
        }
        match said {
            Ok(handoff) => {
                self.failing.succeeds(asked.path());
                Ok(LetIn { handoff: handoff.unwrap_or_default(), headers })
            }
            Err(invalid) => Err(Box::new(self.bad_handoff(&invalid.to_string(), asked))),
        }
    }
}

/// Those of the wished channels that the answer lets the client hear: what comes from the client's request has to
/// be named, and what the configuration names only if anything is.
fn approved(wished: &[Wished], named: &[Channel]) -> Vec<Channel> {
    let is_approved =
        |wished: &&Wished| named.contains(&wished.channel) || (wished.is_fixed && named.is_empty());
    wished.iter().filter(is_approved).map(|wished| wished.channel.clone()).collect()
}

/// What a client is told that the backend turned away. Only these statuses are decisions
/// (PROTOCOL 6.9); a redirect to a log-in page, as old sites send, is a no like any other.
fn denied(answer: &Response<Body>, asked: &Asked) -> Response<Body> {
    let status = match answer.status() {
        status @ (StatusCode::UNAUTHORIZED | StatusCode::NOT_FOUND | StatusCode::GONE) => status,
        _ => StatusCode::FORBIDDEN,
    };
    let mut response = refuse::denied(status, asked);
    if let Some(challenge) = answer.headers().get(header::WWW_AUTHENTICATE) {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge.clone());
    }
    response
}
