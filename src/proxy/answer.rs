//! A backend's answer, which is passed on as it came, or looked into.

use std::fmt::Display;

use http::{HeaderName, HeaderValue, Response, StatusCode};

use super::address::Address;
use super::answer_body::AnswerBody;
use super::headers;
use super::lease::Lease;
use crate::body::Body;
use crate::http1::{AnswerHead, BodyReader, Header, Reply, Words, Writer};

/// A backend's answer. Its head is as it came, `Outboard-*` lines and all.
pub struct Answer {
    head: AnswerHead,
    body: Body,
    /// Whether nothing about it is for us.
    plain: bool,
    /// Whether the client is told through whom it came.
    via: bool,
    /// What is left out of where the client is sent, if it is sent anywhere.
    left_out: Option<Box<OwnAddress>>,
}

/// The address of the site behind, and the host that the client has asked for.
struct OwnAddress {
    site: Address,
    host: Vec<u8>,
}

impl Answer {
    pub(super) fn new(
        head: AnswerHead,
        mut lease: Lease,
        mut body: BodyReader,
        upload: Option<Writer>,
        target: impl Display,
    ) -> Self {
        let stream = headers::is_event_stream(&head);
        let controls = head.lines().any(|line| headers::is_control(line.name));
        let hands_over = controls && head.lines().any(|line| headers::is_handoff(line.name));
        let plain = !stream && !controls;
        let via = lease.inside.settings.rules.via;
        // Of a client that is handed over nothing more is read: the rest of its request never comes.
        let reusable = head.keeps_alive() && !head.announces_too_much() && !(hands_over && upload.is_some());
        let upload = upload.filter(|_| !hands_over);
        // All of it is here already, as a rule.
        let whole = match body.left() {
            // The rest of the request goes on while the answer does.
            _ if upload.is_some() => None,
            Some(0) => Some(Body::empty()),
            Some(_) if !stream => whole(&mut body, &mut lease),
            _ => None,
        };
        if let Some(body) = whole {
            if reusable {
                lease.end();
            }
            return Self { head, body, plain, via, left_out: None };
        }
        if stream && !hands_over {
            lease.becomes_stream();
        }
        // What the backend streams has no clock; what it hands over with a body does: it is to exit.
        let clock = !stream || hands_over;
        let idle = clock.then_some(lease.inside.settings.idle_timeout);
        let trailers = headers::announced_trailers(&head);
        let target = target.to_string().into();
        let body = AnswerBody {
            lease: Some(lease),
            body,
            upload,
            reusable,
            endless: stream,
            idle,
            trailers,
            target,
        };
        Self { head, body: Body::stream(body), plain, via, left_out: None }
    }

    /// The status.
    pub fn status(&self) -> StatusCode {
        self.head.start.status
    }

    /// Whether nothing about it is for us, so that it can be passed on as it came.
    pub fn is_plain(&self) -> bool {
        self.plain
    }

    /// Leaves the site's own address out of where the client is sent, which asked for `host`.
    pub(super) fn leave_out(&mut self, site: &Address, host: &[u8]) {
        if headers::has_locations(&self.head) {
            self.left_out = Some(Box::new(OwnAddress { site: site.clone(), host: host.to_vec() }));
        }
    }

    /// The answer on its way to the client.
    pub fn into_reply(self) -> Reply {
        let Self { head, body, via, left_out, .. } = self;
        let mut reply = Reply::new(head.start.status, head.reason(), body);
        // It was found to be one or none when the body's length was.
        reply.state_length(head.stated_length().unwrap_or_default());
        for line in headers::passing(&head) {
            match rewritten(line, left_out.as_deref()) {
                None => reply.copy(line),
                Some(value) => reply.copy(Header { value: &value, ..line }),
            }
        }
        for name in headers::announced_trailers(&head) {
            reply.add("Trailer", name.as_str().as_bytes());
        }
        if via {
            reply.add("Via", headers::via(head.start.version).as_bytes());
        }
        reply
    }

    /// The answer with its headers in a map. What is meant for one hop is not in it; `Outboard-*` is.
    pub fn into_response(self) -> Response<Body> {
        let Self { head, body, via, left_out, .. } = self;
        let mut response = Response::new(body);
        *response.status_mut() = head.start.status;
        response.extensions_mut().insert(Words::new(head.start.status, head.reason()));
        let length = head.stated_length().unwrap_or_default();
        let map = response.headers_mut();
        for line in headers::passing(&head) {
            let value = rewritten(line, left_out.as_deref());
            let value = value.as_deref().unwrap_or(line.value);
            if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(line.name), value.try_into()) {
                map.append(name, value);
            }
        }
        if let Some(length) = length {
            map.insert(http::header::CONTENT_LENGTH, length.into());
        }
        for name in headers::announced_trailers(&head) {
            map.append(http::header::TRAILER, name.into());
        }
        if via {
            map.append(http::header::VIA, HeaderValue::from_static(headers::via(head.start.version)));
        }
        response
    }
}

/// What a line says in place of the site's own address, if it names that.
fn rewritten(line: Header<'_>, left_out: Option<&OwnAddress>) -> Option<Vec<u8>> {
    let OwnAddress { site, host } = left_out?;
    headers::rewritten(line, site, host)
}

/// The body, if all of it has come.
fn whole(body: &mut BodyReader, lease: &mut Lease) -> Option<Body> {
    let reader = &mut lease.link.reader;
    if (reader.len() as u64) < body.left()? {
        return None;
    }
    let data = body.next(reader)?.ok()?.into_data().ok()?;
    Some(Body::from(data))
}
