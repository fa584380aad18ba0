//! A path that outboard answers itself.

use http::{Method, Response, StatusCode, header};

use super::{Asked, Gateway, Handled, ask, is_passing, refuse};
use crate::body::Body;
use crate::handoff::{self, Handoff};
use crate::proxy::Room;
use crate::route::{Match, Variables};
use crate::subscribe::{Ask, Question};

impl Gateway {
    /// Opens the stream that a request for an event route means, if the client may listen.
    pub(super) async fn event_route(&self, found: Match<'_>, asked: &Asked) -> Handled {
        if !matches!(*asked.method(), Method::GET | Method::HEAD) {
            return Handled::Response(refuse::only_get(asked));
        }
        let route = found.route;
        let headers = asked.head.map();
        let variables = Variables::new(&found.captures, asked.head.query(), &headers);
        let (channels, subject, auth) =
            match (route.channels(&variables), route.subject(&variables), route.auth_path(&variables)) {
                (Ok(channels), Ok(subject), Ok(auth)) => (channels, subject, auth),
                (Err(unfit), ..) | (_, Err(unfit), _) | (.., Err(unfit)) => {
                    return Handled::Response(refuse::unfit(&unfit.to_string(), asked));
                }
            };

        let (question, handoff) = match auth {
            None => (Question::Request, Handoff::default()),
            Some(path) => {
                let question = Question::Path { path, channels: channels.clone() };
                match self.may_listen(&question, asked).await {
                    Ok(handoff) => (question, handoff),
                    Err(refusal) => return Handled::Response(*refusal),
                }
            }
        };
        // The backend knows better than a template which channels are for whom.
        let channels = if handoff.channels.is_empty() { channels } else { handoff.channels.clone() };
        if channels.is_empty() {
            let reason = "the route has no `channels`, and the answer to its `auth` no `Outboard-Channel`";
            return Handled::Response(self.bad_handoff(reason, asked));
        }

        let mut hold = Ask::new(channels, asked.head.start.version);
        hold.replay = route.replay;
        hold.keep_alive = route.keep_alive;
        hold.retry = route.retry;
        hold.subject = subject;
        self.hold(hold, handoff, asked, question)
    }

    /// Asks the backend whether this client may listen. A failure to answer is never a yes, and for an
    /// event-stream client never a no for good.
    async fn may_listen(&self, question: &Question, asked: &Asked) -> Result<Handoff, Box<Response<Body>>> {
        let asking = async {
            let permit = self.backend.permit(Room::Auth).await?;
            ask::put(question, &self.backend, permit, asked).await
        };
        let mut answer = asking.await.map_err(|fault| {
            let response = self.fault(&fault, asked);
            Box::new(if fault.is_client() { response } else { self.streams.come_back() })
        })?;

        let status = answer.status();
        if status.is_success() {
            let said = handoff::take(answer.headers_mut());
            ask::discard(answer.into_body()).await;
            return match said {
                Ok(handoff) => Ok(handoff.unwrap_or_default()),
                Err(invalid) => Err(Box::new(self.bad_handoff(&invalid.to_string(), asked))),
            };
        }
        tracing::info!(
            client = %asked.peer.address, status = status.as_u16(), path = asked.path(), request_id = %asked.id,
            "the backend does not let a client listen"
        );
        if is_passing(status) {
            return Err(Box::new(self.streams.come_back()));
        }
        Err(Box::new(denied(&answer, asked)))
    }
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
