//! What channels there are, and ending things.

use http::StatusCode;
use serde_json::json;

use super::problem::Problem;
use super::query::Query;
use super::reply;
use super::{Api, Handled};
use crate::broker::{Publication, Receipt};
use crate::channel::Channel;
use crate::http1::RequestHead;
use crate::subject::Subject;

/// The longest pattern: longer than the longest name is of no use, and costs time to compile.
const MAX_PATTERN: usize = 1024;

impl Api {
    /// The channels there are, a page of them.
    pub(super) async fn channels(&self, head: &RequestHead) -> Result<Handled, Problem> {
        let query = Query::of(head, &["after", "limit", "match"])?;
        let matching = query.get("match").map(glob).transpose()?;
        let channels = self.log().await?.channels(query.get("after"), matching.as_ref(), query.limit()?);
        Ok(reply::json(StatusCode::OK, &channels))
    }

    /// One channel.
    pub(super) async fn channel(&self, channel: &Channel) -> Result<Handled, Problem> {
        match self.log().await?.channel(channel) {
            Some(state) => Ok(reply::json(StatusCode::OK, &state)),
            None => Err(unknown(channel)),
        }
    }

    /// Closes a channel; again, if need be.
    pub(super) async fn close(&self, channel: Channel) -> Result<Handled, Problem> {
        let publication =
            Publication { channels: vec![channel.clone()], close: true, ..Publication::default() };
        self.publish(publication).await?;
        Ok(reply::json(StatusCode::OK, &json!({ "channel": channel, "closed": true })))
    }

    /// Ends everybody who was accepted as `subject`.
    pub(super) async fn disconnect(&self, subject: Subject) -> Result<Handled, Problem> {
        let publication = Publication { disconnect: vec![subject.clone()], ..Publication::default() };
        let ended = self.publish(publication).await?.disconnected;
        Ok(reply::json(StatusCode::OK, &json!({ "subject": subject.as_str(), "ended": ended })))
    }

    async fn publish(&self, publication: Publication) -> Result<Receipt, Problem> {
        self.broker.publish(publication).await.map_err(|refused| {
            self.metrics.refused.add_one();
            Problem::Refused(refused.into())
        })
    }
}

pub(super) fn unknown(channel: &Channel) -> Problem {
    Problem::NotFound(format!(
        "there is no channel `{channel}`: nothing has been published to it, and nobody listens"
    ))
}

fn glob(pattern: &str) -> Result<globset::GlobMatcher, Problem> {
    if pattern.len() > MAX_PATTERN {
        return Err(Problem::bad_value("match", format!("a pattern has at most {MAX_PATTERN} bytes")));
    }
    match globset::GlobBuilder::new(pattern).literal_separator(true).build() {
        Ok(glob) => Ok(glob.compile_matcher()),
        Err(error) => Err(Problem::bad_value("match", error.kind())),
    }
}
