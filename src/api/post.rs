//! Publishing by `POST /channels/NAME`.

use std::time::Duration;

use std::sync::Arc;

use http::StatusCode;
use serde::Serialize;
use serde_json::{Map, Value};

use super::problem::Problem;
use super::query::Query;
use super::reply;
use super::request::{Language, read};
use super::{Api, Handled};
use crate::body::Body;
use crate::broker::{Publishing, Receipt};
use crate::channel::Channel;
use crate::event::frame::{Code, Decoder, Frame, FrameError, MAX_KEY, is_key, unknown_name};
use crate::event::{Event, EventId};
use crate::http1::RequestHead;

/// The keys of an event as JSON.
const KEYS: [&str; 5] = ["data", "event", "id", "ttl", "dedupe"];

/// What a body asks for.
enum Posted {
    /// An event, as nearly all do.
    Event(Frame),
    /// What several frames say.
    Frames(Vec<Frame>),
}

/// A receipt as JSON; empty for a frame that only set something.
#[derive(Default, Serialize)]
struct Published {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<EventId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    receivers: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    level: Option<&'static str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    duplicate: bool,
}

impl From<Receipt> for Published {
    fn from(receipt: Receipt) -> Self {
        Self {
            id: receipt.id,
            receivers: Some(receipt.receivers),
            level: Some(receipt.level.as_str()),
            duplicate: receipt.duplicate,
        }
    }
}

impl Api {
    /// Publishes what the body says. Several frames are read before the first is published, so that
    /// a mistake in one of them leaves nothing half done.
    pub(super) async fn post(
        &self,
        channel: Channel,
        head: &RequestHead,
        body: &mut Body,
    ) -> Result<Handled, Problem> {
        let asked = self.asked(channel, head, body).await;
        let frames = match asked.inspect_err(|_| self.metrics.refused.add_one())? {
            Posted::Event(frame) => {
                self.broker.turn(&frame.channels).await;
                let published = self.published(self.submit(frame)).await.map_err(Problem::Refused)?;
                return Ok(reply::json(StatusCode::OK, &published));
            }
            Posted::Frames(frames) => frames,
        };
        let mut published = self.publish_all(frames).await?;
        Ok(match published.pop() {
            Some(only) if published.is_empty() => reply::json(StatusCode::OK, &only),
            last => {
                published.extend(last);
                reply::json(StatusCode::OK, &published)
            }
        })
    }

    async fn asked(&self, channel: Channel, head: &RequestHead, body: &mut Body) -> Result<Posted, Problem> {
        let language = Language::of(head)?;
        let defaults = Defaults::of(head, language)?;
        let body = read(body, self.max_event_size).await?;
        Ok(match language {
            Language::Text => Posted::Event(defaults.frame(channel, Event::with_data(text(&body)?))?),
            Language::Json => Posted::Event(defaults.object(channel, &body)?),
            Language::Frames => Posted::Frames(self.frames(&defaults, channel, &body)?),
        })
    }

    fn frames(&self, defaults: &Defaults, channel: Channel, body: &[u8]) -> Result<Vec<Frame>, Problem> {
        let mut decoder = Decoder::on_channel(channel, self.max_event_size);
        let frames = defaults.frames(&mut decoder, body);
        self.metrics.left_out.add(decoder.take_left_out());
        let frames = frames?;
        decoder.finish().map_err(|error| in_frame(frames.len() + 1, error))?;
        if frames.is_empty() {
            let text =
                "the body holds no frame: write lines such as `data: TEXT`, and a blank line behind them";
            return Err(Problem::refused(Code::BadValue, text));
        }
        Ok(frames)
    }

    async fn publish_all(&self, frames: Vec<Frame>) -> Result<Vec<Published>, Problem> {
        let count = frames.len();
        // All are submitted before the first receipt is awaited, by a task of their own: a client that
        // leaves meanwhile takes nothing back, and a log on disk can take them in one go.
        let broker = Arc::clone(&self.broker);
        let submit = async move {
            let mut under_way = Vec::with_capacity(count);
            for frame in frames {
                broker.turn(&frame.channels).await;
                under_way.push(frame.publishes().then(|| broker.publish(frame.into())));
            }
            under_way
        };
        // It ends early only with the whole process.
        let under_way = tokio::spawn(submit).await.unwrap_or_default();
        let mut published = Vec::with_capacity(count);
        for publishing in under_way {
            match self.published(publishing).await {
                Ok(one) => published.push(one),
                Err(mut error) => {
                    if count > 1 {
                        let number = published.len() + 1;
                        error.text = format!("frame {number} of {count}: {}; the others stand", error.text);
                    }
                    return Err(Problem::Refused(error));
                }
            }
        }
        Ok(published)
    }

    /// What becomes of a frame that was submitted.
    async fn published(&self, publishing: Option<Publishing>) -> Result<Published, FrameError> {
        let Some(publishing) = publishing else { return Ok(Published::default()) };
        match publishing.await {
            Ok(receipt) => {
                self.metrics.published.add(u64::from(receipt.id.is_some() && !receipt.duplicate));
                Ok(receipt.into())
            }
            Err(refused) => {
                self.metrics.refused.add_one();
                Err(refused.into())
            }
        }
    }

    /// `None` for a frame that only set something.
    fn submit(&self, frame: Frame) -> Option<Publishing> {
        frame.publishes().then(|| self.broker.publish(frame.into()))
    }
}

/// What the query says of events whose body does not.
struct Defaults {
    name: Option<String>,
    id: Option<String>,
    ttl: Option<u32>,
    dedupe: Option<String>,
}

impl Defaults {
    fn of(head: &RequestHead, language: Language) -> Result<Self, Problem> {
        let query = Query::of(head, &["event", "id", "ttl", "dedupe"])?;
        let own = |key| query.get(key).map(str::to_owned);
        if language == Language::Frames && query.get("dedupe").is_some() {
            // One key for several frames would drop all but the first as duplicates.
            return Err(Problem::bad_value("dedupe", "write it into the frames, where each has its own"));
        }
        Ok(Self { name: own("event"), id: own("id"), ttl: query.seconds("ttl")?, dedupe: own("dedupe") })
    }

    fn frame(self, channel: Channel, event: Event) -> Result<Frame, Problem> {
        let mut frame = Frame { channels: vec![channel], event: Some(event), ..Frame::default() };
        self.fill_in(&mut frame)?;
        Ok(frame)
    }

    fn fill_in(&self, frame: &mut Frame) -> Result<(), Problem> {
        let Some(event) = &mut frame.event else { return Ok(()) };
        if let Some(name) = &self.name
            && event.name().is_none()
        {
            event.set_name(name).map_err(Problem::invalid_event("event"))?;
        }
        if let Some(id) = &self.id
            && event.id().is_none()
        {
            event.set_id(id).map_err(Problem::invalid_event("id"))?;
        }
        frame.ttl = frame.ttl.or(self.ttl.map(|seconds| Duration::from_secs(seconds.into())));
        if let Some(key) = &self.dedupe {
            if !is_key(key) {
                return Err(Problem::bad_value(
                    "dedupe",
                    format!("a key has 1 to {MAX_KEY} bytes and no control characters"),
                ));
            }
            frame.dedupe = Some(frame.dedupe.take().unwrap_or_else(|| key.as_str().into()));
        }
        Ok(())
    }

    /// An event as JSON. What it says comes before what the query says.
    fn object(mut self, channel: Channel, body: &[u8]) -> Result<Frame, Problem> {
        let object: Map<String, Value> = serde_json::from_str(text(body)?).map_err(|error| {
            Problem::refused(Code::BadValue, format!("the body is not a JSON object of an event: {error}"))
        })?;
        if let Some(key) = object.keys().find(|key| !KEYS.contains(&key.as_str())) {
            return Err(Problem::refused(Code::UnknownField, unknown_name("key", key, &KEYS)));
        }
        self.name = string(&object, "event")?.or(self.name);
        self.id = string(&object, "id")?.or(self.id);
        self.ttl = seconds(&object, "ttl")?.or(self.ttl);
        self.dedupe = string(&object, "dedupe")?.or(self.dedupe);
        let event = match string(&object, "data")? {
            Some(data) => Event::with_data(&data),
            None if self.name.is_none() && self.id.as_ref().is_some_and(|id| !id.is_empty()) => {
                Event::default()
            }
            None => {
                return Err(Problem::bad_value(
                    "data",
                    "it is missing, and without it browsers ignore an event; it may be empty",
                ));
            }
        };
        self.frame(channel, event)
    }

    fn frames(&self, decoder: &mut Decoder, body: &[u8]) -> Result<Vec<Frame>, Problem> {
        let mut rest = body;
        let mut frames = Vec::new();
        while let Some(frame) = decoder.decode(&mut rest) {
            let number = frames.len() + 1;
            let mut frame = frame.map_err(|error| in_frame(number, error))?;
            self.fill_in(&mut frame)?;
            frames.push(frame);
        }
        Ok(frames)
    }
}

fn in_frame(number: usize, error: FrameError) -> Problem {
    Problem::Refused(FrameError {
        text: format!("frame {number}: {}; nothing is published", error.text),
        ..error
    })
}

fn text(body: &[u8]) -> Result<&str, Problem> {
    std::str::from_utf8(body).map_err(|_| {
        Problem::refused(
            Code::BadUtf8,
            "the body holds bytes that are not UTF-8: convert the text before sending it",
        )
    })
}

fn string(object: &Map<String, Value>, key: &str) -> Result<Option<String>, Problem> {
    match object.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(Problem::bad_value(key, "it is a string; write other JSON as text within one")),
    }
}

fn seconds(object: &Map<String, Value>, key: &str) -> Result<Option<u32>, Problem> {
    match object.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match value.as_u64().and_then(|seconds| u32::try_from(seconds).ok()) {
            Some(seconds) => Ok(Some(seconds)),
            None => Err(Problem::bad_value(key, format!("it is a number of seconds up to {}", u32::MAX))),
        },
    }
}
