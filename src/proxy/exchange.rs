//! One request and its answer's head.

use std::fmt::Display;
use std::future;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::{Method, StatusCode};
use tokio::time::Instant;

use super::Inside;
use super::answer::Answer;
use super::connect::connect;
use super::fault::Fault;
use super::headers::is_tied_by_answer;
use super::lease::Lease;
use super::link::Link;
use super::owner::Owner;
use super::pool::Permit;
use crate::body::BodyError;
use crate::http1::chunked::Reading;
use crate::http1::{
    AnswerHead, BadAnswer, BodyReader, Field, ReadError, Waits, WriteError, Writer, elements, strip_start,
};

/// An answer's head, and how its body will come.
pub(super) struct Answered {
    pub(super) head: AnswerHead,
    pub(super) lease: Lease,
    body: BodyReader,
    /// What is left of the request, if the answer came before its end.
    upload: Option<Writer>,
}

/// A request that is ready to be sent.
pub(super) struct Message<'a> {
    pub(super) method: Method,
    pub(super) writer: Writer,
    /// Whether it has no body, so that it can be sent again after it was sent.
    pub(super) is_bodyless: bool,
    /// Who asks.
    pub(super) owner: Owner,
    /// Whether it logs in over its connection.
    pub(super) ties: bool,
    /// How long the backend may take for the answer's head.
    pub(super) patience: Duration,
    /// Who hears of interim answers; without anybody, the request is one of our own. To such a question an answer
    /// without a head is none.
    pub(super) interim: Option<&'a mut Interim<'a>>,
}

/// Hears of the interim answers that come before the answer (RFC 9110 section 15.2).
pub(super) type Interim<'a> = dyn FnMut(&AnswerHead) + Send + 'a;

/// Sends a request and waits for the answer's head. It is sent a second time, over a new connection, if
/// the first one had rested and turned out to be dead before the backend said anything, and if nobody
/// could be harmed by that: either no byte of the request was sent, or it is one that may be repeated.
pub(super) async fn exchange(
    inside: &Arc<Inside>,
    mut message: Message<'_>,
    permit: Permit,
) -> Result<Answered, Fault> {
    let repeatable = inside.settings.retry && message.is_bodyless && message.method.is_idempotent();
    let now = Instant::now();
    // A backend to which each client is introduced cannot be sent another one's request over the same link.
    let shared = || match inside.settings.proxy_protocol {
        None => inside.pool.take(now, !repeatable),
        Some(_) => None,
    };
    if let Some(mut link) = inside.pool.take_own(&message.owner, !repeatable).or_else(shared) {
        if message.ties {
            link.tie(message.owner);
        }
        match attempt(inside, &mut link, &mut message, now, Age::Used).await {
            Ok(head) => return finish(inside, message, head, link, permit),
            Err(Failed::Final(fault)) => return Err(fault),
            Err(Failed::Dead(fault)) => {
                let harmless = repeatable || message.writer.taken() == 0;
                if !harmless || !message.writer.rewind() {
                    return Err(fault);
                }
            }
        }
    }
    // In a box of its own: most requests find a connection, and their futures shall be small.
    Box::pin(afresh(inside, message, permit)).await
}

/// Sends a request over a new connection.
async fn afresh(inside: &Arc<Inside>, mut message: Message<'_>, permit: Permit) -> Result<Answered, Fault> {
    let mut link = connect(&inside.settings, &inside.name, Some(&message.owner)).await?;
    if message.ties {
        link.tie(message.owner);
    }
    match attempt(inside, &mut link, &mut message, Instant::now(), Age::New).await {
        Ok(head) => finish(inside, message, head, link, permit),
        Err(Failed::Dead(fault) | Failed::Final(fault)) => Err(fault),
    }
}

/// Why an attempt brought no answer.
enum Failed {
    /// The connection ended before the backend said anything.
    Dead(Fault),
    /// Another attempt would not be better, or could do harm.
    Final(Fault),
}

/// Whether something was asked over a link before.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Age {
    New,
    Used,
}

/// Sends the request over this link, beginning `now`.
async fn attempt(
    inside: &Inside,
    link: &mut Link,
    message: &mut Message<'_>,
    now: Instant,
    age: Age,
) -> Result<AnswerHead, Failed> {
    let clock = Clock {
        answer_timeout: message.patience,
        idle_timeout: inside.settings.idle_timeout,
        begun: now,
        is_bodyless: message.is_bodyless,
    };
    link.arm_until(clock.first_look());
    let Message { method, writer, interim, .. } = message;
    // Over a link that was used before, it could be the rest of another answer.
    let headless = age == Age::New && interim.is_some() && *method != Method::HEAD;
    let mut has_spoken = false;
    let mut unsent = None;
    let head = future::poll_fn(|cx| {
        if unsent.is_none() && !writer.is_done() {
            unsent = send(cx, link, writer).err();
        }
        let head = loop {
            match read_head(cx, inside, link, &mut has_spoken, headless) {
                Poll::Ready(Ok(head)) if is_interim(head.start.status) => {
                    if let Some(hear) = interim {
                        hear(&head);
                    }
                }
                head => break head,
            }
        };
        match head {
            Poll::Ready(Err(Failed::Dead(_))) if let Some(unsent) = unsent.take() => {
                return Poll::Ready(Err(unsent.told_by(inside, has_spoken)));
            }
            Poll::Ready(head) => return Poll::Ready(head),
            Poll::Pending => {}
        }
        match unsent.take_if(|unsent| matches!(unsent, Unsent::Body(_))) {
            Some(unsent) => Poll::Ready(Err(unsent.told_by(inside, has_spoken))),
            // A backend that takes no more may have answered: its end, or its answer, is on the way.
            None => clock.poll(cx, inside, link, writer).map(Err),
        }
    });
    let head = head.await?;
    link.disarm();
    Ok(head)
}

/// Why a request cannot be sent to its end.
enum Unsent {
    /// The client broke off, or sent what is no body.
    Body(BodyError),
    /// The backend takes no more.
    Socket(std::io::Error),
}

impl Unsent {
    fn told_by(self, inside: &Inside, has_spoken: bool) -> Failed {
        match self {
            Self::Body(error) => Failed::Final(match error.downcast_ref() {
                Some(ReadError::Chunk(cause)) => Fault::BadBody { cause: *cause },
                _ => Fault::ClientLeft,
            }),
            Self::Socket(cause) => closed(inside, &cause.to_string(), has_spoken),
        }
    }
}

fn send(cx: &mut Context<'_>, link: &mut Link, writer: &mut Writer) -> Result<(), Unsent> {
    match writer.poll(cx, &mut link.socket) {
        Poll::Pending | Poll::Ready(Ok(())) => Ok(()),
        Poll::Ready(Err(WriteError::Body(error))) => Err(Unsent::Body(error)),
        // It may have answered before it closed, so its answer is looked for all the same.
        Poll::Ready(Err(WriteError::Socket(cause))) => Err(Unsent::Socket(cause)),
    }
}

/// The head of the answer, or of one that says that it will come (RFC 9110 section 15.2). With `headless`, it
/// may have none.
fn read_head(
    cx: &mut Context<'_>,
    inside: &Inside,
    link: &mut Link,
    has_spoken: &mut bool,
    headless: bool,
) -> Poll<Result<AnswerHead, Failed>> {
    loop {
        match link.reader.answer() {
            Ok(Some(head)) => return Poll::Ready(Ok(head)),
            Ok(None) => {}
            Err(BadAnswer::Start(_)) if headless && link.reader.is_headless() => {
                return Poll::Ready(Ok(AnswerHead::none()));
            }
            Err(cause) => {
                let backend = inside.name.clone();
                return Poll::Ready(Err(Failed::Final(Fault::Nonsense { backend, cause })));
            }
        }
        let cause = match ready!(link.reader.poll_fill(cx, &mut link.socket)) {
            Ok(1..) => {
                *has_spoken = true;
                continue;
            }
            Ok(0) if link.reader.is_empty() => "it closed before it said anything".into(),
            Ok(0) => "it closed within the answer's head".into(),
            Err(cause) => cause.to_string(),
        };
        return Poll::Ready(Err(closed(inside, &cause, *has_spoken)));
    }
}

fn is_interim(status: StatusCode) -> bool {
    status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS
}

fn closed(inside: &Inside, cause: &str, has_spoken: bool) -> Failed {
    let fault = Fault::Closed { backend: inside.name.clone(), cause: cause.into() };
    if has_spoken { Failed::Final(fault) } else { Failed::Dead(fault) }
}

/// How long who may take, while an answer is awaited.
struct Clock {
    answer_timeout: Duration,
    idle_timeout: Duration,
    begun: Instant,
    is_bodyless: bool,
}

impl Clock {
    /// When it may first be too late. Nobody looks at the clock while the body gets on, so this may be
    /// too early; then [`Clock::deadline`] says when to look again.
    fn first_look(&self) -> Instant {
        match self.is_bodyless {
            true => self.begun + self.answer_timeout,
            false => self.begun + self.answer_timeout.min(self.idle_timeout),
        }
    }

    /// Ready once it is too late, with whom the lost time is due to.
    fn poll(&self, cx: &mut Context<'_>, inside: &Inside, link: &mut Link, writer: &Writer) -> Poll<Failed> {
        while link.poll_overdue(cx).is_ready() {
            let (waits_for_client, since) = match writer.waits() {
                (Waits::Body, since) if !writer.is_done() => (true, since),
                (_, since) => (false, since),
            };
            let Self { answer_timeout, idle_timeout, .. } = *self;
            let deadline =
                since.unwrap_or(self.begun) + if waits_for_client { idle_timeout } else { answer_timeout };
            if deadline > Instant::now() {
                link.arm_until(deadline);
                continue;
            }
            return Poll::Ready(Failed::Final(match waits_for_client {
                true => Fault::ClientStalled { waited: idle_timeout },
                false => Fault::Silent { backend: inside.name.clone(), waited: answer_timeout },
            }));
        }
        Poll::Pending
    }
}

/// The answer, if its head says in one way only how long its body is.
fn finish(
    inside: &Arc<Inside>,
    message: Message<'_>,
    head: AnswerHead,
    mut link: Box<Link>,
    permit: Permit,
) -> Result<Answered, Fault> {
    if is_tied_by_answer(&head) {
        link.tie(message.owner);
    }
    link.rest = rest(&head).or(link.rest);
    let length = head.length(&message.method);
    let length = length.map_err(|cause| Fault::Nonsense { backend: inside.name.clone(), cause })?;
    let lease = Lease { link, inside: Arc::clone(inside), permit };
    let upload = Some(message.writer).filter(|writer| !writer.is_done());
    Ok(Answered { head, lease, body: BodyReader::new(length, Reading::Lenient), upload })
}

/// How long the backend lets its connection rest, if it says so (`Keep-Alive: timeout=SECONDS`): a second less,
/// for the news of its end takes a while.
fn rest(head: &AnswerHead) -> Option<Duration> {
    let mut parameters = head.values(Field::KeepAlive).flat_map(elements);
    let seconds = parameters.find_map(|one| strip_start(one, b"timeout=").and_then(number))?;
    let second = Duration::from_secs(1);
    // An answer far off means: as long as you like.
    let rest = Duration::from_secs(seconds.min(1 << 20));
    Some(if rest > second { rest - second } else { rest / 2 })
}

fn number(digits: &[u8]) -> Option<u64> {
    std::str::from_utf8(digits).ok()?.trim().parse().ok()
}

impl Answered {
    /// The answer with a body that gives the link back at its end.
    /// `target` is what was asked for.
    pub(super) fn into_answer(self, target: impl Display) -> Answer {
        let Self { head, lease, body, upload } = self;
        Answer::new(head, lease, body, upload, target)
    }
}
