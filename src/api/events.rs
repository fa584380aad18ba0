//! A channel's history, to be read or to be followed.

use std::time::SystemTime;

use http::StatusCode;
use serde::Serialize;

use super::channels::unknown;
use super::problem::Problem;
use super::query::Query;
use super::reply;
use super::{Api, Handled};
use crate::broker::{Kept, Role};
use crate::channel::Channel;
use crate::event::EventId;
use crate::event::frame::Code;
use crate::http1::RequestHead;
use crate::proxy::headers::{EVENT_STREAM, accepts};
use crate::replay::Replay;
use crate::subscribe::{Ask, LAST_EVENT_ID_PARAMETERS, Opened, last_event_id, no_content};

/// An event as JSON.
#[derive(Serialize)]
struct Past<'a> {
    id: &'a EventId,
    event: Option<&'a str>,
    data: Option<&'a str>,
    /// RFC 3339, in UTC.
    time: String,
}

impl<'a> From<&'a Kept> for Past<'a> {
    fn from(kept: &'a Kept) -> Self {
        Self { id: &kept.id, event: kept.event.name(), data: kept.event.data(), time: rfc3339(kept.time) }
    }
}

impl Api {
    /// The history, or with `Accept: text/event-stream` a live subscription.
    pub(super) async fn events(
        &self,
        channel: Channel,
        head: &RequestHead,
        is_head: bool,
    ) -> Result<Handled, Problem> {
        if accepts(head, EVENT_STREAM) && !is_head {
            return self.follow(channel, head);
        }
        let query = Query::of(head, &["after", "limit"])?;
        let Some(kept) = self.log().await?.history(&channel, query.get("after"), query.limit()?) else {
            return Err(unknown(&channel));
        };
        let past: Vec<_> = kept.iter().map(Past::from).collect();
        Ok(reply::json(StatusCode::OK, &past))
    }

    fn follow(&self, channel: Channel, head: &RequestHead) -> Result<Handled, Problem> {
        let known = [&LAST_EVENT_ID_PARAMETERS[..], &["replay", "after"]].concat();
        let query = Query::of(head, &known)?;
        let replay = match query.get("replay") {
            None => Replay::Live,
            Some(policy) => policy.parse().map_err(|invalid| Problem::bad_value("replay", invalid))?,
        };
        let after = || query.get("after").filter(|id| !id.is_empty()).map(str::to_owned);
        let last_event_id = last_event_id(&head.map(), head.query()).or_else(after);
        let role = Role::Onlooker;
        let ask = Ask { last_event_id, replay, role, ..Ask::new(vec![channel], head.start.version) };
        match self.streams.open(ask) {
            Opened::Stay(stay) => Ok(Handled::Taken(stay)),
            Opened::Over => Ok(Handled::Response(no_content())),
            Opened::Disconnected => Ok(Handled::Response(no_content())),
            Opened::Full(full) => Err(Problem::refused(Code::Overloaded, full.to_string())),
        }
    }
}

fn rfc3339(time: SystemTime) -> String {
    humantime::format_rfc3339_millis(time).to_string()
}
