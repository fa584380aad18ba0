//! What a client is told that gets neither an answer of the backend nor a stream.

use http::header::{self, HeaderValue};
use http::{Response, StatusCode};

use super::Asked;
use crate::body::Body;
use crate::http1::Field;
use crate::http1::Refusal;
use crate::proxy::Fault;
use crate::proxy::page::error_page;

const TRY_AGAIN: &str = "Please try again in a moment.";

/// The methods that are served here.
const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");

/// A request that is for no host, or for several.
pub(super) fn host(refusal: Refusal, asked: &Asked) -> Response<Body> {
    tell_of(refusal.status(), &refusal, asked);
    let mut response =
        page_for(refusal.status(), "The request cannot be understood", &format!("{refusal}."), asked);
    // As after any other request that could be understood in two ways, nothing more is read.
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

/// A method that has no business here (RFC 9110 sections 9.3.6 and 9.3.8).
pub(super) fn method(asked: &Asked) -> Response<Body> {
    let text = "CONNECT and TRACE are not served here.";
    tell_of(StatusCode::METHOD_NOT_ALLOWED, &"CONNECT and TRACE are not served", asked);
    let mut response = page_for(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed", text, asked);
    response.headers_mut().insert(header::ALLOW, METHODS);
    response
}

/// The options of the last server that the client wanted to hear of: of us, and of nobody behind us (RFC 9110
/// section 7.6.2).
pub(super) fn nobody_behind() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    response.headers_mut().insert(header::ALLOW, METHODS);
    response
}

/// A request that an event route can make nothing of.
pub(super) fn unfit(reason: &str, asked: &Asked) -> Response<Body> {
    tell_of(StatusCode::BAD_REQUEST, &reason, asked);
    page_for(StatusCode::BAD_REQUEST, "This stream cannot be opened", &format!("{reason}."), asked)
}

/// A client that the backend does not let listen.
pub(super) fn denied(status: StatusCode, asked: &Asked) -> Response<Body> {
    let text = match status {
        StatusCode::UNAUTHORIZED => "Log in, then open the page again.",
        StatusCode::NOT_FOUND | StatusCode::GONE => "There is no such stream.",
        _ => "You may not listen to this stream.",
    };
    page_for(status, "No stream", text, asked)
}

/// A page of another site that nobody lets read.
pub(super) fn cross_site(asked: &Asked) -> Response<Body> {
    let refusal = "a page of another site asks; if it may read this with its visitors' cookies, list its origin in \
                   `origins` of the [[event_route]]";
    tell_of(StatusCode::FORBIDDEN, &refusal, asked);
    page_for(StatusCode::FORBIDDEN, "No stream", "Pages of other sites may not listen to this stream.", asked)
}

/// A client that comes back for a status that came too late before.
pub(super) fn again(status: StatusCode, asked: &Asked) -> Response<Body> {
    page_for(status, "No stream", "The site has answered with this status.", asked)
}

/// A backend that did not answer.
pub(super) fn fault(fault: &Fault, asked: &Asked) -> Response<Body> {
    let (title, text) = match fault.status() {
        StatusCode::GATEWAY_TIMEOUT => ("The site takes too long", TRY_AGAIN),
        StatusCode::SERVICE_UNAVAILABLE => return busy(asked),
        StatusCode::BAD_GATEWAY => ("The site does not answer", TRY_AGAIN),
        StatusCode::LENGTH_REQUIRED => {
            ("The request does not say how long it is", "Please send it with a Content-Length.")
        }
        _ => ("The request did not arrive whole", "Please send it again."),
    };
    page_for(fault.status(), title, text, asked)
}

/// A client for whom there is no room.
pub(super) fn busy(asked: &Asked) -> Response<Body> {
    page_for(StatusCode::SERVICE_UNAVAILABLE, "The site is busy", TRY_AGAIN, asked)
}

/// A backend whose answer makes no sense.
pub(super) fn bad_answer(asked: &Asked) -> Response<Body> {
    page_for(
        StatusCode::BAD_GATEWAY,
        "The site's answer makes no sense",
        "Its operator finds the reason in the log.",
        asked,
    )
}

/// Tells the operator who was refused what, and why.
fn tell_of(status: StatusCode, refusal: &dyn std::fmt::Display, asked: &Asked) {
    tracing::info!(
        client = %asked.peer.address, method = %asked.method(), path = asked.path(),
        status = status.as_u16(), %refusal, request_id = %asked.id, "refused a request"
    );
}

fn page_for(status: StatusCode, title: &str, text: &str, asked: &Asked) -> Response<Body> {
    error_page(status, title, text, asked.id, asked.head.values(Field::Accept).next())
}
