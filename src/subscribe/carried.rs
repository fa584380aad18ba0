//! A stream within a connection that others share: the body of a response, which reads the same cursor as a
//! fan-out thread would.
//!
//! It has no queue either. What is not asked for is not read, and a client that falls off the end of the history
//! is treated like any other.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http_body::Frame;
use tokio::sync::watch;

use super::end::End;
use super::fanout::{Pace, Tick};
use super::initial::{Part, Text};
use super::newcomer::Newcomer;
use super::waiting::{Rechecks, refused};
use super::{Initial, Place, Slow, Streams, head};
use crate::body::{BodyError, Source};
use crate::broker::{Broker, Entry, Read, ReaderId, Subscribed, Subscription, Wake};
use crate::drain::Draining;
use crate::event::encode;

/// The most entries read at a time.
const PORTION: usize = 64;

/// The one reader of all bodies. When it is woken, all of them look for what is new.
pub(super) struct Bodies {
    pub(super) reader: ReaderId,
    /// How often it was woken.
    rung: watch::Sender<u64>,
}

impl Bodies {
    pub(super) fn new(broker: &Broker) -> Self {
        let rung = watch::Sender::new(0);
        Self { reader: broker.add_reader(Arc::new(Bells(rung.clone()))), rung }
    }
}

struct Bells(watch::Sender<u64>);

impl Wake for Bells {
    fn wake(&self) {
        self.0.send_modify(|times| *times = times.wrapping_add(1));
    }
}

/// A client whose stream is a body.
pub(super) struct Carried {
    streams: Streams,
    /// Dropped, the client has left. `None` once it was told that it is gone.
    newcomer: Option<Newcomer>,
    keep_alive: Duration,
    /// What comes first.
    first: Option<Bytes>,
    initial: Option<Text>,
    /// What was given before there was a log.
    given: Option<Text>,
    /// `None` at the end.
    place: Option<Place>,
    rung: watch::Receiver<u64>,
    rechecks: Option<Rechecks>,
    pace: Option<Pace>,
    begun: Instant,
    /// When it last got something.
    last_write: Instant,
    /// Why it ends, once all has been given that was promised.
    over: Option<End>,
    draining: Draining,
}

impl Carried {
    pub(super) fn new(
        streams: Streams,
        place: Place,
        newcomer: Newcomer,
        mut first: String,
        initial: Option<Initial>,
        draining: Draining,
    ) -> Self {
        let mut pace = None;
        let mut anchor = None;
        if let Place::InLog(subscription, gap) = &place {
            anchor = Some(subscription.anchor());
            first.extend(gap.as_ref().map(head::gap_event));
            pace = Pace::of(&subscription.selection);
        }
        let grace = streams.0.settings.recheck_grace;
        Self {
            rung: streams.0.bodies.rung.subscribe(),
            rechecks: newcomer.bond.as_ref().and_then(|bond| Rechecks::new(bond, grace)),
            keep_alive: newcomer.keep_alive,
            newcomer: Some(newcomer),
            streams,
            first: Some(first.into()),
            initial: initial.map(|Initial(body)| Text::of(body, anchor)),
            given: None,
            place: Some(place),
            pace,
            begun: Instant::now(),
            last_write: Instant::now(),
            over: None,
            draining,
        }
    }

    /// What comes next; `None` at the end.
    async fn bytes(&mut self) -> Option<Bytes> {
        if let Some(first) = self.first.take() {
            return Some(first);
        }
        loop {
            if let Some(end) = self.over {
                // Who hears that the client is gone finds it no longer counted.
                self.place = None;
                let newcomer = self.newcomer.take()?;
                drop(newcomer.seat);
                if let Some(bond) = newcomer.bond {
                    bond.end(end);
                }
                return None;
            }
            let next = if self.initial.is_some() {
                self.next_of_initial().await
            } else {
                match self.place {
                    Some(Place::Ahead(_)) => self.next_without_log().await,
                    Some(Place::InLog(..)) => self.next_of_log().await,
                    None => return None,
                }
            };
            if let Some(next) = next.filter(|next| !next.is_empty()) {
                self.last_write = Instant::now();
                return Some(next);
            }
        }
    }

    async fn next_of_initial(&mut self) -> Option<Bytes> {
        let text = self.initial.as_mut()?;
        let part = tokio::select! {
            biased;
            () = self.draining.begun() => Part::End(text.missing()),
            part = text.next(self.keep_alive) => part,
        };
        match part {
            Part::More(text) => Some(text),
            Part::End(missing) => {
                self.given = self.initial.take().filter(|_| matches!(self.place, Some(Place::Ahead(_))));
                Some(missing)
            }
        }
    }

    async fn next_without_log(&mut self) -> Option<Bytes> {
        let Some(Place::Ahead(waiting)) = &mut self.place else { return None };
        let bond = self.newcomer.as_ref().and_then(|newcomer| newcomer.bond.as_ref());
        let subscribed = tokio::select! {
            subscribed = waiting => subscribed,
            () = tokio::time::sleep(self.keep_alive) => return Some(encode::heartbeat(false)),
            end = refused(&mut self.rechecks, bond) => {
                self.over = Some(end);
                return None;
            }
            () = self.draining.begun() => {
                self.over = Some(End::Drained);
                return None;
            }
        };
        match subscribed {
            Ok(Subscribed::Open(subscription, gap)) => {
                self.pace = Pace::of(&subscription.selection);
                let mut told = String::new();
                if let Some(mut text) = self.given.take() {
                    told = text.find_place(subscription.anchor());
                }
                told.extend(gap.as_ref().map(head::gap_event));
                self.place = Some(Place::InLog(subscription, gap));
                return Some(told.into());
            }
            // It comes back once more and is told then to stop.
            Ok(Subscribed::Over) => self.over = Some(End::Closed),
            Ok(Subscribed::Disconnected) => self.over = Some(End::Disconnected),
            Err(refused) => {
                tracing::warn!(%refused, "a stream cannot go on; the client comes back");
                self.over = Some(End::Drained);
            }
        }
        None
    }

    /// What is new in the log; waits for it, or for the time at which something else is due.
    async fn next_of_log(&mut self) -> Option<Bytes> {
        let Some(Place::InLog(subscription, _)) = &mut self.place else { return None };
        // In this order: what is published after the drain has begun, or after the bell was looked at, is
        // found the next time.
        let is_last = self.draining.has_begun();
        self.rung.borrow_and_update();
        let broker = &self.streams.0.broker;
        let read = broker.reading(self.streams.0.bodies.reader).read(subscription, PORTION);
        let (entries, cursor, more, over) = match read {
            Read::Next { entries, cursor, more, over } => (entries, cursor, more, over),
            Read::Fallen if self.streams.0.settings.slow == Slow::Skip => {
                let gap = broker.reading(self.streams.0.bodies.reader).skip(subscription);
                return Some(head::gap_event(&gap).into());
            }
            Read::Fallen => {
                self.over = Some(End::FellBehind);
                return None;
            }
        };
        subscription.cursor = cursor;
        let now = Tick::default().after(self.begun.elapsed());
        let (bytes, count) = encoded(broker, subscription, self.pace.as_mut(), entries, now, over.is_some());
        self.streams.0.metrics.delivered.add(count);
        self.over = over.map(Into::into).or((is_last && !more).then_some(End::Drained));
        if !bytes.is_empty() || more || self.over.is_some() {
            return Some(bytes);
        }
        self.wait(now).await
    }

    /// Waits until there may be something new, or breaks the silence.
    async fn wait(&mut self, now: Tick) -> Option<Bytes> {
        let quiet = self.keep_alive.saturating_sub(self.last_write.elapsed());
        let paced = self.pace.as_ref().map_or(Duration::MAX, |pace| now.span_to(pace.due()));
        let bond = self.newcomer.as_ref().and_then(|newcomer| newcomer.bond.as_ref());
        tokio::select! {
            _ = self.rung.changed() => None,
            () = tokio::time::sleep(paced) => None,
            () = tokio::time::sleep(quiet) => Some(encode::heartbeat(false)),
            () = self.draining.begun() => None,
            end = refused(&mut self.rechecks, bond) => {
                self.over = Some(end);
                None
            }
        }
    }
}

/// The entries of a read as bytes, but for those that the pace holds back; and how many they are.
fn encoded(
    broker: &Broker,
    subscription: &Subscription,
    pace: Option<&mut Pace>,
    entries: Vec<Arc<Entry>>,
    now: Tick,
    all: bool,
) -> (Bytes, u64) {
    let mut bytes = BytesMut::new();
    let Some(pace) = pace else {
        entries.iter().for_each(|entry| bytes.extend_from_slice(&entry.encoded.bytes(false)));
        return (bytes.freeze(), entries.len() as u64);
    };
    let passed = pace.pass(&subscription.selection, entries, now, all);
    for entry in &passed {
        bytes.extend_from_slice(&pace.encode(entry, broker.epoch(), false));
    }
    (bytes.freeze(), passed.len() as u64)
}

impl Source for Carried {
    async fn next(&mut self) -> Option<Result<Frame<Bytes>, BodyError>> {
        Some(Ok(Frame::data(self.bytes().await?)))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use http::Version;
    use http_body_util::BodyExt;

    use super::*;
    use crate::body::Body;
    use crate::broker::{Limits, Publication, Settings as LogSettings};
    use crate::channel::Channel;
    use crate::drain::{Drain, drain};
    use crate::event::Event;
    use crate::metrics::Metrics;
    use crate::subject::Subject;
    use crate::subscribe::promises::tests::promises;
    use crate::subscribe::{Answering, Ask, MayStay, Opened, Promises, Settings, Site};

    /// A site that says one thing and remembers who is gone.
    struct Says(MayStay, Mutex<Vec<End>>);

    impl Site for Says {
        fn may_stay(&self, _: Arc<Promises>) -> Answering {
            Box::pin(std::future::ready(self.0))
        }

        fn gone(&self, _: Arc<Promises>, end: End) {
            self.1.lock().unwrap().push(end);
        }
    }

    struct Rig {
        broker: Arc<Broker>,
        site: Arc<Says>,
        streams: Streams,
        drain: Drain,
        draining: Draining,
    }

    fn rig(may_stay: MayStay, change: impl FnOnce(&mut Settings)) -> Rig {
        let limits = Limits { max_events: 100, ..LogSettings::default().limits };
        let broker = Broker::new(LogSettings { limits, ..LogSettings::default() });
        let site = Arc::new(Says(may_stay, Mutex::default()));
        let mut settings = Settings::default();
        change(&mut settings);
        let streams = Streams::start(
            Arc::clone(&broker),
            Arc::clone(&site) as _,
            settings,
            Arc::new(Metrics::default()),
            1,
        );
        let (drain, draining) = drain();
        Rig { broker, site, streams: streams.unwrap(), drain, draining }
    }

    impl Rig {
        fn ask(&self) -> Ask {
            let mut ask = Ask::new(vec![Channel::parse("a").unwrap()], Version::HTTP_2);
            let mut promises = promises(Duration::from_millis(1));
            promises.gone = Some("/left".into());
            if self.site.0 == MayStay::Yes {
                promises.recheck = None;
            }
            ask.promises = Some(promises);
            ask
        }

        fn open(&self, ask: Ask) -> Reader {
            match self.streams.open_within(ask, self.draining.clone()) {
                Opened::Stay(response) => Reader { body: response.into_body(), text: String::new() },
                _ => panic!("there is room"),
            }
        }

        fn publish(&self, data: &str) {
            let channels = vec![Channel::parse("a").unwrap()];
            let event = Some(Event::with_data(data));
            let _done = self.broker.publish(Publication { channels, event, ..Publication::default() });
        }

        fn close(&self) {
            let channels = vec![Channel::parse("a").unwrap()];
            let _done = self.broker.publish(Publication { channels, close: true, ..Publication::default() });
        }

        fn gone(&self) -> Vec<End> {
            self.site.1.lock().unwrap().clone()
        }
    }

    struct Reader {
        body: Body,
        text: String,
    }

    impl Reader {
        async fn until(&mut self, text: &str) {
            while !self.text.contains(text) {
                let frame = self.body.frame().await.unwrap_or_else(|| panic!("it ended: {}", self.text));
                self.text.push_str(std::str::from_utf8(&frame.unwrap().into_data().unwrap()).unwrap());
            }
        }

        /// All data until the end.
        async fn rest(&mut self) -> Vec<String> {
            while let Some(frame) = self.body.frame().await {
                self.text.push_str(std::str::from_utf8(&frame.unwrap().into_data().unwrap()).unwrap());
            }
            self.text.lines().filter_map(|line| line.strip_prefix("data: ")).map(str::to_owned).collect()
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_body_gets_every_event_once_in_order_and_ends_with_its_channel() {
        let rig = rig(MayStay::Yes, |_| {});
        rig.publish("unseen");
        let mut reader = rig.open(rig.ask());
        let numbers: Vec<_> = (0..500).map(|n| n.to_string()).collect();

        let reading = tokio::spawn(async move { reader.rest().await });
        for (count, number) in numbers.iter().enumerate() {
            rig.publish(number);
            if count % 50 == 49 {
                tokio::task::yield_now().await;
            }
        }
        rig.close();

        let seen = reading.await.unwrap();
        // A reader that is given no time falls behind and ends; whatever it has got is in order and without holes.
        assert_eq!(seen, [&["unseen".to_owned()][..], &numbers[..seen.len() - 1]].concat());
        assert!(matches!(rig.gone()[..], [End::Closed | End::FellBehind]), "{:?}", rig.gone());
        assert_eq!(rig.streams.count(), 0);
    }

    #[tokio::test]
    async fn what_was_published_before_an_ending_reaches_a_body_and_nothing_after_it() {
        let rig = rig(MayStay::Yes, |_| {});
        let mut ask = rig.ask();
        ask.subject = Subject::parse("s").ok();
        let mut reader = rig.open(ask);
        reader.until("retry: ").await;

        rig.publish("before");
        let disconnect = vec![Subject::parse("s").unwrap()];
        let _done = rig.broker.publish(Publication { disconnect, ..Publication::default() });
        rig.publish("after");

        assert_eq!(reader.rest().await, ["before"]);
        assert_eq!(rig.gone(), [End::Disconnected]);
    }

    #[tokio::test]
    async fn a_body_that_nobody_reads_falls_behind_like_a_socket_and_is_told_of_the_gap_or_ends() {
        for slow in [Slow::Disconnect, Slow::Skip] {
            let rig = rig(MayStay::Yes, |settings| settings.slow = slow);
            let mut reader = rig.open(rig.ask());
            reader.until("retry: ").await;

            // More than is kept of one channel, and more than is kept in all for those who need a moment.
            (0..10_000).for_each(|n| rig.publish(&n.to_string()));

            if slow == Slow::Disconnect {
                assert_eq!(reader.rest().await, [""; 0]);
                assert_eq!(rig.gone(), [End::FellBehind]);
            } else {
                reader.until("event: outboard.gap").await;
                reader.until("data: 9999\n\n").await;
            }
        }
    }

    #[tokio::test]
    async fn a_body_that_resumes_is_told_first_of_what_it_has_missed() {
        let rig = rig(MayStay::Yes, |_| {});
        rig.publish("kept");
        let mut ask = rig.ask();
        ask.last_event_id = Some("another-log-5".into());

        let mut reader = rig.open(ask);
        reader.until("data: kept").await;

        let gap = reader.text.find("event: outboard.gap").unwrap();
        assert!(gap < reader.text.find("data: kept").unwrap(), "{}", reader.text);
    }

    #[tokio::test]
    async fn the_silence_of_a_body_is_broken_and_the_drain_ends_it_with_what_was_published() {
        let rig = rig(MayStay::Yes, |settings| settings.keep_alive = Duration::from_millis(5));
        let mut reader = rig.open(rig.ask());
        reader.until("retry: ").await;
        let quiet = reader.text.len();
        while reader.text[quiet..].matches(":\n").count() < 3 {
            reader.until(&format!("{}:\n", reader.text)).await;
        }

        rig.publish("last");
        rig.drain.start();

        assert_eq!(reader.rest().await, ["last"]);
        assert_eq!(rig.gone(), [End::Drained]);
    }

    #[tokio::test]
    async fn a_body_ends_when_the_site_says_no_and_who_drops_it_has_left() {
        let refusing = rig(MayStay::No, |_| {});
        assert_eq!(refusing.open(refusing.ask()).rest().await, [""; 0]);
        assert_eq!(refusing.gone(), [End::Revoked]);

        let rig = rig(MayStay::Yes, |_| {});
        drop(rig.open(rig.ask()));
        assert_eq!((rig.gone(), rig.streams.count()), (vec![End::ClientLeft], 0));
    }

    #[tokio::test]
    async fn what_a_backend_sends_along_goes_first_and_its_last_event_ends() {
        let rig = rig(MayStay::Yes, |_| {});
        let mut ask = rig.ask();
        ask.initial = Some(Initial(Body::from("\u{feff}data: first")));
        let mut reader = rig.open(ask);
        rig.publish("second");
        rig.close();

        assert_eq!(reader.rest().await, ["first", "second"]);
        assert!(reader.text.contains("data: first\nid: "), "{}", reader.text);
    }
}
