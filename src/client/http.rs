//! What channels there are, and one of them as it goes (PROTOCOL 3).

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use sse_parse::{Event, SseParser};
use tokio::time::timeout;

use super::{ANSWER_TIMEOUT, Fault, Outboard};
use crate::channel::Channel;

/// How many channels are asked for at a time.
const PAGE: usize = 500;

/// The longest answer that is read whole, in bytes.
const LONGEST_ANSWER: usize = 16 << 20;

/// The longest event that is read, in bytes.
const LONGEST_EVENT: usize = 64 << 20;

/// A channel, as outboard describes it.
#[derive(Clone, Debug, serde::Deserialize, serde::Serialize)]
pub struct ChannelState {
    /// Its name.
    pub channel: String,
    /// How many listen.
    pub subscribers: u64,
    /// How many events its history holds.
    pub events: u64,
    /// How many bytes these have.
    pub bytes: u64,
    /// The id of the oldest.
    pub oldest: Option<String>,
    /// The id of the newest.
    pub newest: Option<String>,
    /// Whether it is closed.
    pub closed: bool,
}

/// What of a channel's past comes first.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Start {
    /// Nothing.
    #[default]
    Live,
    /// All there is.
    All,
    /// The newest so many.
    Newest(usize),
}

impl FromStr for Start {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "live" => Ok(Self::Live),
            "all" => Ok(Self::All),
            number => {
                number.parse().map(Self::Newest).map_err(|_| "write live, all or a number of events".into())
            }
        }
    }
}

impl fmt::Display for Start {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Live => f.write_str("live"),
            Self::All => f.write_str("all"),
            Self::Newest(number) => number.fmt(f),
        }
    }
}

impl Outboard {
    /// Hands out the channels there are, in the order of their names, a page at a time; with
    /// `matching`, only those.
    ///
    /// # Errors
    /// When outboard is not there, does not answer, or refuses the pattern.
    pub async fn channels<E: From<Fault>>(
        &self,
        matching: Option<&str>,
        mut each_page: impl FnMut(Vec<ChannelState>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut after: Option<String> = None;
        loop {
            let mut query = form_urlencoded::Serializer::new(String::new());
            query.append_pair("limit", &PAGE.to_string());
            if let Some(matching) = matching {
                query.append_pair("match", matching);
            }
            if let Some(after) = &after {
                query.append_pair("after", after);
            }
            let page = self.page(&format!("/channels?{}", query.finish())).await?;
            after = page.last().map(|channel| channel.channel.clone());
            if page.is_empty() {
                return Ok(());
            }
            each_page(page)?;
        }
    }

    async fn page(&self, target: &str) -> Result<Vec<ChannelState>, Fault> {
        let answer = self.get(target, &[(header::ACCEPT, "application/json")]).await?;
        let status = answer.status();
        let body = timeout(ANSWER_TIMEOUT, Limited::new(answer.into_body(), LONGEST_ANSWER).collect())
            .await
            .map_err(|_| Fault::Silent)?
            .map_err(|_| Fault::Lost)?
            .to_bytes();
        if status != StatusCode::OK {
            return Err(refusal(status, &body));
        }
        serde_json::from_slice(&body)
            .map_err(|error| Fault::Nonsense(format!("its list of channels: {error}")))
    }

    /// Subscribes to a channel, after the event `last_event_id` if there is one. `None` if the
    /// channel is closed and nothing is left of it.
    ///
    /// # Errors
    /// When outboard is not there, does not answer, or refuses.
    pub async fn subscribe(
        &self,
        channel: &Channel,
        from: Start,
        last_event_id: &str,
    ) -> Result<Option<Events>, Fault> {
        let name = utf8_percent_encode(channel.as_str(), NON_ALPHANUMERIC);
        let mut headers = vec![(header::ACCEPT, "text/event-stream")];
        if !last_event_id.is_empty() {
            headers.push((header::HeaderName::from_static("last-event-id"), last_event_id));
        }
        let answer = self.get(&format!("/channels/{name}/events?replay={from}"), &headers).await?;
        match answer.status() {
            StatusCode::OK => Ok(Some(Events {
                body: answer.into_body(),
                parser: SseParser::with_last_event_id(last_event_id).max_buffer(LONGEST_EVENT),
            })),
            StatusCode::NO_CONTENT => Ok(None),
            status => {
                let body =
                    timeout(ANSWER_TIMEOUT, Limited::new(answer.into_body(), LONGEST_ANSWER).collect())
                        .await
                        .map_err(|_| Fault::Silent)?
                        .map_err(|_| Fault::Lost)?;
                Err(refusal(status, &body.to_bytes()))
            }
        }
    }

    async fn get(
        &self,
        target: &str,
        headers: &[(header::HeaderName, &str)],
    ) -> Result<Response<Incoming>, Fault> {
        let stream = self.connect().await?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|_| Fault::Lost)?;
        // It ends when the answer has been read or dropped.
        tokio::spawn(connection);
        let mut request = Request::get(target).header(header::HOST, "localhost");
        for (name, value) in headers {
            request = request.header(name, *value);
        }
        let request =
            request.body(Empty::<Bytes>::new()).map_err(|error| Fault::Nonsense(error.to_string()))?;
        match timeout(ANSWER_TIMEOUT, sender.send_request(request)).await {
            Ok(answer) => answer.map_err(|_| Fault::Lost),
            Err(_) => Err(Fault::Silent),
        }
    }
}

/// What a status other than the hoped for says: `{"error": CODE, "message": TEXT}`.
fn refusal(status: StatusCode, body: &[u8]) -> Fault {
    #[derive(serde::Deserialize)]
    struct Answer {
        error: String,
        message: String,
    }
    match serde_json::from_slice::<Answer>(body) {
        Ok(answer) => Fault::Refused { code: answer.error, text: answer.message },
        Err(_) => Fault::Refused { code: status.as_u16().to_string(), text: "outboard refused".into() },
    }
}

/// A channel as it goes.
#[derive(Debug)]
pub struct Events {
    body: Incoming,
    parser: SseParser,
}

impl Events {
    /// The next event; `None` when the stream has ended, by itself or not.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.parser.next_event() {
                return Some(event);
            }
            let frame = self.body.frame().await?.ok()?;
            if let Some(bytes) = frame.data_ref() {
                self.parser.feed(bytes);
            }
        }
    }

    /// The id after which a new stream would go on; empty if there is none.
    pub fn last_event_id(&self) -> &str {
        self.parser.last_event_id()
    }

    /// How long to wait before the next try, if outboard has said so.
    pub fn retry(&self) -> Option<Duration> {
        self.parser.retry()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_told_in_outboards_words() {
        let body = br#"{"error": "bad-channel", "message": "a channel name cannot be empty"}"#;

        assert_eq!(
            refusal(StatusCode::BAD_REQUEST, body).to_string(),
            "a channel name cannot be empty (bad-channel)"
        );
        assert_eq!(refusal(StatusCode::NOT_FOUND, b"<html>").to_string(), "outboard refused (404)");
    }

    #[test]
    fn what_comes_first_is_a_word_or_a_number() {
        assert_eq!("all".parse(), Ok(Start::All));
        assert_eq!("10".parse(), Ok(Start::Newest(10)));
        assert!("new".parse::<Start>().is_err());
    }
}
