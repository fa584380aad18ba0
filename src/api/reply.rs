//! What the API says, which is always JSON.

use http::StatusCode;
use serde::Serialize;

use super::Handled;
use super::problem::Problem;
use crate::body::Body;
use crate::http1::Reply;

/// What is said of each reply.
const JSON: &str = "Content-Type: application/json\r\n\
                    X-Content-Type-Options: nosniff\r\n\
                    Cache-Control: no-store\r\n";

/// `value` as the answer to a request.
pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Handled {
    Handled::Reply(json_reply(status, value))
}

fn json_reply(status: StatusCode, value: &impl Serialize) -> Reply {
    // Our own types have string keys and no failing serializers.
    let mut text = serde_json::to_vec(value).unwrap_or_default();
    text.push(b'\n');
    let mut reply = Reply::new(status, b"", Body::from(text));
    reply.add_all(JSON);
    reply
}

/// What is said to a request that is refused.
pub(super) fn refusal(problem: &Problem) -> Handled {
    let text = serde_json::json!({ "error": problem.code(), "message": problem.to_string() });
    let mut reply = json_reply(problem.status(), &text);
    match problem {
        // As after any other request that could be understood in two ways, nothing more is read.
        Problem::Host(_) => reply.close(),
        Problem::Method { allowed } => reply.add("Allow", allowed.as_bytes()),
        Problem::Unauthorized => reply.add("WWW-Authenticate", b"Bearer realm=\"outboard\""),
        _ => {}
    }
    Handled::Reply(reply)
}
