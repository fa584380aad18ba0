//! What was promised when a client was taken over: that the site is asked again whether it may stay, and
//! told when it is gone.
//!
//! All of it is data. Whom it is put to is a [`Site`], which is asked anew each time, so that a site that is
//! configured meanwhile is asked about the clients of the one before.

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::end::End;
use crate::channel::Channel;
use crate::proxy::Asked;
use crate::subject::Subject;

/// What was promised about a client.
#[derive(Clone, Debug)]
pub struct Promises {
    /// What it asked for, and who it is.
    pub asked: Asked,
    /// The channels it is held on.
    pub channels: Vec<Channel>,
    /// What it was accepted as.
    pub subject: Option<Subject>,
    /// To ask again whether it may stay.
    pub recheck: Option<Recheck>,
    /// To tell this path that it is gone.
    pub gone: Option<String>,
}

/// A question that is asked again and again.
#[derive(Clone, Debug)]
pub struct Recheck {
    /// How often, give or take a tenth.
    pub every: Duration,
    /// What is asked.
    pub question: Question,
    /// The channels that the site named when it was asked first; the order does not matter.
    pub channels: Vec<Channel>,
    /// The subject that it named then.
    pub subject: Option<Subject>,
}

/// What the site is asked before a client is held, and again at each `Outboard-Recheck`.
#[derive(Clone, Debug)]
pub enum Question {
    /// The client's own request, which the site answers with a handoff.
    Request,
    /// A path of the site: the `auth` of an event route, or the one that stands in `Outboard-Recheck`.
    Path {
        /// The path and query.
        path: String,
        /// The channels that the question is about.
        channels: Vec<Channel>,
    },
}

/// The answer to the question whether a client may still listen.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum MayStay {
    /// The site says what it said at first.
    Yes,
    /// The site says something else.
    No,
    /// The site was asked, and has not answered.
    Unanswered {
        /// When the question was sent.
        sent: Instant,
        /// Until when an answer was waited for.
        until: Instant,
    },
    /// The site was not asked.
    NotAsked,
}

/// An answer on its way.
pub type Answering = Pin<Box<dyn Future<Output = MayStay> + Send>>;

/// The site behind, as it is configured now.
pub trait Site: Send + Sync {
    /// Asks whether a client may still listen. To be polled in a tokio runtime.
    fn may_stay(&self, promises: Arc<Promises>) -> Answering;

    /// Tells that a client is gone, and why. Returns at once, and is called once for each client.
    fn gone(&self, promises: Arc<Promises>, end: End);
}

/// Ties a client to what was promised about it: the site is told once that it is gone, even if it left before
/// it was held.
pub(super) struct Bond {
    site: Arc<dyn Site>,
    /// Empty once they are kept.
    promises: Option<Arc<Promises>>,
}

impl Bond {
    pub(super) fn new(site: Arc<dyn Site>, promises: Promises) -> Self {
        Self { site, promises: Some(Arc::new(promises)) }
    }

    /// What is to be asked again.
    pub(super) fn recheck(&self) -> Option<&Recheck> {
        self.promises.as_ref()?.recheck.as_ref()
    }

    /// Asks whether the client may stay.
    pub(super) fn ask(&self) -> Answering {
        match &self.promises {
            Some(promises) => self.site.may_stay(Arc::clone(promises)),
            None => Box::pin(std::future::ready(MayStay::NotAsked)),
        }
    }

    /// The client is gone.
    pub(super) fn end(mut self, end: End) {
        self.tell(end);
    }

    fn tell(&mut self, end: End) {
        if let Some(promises) = self.promises.take().filter(|promises| promises.gone.is_some()) {
            self.site.gone(promises, end);
        }
    }
}

impl Drop for Bond {
    fn drop(&mut self) {
        self.tell(End::ClientLeft);
    }
}

impl std::fmt::Debug for Bond {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Bond").field(&self.promises).finish()
    }
}

/// How the questions about one client have fared.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Patience {
    /// When the first question was sent that nobody has answered.
    unanswered_since: Option<Instant>,
    /// How often there was no answer, one after the other.
    tries: u8,
}

/// What follows from an answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Then {
    /// The site is asked again after so long.
    Ask(Duration),
    /// The stream ends.
    End(End),
}

impl Patience {
    /// How soon the site is asked again when it has not answered; twice as long after each further try.
    const FIRST_PAUSE: Duration = Duration::from_secs(2);
    /// The longest such pause.
    const LONGEST_PAUSE: Duration = Duration::from_secs(60);

    /// Takes an answer to a question that is to be asked `every` so often. Without answers the stream ends
    /// after `grace`.
    pub(super) fn take(&mut self, answer: MayStay, every: Duration, grace: Duration) -> Then {
        match answer {
            MayStay::Yes => {
                *self = Self::default();
                return Then::Ask(spread(every));
            }
            MayStay::No => return Then::End(End::Revoked),
            MayStay::Unanswered { sent, until } => {
                let since = *self.unanswered_since.get_or_insert(sent);
                if until.saturating_duration_since(since) >= grace {
                    return Then::End(End::Unconfirmed);
                }
            }
            MayStay::NotAsked => {}
        }
        let pause = Self::FIRST_PAUSE.saturating_mul(1 << self.tries.min(8)).min(Self::LONGEST_PAUSE);
        self.tries = self.tries.saturating_add(1);
        Then::Ask(spread(pause.min(every)))
    }
}

/// Nine to eleven tenths as long, so that those who came together are not asked about together for ever.
pub(super) fn spread(duration: Duration) -> Duration {
    duration.mul_f64(0.9 + 0.2 * super::head::random())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::http1::{Length, RequestHead};
    use crate::peer::{Endpoint, Peer};
    use crate::proxy::RequestId;

    /// To ask `every` so often about a client that is on no channel.
    pub(in crate::subscribe) fn promises(every: Duration) -> Promises {
        let address = Endpoint::Tcp("127.0.0.1:80".parse().unwrap());
        let head = RequestHead::parse("GET / HTTP/1.1\r\n\r\n".into()).unwrap();
        let peer = Peer::plain(address, address);
        let recheck = Recheck { every, question: Question::Request, channels: Vec::new(), subject: None };
        Promises {
            asked: Asked::new(head, Length::NONE, peer, RequestId::generate()),
            channels: Vec::new(),
            subject: None,
            recheck: Some(recheck),
            gone: None,
        }
    }

    const EVERY: Duration = Duration::from_secs(30);
    const GRACE: Duration = Duration::from_secs(120);

    fn unanswered(sent: Instant, after: u64, takes: u64) -> MayStay {
        let sent = sent + Duration::from_secs(after);
        MayStay::Unanswered { sent, until: sent + Duration::from_secs(takes) }
    }

    #[test]
    fn a_yes_is_asked_for_again_after_nine_to_eleven_tenths_of_the_time() {
        let mut patience = Patience::default();
        let (mut least, mut most) = (Duration::MAX, Duration::ZERO);
        for _ in 0..1000 {
            let Then::Ask(pause) = patience.take(MayStay::Yes, EVERY, GRACE) else { panic!("it was a yes") };
            (least, most) = (least.min(pause), most.max(pause));
        }

        assert!(least >= EVERY.mul_f64(0.9) && most <= EVERY.mul_f64(1.1), "{least:?} to {most:?}");
        assert!(most - least > EVERY.mul_f64(0.15), "{least:?} to {most:?} is one lump");
    }

    #[test]
    fn a_no_ends_the_stream_at_once() {
        let then = Patience::default().take(MayStay::No, EVERY, GRACE);

        assert_eq!(then, Then::End(End::Revoked));
    }

    #[test]
    fn no_answer_ends_the_stream_only_when_the_grace_has_passed_since_the_first_question_that_was_sent() {
        let begun = Instant::now();
        let mut patience = Patience::default();

        for after in [0, 10, 119] {
            let then = patience.take(unanswered(begun, after, 0), EVERY, GRACE);
            assert!(matches!(then, Then::Ask(_)), "{then:?} after {after} s");
        }

        assert_eq!(patience.take(unanswered(begun, 110, 10), EVERY, GRACE), Then::End(End::Unconfirmed));
    }

    #[test]
    fn an_answer_begins_the_grace_anew() {
        let begun = Instant::now();
        let mut patience = Patience::default();
        patience.take(unanswered(begun, 0, 0), EVERY, GRACE);

        patience.take(MayStay::Yes, EVERY, GRACE);

        assert!(matches!(patience.take(unanswered(begun, 200, 0), EVERY, GRACE), Then::Ask(_)));
        assert!(matches!(patience.take(unanswered(begun, 319, 0), EVERY, GRACE), Then::Ask(_)));
    }

    #[test]
    fn a_question_that_was_not_sent_costs_nothing_of_the_grace() {
        let mut patience = Patience::default();

        for _ in 0..1000 {
            assert!(matches!(patience.take(MayStay::NotAsked, EVERY, GRACE), Then::Ask(_)));
        }

        assert_eq!(patience.unanswered_since, None);
    }

    #[test]
    fn who_does_not_answer_is_asked_again_soon_and_then_less_and_less_often() {
        let begun = Instant::now();
        let mut patience = Patience::default();
        let every = Duration::from_secs(3600);

        let pauses: Vec<_> = (0..7)
            .map(|_| match patience.take(unanswered(begun, 0, 0), every, GRACE) {
                Then::Ask(pause) => (pause.as_secs_f64() / 2.0).log2().round(),
                Then::End(end) => panic!("{end:?}"),
            })
            .collect();

        assert_eq!(pauses, [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 5.0]);
        let often = Duration::from_secs(1);
        assert!(
            matches!(patience.take(MayStay::NotAsked, often, GRACE), Then::Ask(pause) if pause < 2 * often)
        );
    }
}
