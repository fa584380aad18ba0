//! The rules of the log one by one.

use std::time::Duration;

use super::store::Batch;
use super::*;
use crate::event::{Event, EventId};
use crate::replay::Replay;
use crate::subject::Subject;

struct Silent;

impl Wake for Silent {
    fn wake(&self) {}
}

fn broker(settings: Settings) -> Arc<Broker> {
    let broker = Broker::new(settings);
    broker.add_reader(Arc::new(Silent));
    broker
}

fn holding(max_events: usize) -> Settings {
    let limits = Limits { max_events, ..Settings::default().limits };
    Settings { limits, ..Settings::default() }
}

fn channels(names: &[&str]) -> Vec<Channel> {
    names.iter().map(|name| Channel::parse(name).unwrap()).collect()
}

fn news(names: &[&str], data: &str) -> Publication {
    let event = Some(Event::with_data(data));
    Publication { channels: channels(names), event, ..Publication::default() }
}

/// The receipt of something that is done at once.
fn publish(broker: &Broker, publication: Publication) -> Receipt {
    let waker = std::task::Waker::noop();
    let mut published = std::pin::pin!(broker.publish(publication));
    match published.as_mut().poll(&mut std::task::Context::from_waker(waker)) {
        std::task::Poll::Ready(receipt) => receipt.unwrap(),
        std::task::Poll::Pending => panic!("memory does not keep anybody waiting"),
    }
}

fn subscribe(broker: &Arc<Broker>, names: &[&str], id: Option<&str>, replay: Replay) -> Subscribed {
    broker.subscribe(Wish::new(&channels(names), Since { last_event_id: id, replay }, 0)).unwrap()
}

fn open(subscribed: Subscribed) -> (Subscription, Option<Gap>) {
    match subscribed {
        Subscribed::Open(subscription, gap) => (subscription, gap),
        other => panic!("there is something left: {other:?}"),
    }
}

/// Everything there is for a subscription, read in portions; and whether its channels are closed.
fn read(broker: &Broker, subscription: &mut Subscription, portion: usize) -> (Vec<u64>, bool) {
    let mut sequences = Vec::new();
    loop {
        match broker.reading(0).read(subscription, portion) {
            Read::Fallen => panic!("fell behind"),
            Read::Next { entries, cursor, more, over } => {
                sequences.extend(entries.iter().map(|entry| entry.sequence));
                subscription.cursor = cursor;
                if !more {
                    return (sequences, over.is_some());
                }
            }
        }
    }
}

fn first_read(broker: &Arc<Broker>, names: &[&str], id: Option<&str>, replay: Replay) -> Vec<u64> {
    let (mut subscription, gap) = open(subscribe(broker, names, id, replay));
    assert_eq!(gap, None);
    read(broker, &mut subscription, 100).0
}

fn id(broker: &Broker, sequence: u64) -> String {
    Position { epoch: broker.epoch().clone(), sequence }.to_string()
}

#[test]
fn each_replay_policy_gives_what_it_says() {
    let broker = broker(holding(10));
    (1..=4).for_each(|n| drop(publish(&broker, news(&["a"], &n.to_string()))));

    assert_eq!(first_read(&broker, &["a"], None, Replay::Live), [0; 0]);
    assert_eq!(first_read(&broker, &["a"], None, Replay::Newest(0)), [0; 0]);
    assert_eq!(first_read(&broker, &["a"], None, Replay::Newest(3)), [2, 3, 4]);
    assert_eq!(first_read(&broker, &["a"], None, Replay::Newest(9)), [1, 2, 3, 4]);
    assert_eq!(first_read(&broker, &["a"], None, Replay::All), [1, 2, 3, 4]);
}

#[test]
fn unseen_is_what_nobody_was_handed() {
    let broker = broker(holding(10));
    publish(&broker, news(&["a"], "1"));
    publish(&broker, news(&["a"], "2"));

    assert_eq!(first_read(&broker, &["a"], None, Replay::Unseen), [1, 2]);
    assert_eq!(first_read(&broker, &["a"], None, Replay::Unseen), [0; 0]);
    publish(&broker, news(&["a"], "3"));
    let (mut live, _) = open(subscribe(&broker, &["a"], None, Replay::Unseen));
    assert_eq!(read(&broker, &mut live, 9).0, [3]);
    publish(&broker, news(&["a"], "4"));
    assert_eq!(first_read(&broker, &["a"], None, Replay::Unseen), [0; 0]);
    assert_eq!(read(&broker, &mut live, 9).0, [4]);
}

#[test]
fn who_only_looks_in_live_takes_nothing_unseen_away() {
    let broker = broker(holding(10));
    publish(&broker, news(&["a"], "1"));
    let _live = subscribe(&broker, &["a"], None, Replay::Live);
    publish(&broker, news(&["a"], "2"));

    assert_eq!(first_read(&broker, &["a"], None, Replay::Unseen), [1, 2]);
}

#[test]
fn unseen_is_told_channel_by_channel() {
    let broker = broker(holding(10));
    publish(&broker, news(&["a"], "1"));
    publish(&broker, news(&["b"], "2"));
    publish(&broker, news(&["a"], "3"));
    drop(first_read(&broker, &["a"], None, Replay::Unseen));
    publish(&broker, news(&["a", "b"], "4"));

    assert_eq!(first_read(&broker, &["a", "b"], None, Replay::Unseen), [2, 4]);
}

#[test]
fn a_publishers_own_id_resumes_from_its_oldest_place() {
    let broker = broker(holding(4));
    for own in ["1", "2", "3", "1", "2"] {
        let mut publication = news(&["a"], own);
        publication.event.as_mut().unwrap().set_id(own).unwrap();
        assert_eq!(publish(&broker, publication).id, Some(EventId::Publisher(own.into())));
    }

    assert_eq!(first_read(&broker, &["a"], Some("2"), Replay::Live), [3, 4, 5]);
    assert_eq!(first_read(&broker, &["a"], Some("1"), Replay::Live), [5]);
}

#[test]
fn a_gap_says_why_and_what_is_left() {
    let broker = broker(holding(2));
    (1..=4).for_each(|n| drop(publish(&broker, news(&["a"], &n.to_string()))));
    let gap = |requested: &str, reason| {
        let (mut subscription, gap) = open(subscribe(&broker, &["a"], Some(requested), Replay::Live));
        let gap = gap.unwrap();
        assert_eq!(gap.reason, reason, "{requested}");
        assert_eq!(gap.requested.as_deref(), Some(requested));
        assert_eq!(
            (gap.oldest.as_deref(), gap.newest.as_deref()),
            (Some(&*id(&broker, 3)), Some(&*id(&broker, 4)))
        );
        assert_eq!(gap.resume.sequence, 2);
        assert_eq!(read(&broker, &mut subscription, 1).0, [3, 4]);
    };

    gap(&id(&broker, 1), Reason::Trimmed);
    gap(&id(&broker, 5), Reason::Unknown);
    gap("elsewhere-1", Reason::Epoch);
    gap("what?", Reason::Unknown);
    assert_eq!(first_read(&broker, &["a"], Some(&id(&broker, 2)), Replay::Live), [3, 4]);
}

#[test]
fn who_falls_off_the_end_of_everything_is_told() {
    let broker = broker(holding(1));
    let (mut subscription, _) = open(subscribe(&broker, &["a"], None, Replay::Live));
    (0..9000).for_each(|n| drop(publish(&broker, news(&["a"], &n.to_string()))));

    let mut log = broker.reading(0);
    assert!(matches!(log.read(&mut subscription, 9), Read::Fallen));
    let gap = log.skip(&mut subscription);
    drop(log);

    assert_eq!((gap.reason, gap.resume.sequence), (Reason::Slow, 8999));
    assert_eq!(read(&broker, &mut subscription, 9).0, [9000]);
}

#[test]
fn a_burst_longer_than_the_history_cuts_nobody_off() {
    let broker = broker(holding(2));
    let (mut subscription, _) = open(subscribe(&broker, &["a"], None, Replay::Live));
    (0..100).for_each(|n| drop(publish(&broker, news(&["a"], &n.to_string()))));

    assert_eq!(read(&broker, &mut subscription, 7).0, (1..=100).collect::<Vec<_>>());
}

#[test]
fn a_second_try_is_known_by_its_key() {
    let broker = broker(holding(1));
    let keyed = |data| Publication { dedupe: Some("k".into()), ..news(&["a"], data) };
    let first = publish(&broker, keyed("1"));
    publish(&broker, news(&["a"], "2"));

    let second = publish(&broker, keyed("1 again"));

    assert_eq!((second.duplicate, second.receivers), (true, 0));
    assert_eq!(second.id, first.id);
    assert!(!publish(&broker, Publication { dedupe: Some("k".into()), ..news(&["b"], "1") }).duplicate);
    assert_eq!(broker.head().sequence, 3);
}

#[test]
fn a_key_is_forgotten_with_its_window_and_its_event() {
    let broker = broker(Settings { dedupe_window: Duration::ZERO, ..holding(1) });
    let keyed = |data| Publication { dedupe: Some("k".into()), ..news(&["a"], data) };
    publish(&broker, keyed("1"));
    assert!(publish(&broker, keyed("in the history")).duplicate);
    publish(&broker, news(&["a"], "2"));

    assert!(!publish(&broker, keyed("not there any more")).duplicate);
}

#[test]
fn an_event_and_its_key_leave_the_store_though_their_channel_was_forgotten_first() {
    let store = Store::Disk("not opened here".into());
    let mut log =
        Log::new(Settings { store, max_channels: 1, dedupe_window: Duration::ZERO, ..Settings::default() });
    let mut publish = |publication: Publication| {
        let (next, now) = (log.head + 1, Moment::now());
        let checked = log.check(publication.write(&log.epoch), now).unwrap();
        let draft = checked.number(next, now, moment::time());
        log.commit(draft, Level::Stored, now);
    };
    publish(Publication { dedupe: Some("k".into()), ttl: Some(Duration::ZERO), ..news(&["a"], "1") });
    publish(news(&["b"], "2"));

    log.sweep(Moment::now());
    log.forget_keys(Moment::now());

    let mut told = Batch::default();
    assert!(!log.take_changes(&mut told, 100));
    assert_eq!((told.dead.len(), &told.dead_keys[..]), (1, &[1][..]), "the event, and the key");
}

#[test]
fn a_closed_channel_gives_the_rest_and_then_nothing() {
    let broker = broker(holding(9));
    let (mut early, _) = open(subscribe(&broker, &["a"], None, Replay::Live));
    publish(&broker, Publication { close: true, ..news(&["a"], "last") });

    assert_eq!(read(&broker, &mut early, 9), (vec![1], true));
    let (mut late, _) = open(subscribe(&broker, &["a"], Some(&id(&broker, 0)), Replay::Live));
    assert_eq!(read(&broker, &mut late, 9), (vec![1], true));
    assert!(matches!(subscribe(&broker, &["a"], Some(&id(&broker, 1)), Replay::Live), Subscribed::Over));
    assert!(matches!(subscribe(&broker, &["a"], None, Replay::Unseen), Subscribed::Over));
    assert!(matches!(subscribe(&broker, &["a", "b"], None, Replay::Live), Subscribed::Open(..)));
    publish(&broker, news(&["a"], "open again"));
    assert!(matches!(subscribe(&broker, &["a"], Some(&id(&broker, 1)), Replay::Live), Subscribed::Open(..)));
}

#[test]
fn the_newest_state_replaces_the_one_before_and_that_is_no_gap() {
    let glob = globset::Glob::new("t.*").unwrap().compile_matcher();
    let limits = Settings::default().limits;
    let rule = Rule { pattern: glob, keep: Keep::Latest, max_rate: None, limits };
    let broker = broker(Settings { rules: vec![rule], ..Settings::default() });
    (1..=5).for_each(|n| drop(publish(&broker, news(&["t.x"], &n.to_string()))));

    assert_eq!(first_read(&broker, &["t.x"], Some(&id(&broker, 1)), Replay::Live), [5]);
    assert_eq!(first_read(&broker, &["t.x"], None, Replay::All), [5]);
    assert_eq!(
        first_read(&broker, &["t.x"], None, Replay::Unseen),
        [5],
        "a late reader gets the newest state"
    );
}

#[test]
fn an_event_leaves_after_its_own_ttl() {
    let broker = broker(holding(9));
    publish(&broker, news(&["a"], "1"));
    publish(&broker, Publication { ttl: Some(Duration::ZERO), ..news(&["a"], "2") });
    publish(&broker, news(&["a"], "3"));

    let (mut subscription, gap) = open(subscribe(&broker, &["a"], Some(&id(&broker, 1)), Replay::Live));

    assert_eq!(gap.map(|gap| gap.reason), Some(Reason::Trimmed));
    assert_eq!(read(&broker, &mut subscription, 9).0, [3]);
    assert_eq!(broker.channel(&channels(&["a"])[0]).unwrap().events, 2);
}

#[test]
fn the_bytes_of_all_channels_together_have_a_bound() {
    let broker = broker(Settings { total_bytes: 2000, ..Settings::default() });
    for n in 0..100 {
        publish(&broker, news(&[["a", "b", "c"][n % 3]], &"x".repeat(100)));
    }

    let states = broker.channels(None, None, 10);

    let bytes: usize = states.iter().map(|state| state.bytes).sum();
    assert!((1500..=2000).contains(&bytes), "{bytes}");
    assert!(states.iter().all(|state| state.events >= 4), "the oldest of all leave first: {states:?}");
}

#[test]
fn there_are_only_so_many_channels() {
    let broker = broker(Settings { max_channels: 3, ..holding(1) });
    publish(&broker, news(&["a", "b"], "1"));

    let refused = |names: &[&str]| {
        let mut published = std::pin::pin!(broker.publish(news(names, "x")));
        let waker = std::task::Waker::noop();
        matches!(
            published.as_mut().poll(&mut std::task::Context::from_waker(waker)),
            std::task::Poll::Ready(Err(_))
        )
    };

    assert!(refused(&["c", "d"]), "all or none");
    assert!(broker.channel(&channels(&["c"])[0]).is_none());
    assert!(!refused(&["c"]));
    assert!(refused(&["d"]));
    assert!(!refused(&["a"]));
}

#[test]
fn names_that_clients_make_leave_half_of_the_channels_to_publishers() {
    let broker = broker(Settings { max_channels: 1000, ..holding(1) });
    let listen = |client: usize, name: &str| {
        let names: Vec<_> =
            (0..32).map(|n| Channel::parse(&format!("{name}-{client}-{n}")).unwrap()).collect();
        let since = Since { last_event_id: None, replay: Replay::Live };
        broker.subscribe(Wish::new(&names, since, 0))
    };
    let mut held: Vec<_> = (0..15).map(|client| listen(client, "a").unwrap()).collect();

    assert!(matches!(listen(15, "a"), Err(Refused::TooManyNames(500))));
    publish(&broker, news(&["new"], "1"));
    let published: Vec<String> = (0..400).map(|n| format!("p-{n}")).collect();
    for name in &published {
        publish(&broker, news(&[name], "1"));
    }
    held.push(open_on(&broker, &published[..20]));

    // Who leaves makes room for others, and what is published to is not the clients' alone any more.
    held.remove(0);
    listen(15, "a").unwrap();
    for n in 0..32 {
        publish(&broker, news(&[&format!("a-7-{n}")], "1"));
    }
    held.extend([16, 17].map(|client| listen(client, "b").unwrap()));
    assert!(matches!(listen(18, "b"), Err(Refused::TooManyNames(500))));
}

fn open_on(broker: &Arc<Broker>, names: &[String]) -> Subscribed {
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    subscribe(broker, &names, None, Replay::Live)
}

#[test]
fn a_channel_without_past_and_subscribers_makes_room_for_another() {
    let broker = broker(Settings { max_channels: 1, ..holding(1) });
    drop(subscribe(&broker, &["a"], None, Replay::Live));

    publish(&broker, news(&["b"], "1"));

    assert!(broker.channel(&channels(&["a"])[0]).is_none());
}

#[test]
fn publishers_wait_for_listeners_that_are_too_far_behind_on_their_channel_and_for_no_others() {
    let broker = broker(holding(1000));
    let (listener, _) = open(subscribe(&broker, &["a"], None, Replay::Live));
    let names = channels(&["b"]);
    let since = Since { last_event_id: None, replay: Replay::Live };
    let onlooker = broker.subscribe(Wish { role: Role::Onlooker, ..Wish::new(&names, since, 0) }).unwrap();
    let held_back = |name| broker.holds_back(&channels(&[name]));
    let burst = |count| {
        for _ in 0..count {
            publish(&broker, news(&["a"], "x"));
            publish(&broker, news(&["b"], "x"));
        }
    };

    burst(1000);
    assert!(!held_back("a"), "it is not a quarter of the recent entries behind");
    burst(1000);
    assert!(held_back("a"), "its thread has not looked at the first");
    assert!(!held_back("b") && !held_back("c"), "nobody is meant to get those");

    let news = broker.reading(0).news(0);
    assert!(!held_back("a"));
    assert_eq!(news.head - news.brink, 2048);
    broker.wait_for(0, listener.selection.channels.to_vec());
    assert!(held_back("a") && !held_back("b"), "its thread says that it lags and gets on");
    broker.wait_for(0, Vec::new());
    assert!(!held_back("a"));
    drop((listener, onlooker));
}

#[tokio::test]
async fn publishers_are_let_on_at_once_when_a_listener_has_got_on_and_after_a_second_in_any_case() {
    let broker = broker(holding(1000));
    let (listener, _) = open(subscribe(&broker, &["a"], None, Replay::Live));
    let keys = listener.selection.channels.to_vec();
    let names = channels(&["a"]);
    broker.wait_for(0, keys.clone());
    let waiting = tokio::spawn({
        let (broker, names) = (Arc::clone(&broker), names.clone());
        async move { broker.turn(&names).await }
    });
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());

    broker.wait_for(0, Vec::new());

    waiting.await.unwrap();
    broker.wait_for(0, keys);
    broker.turn(&names).await;
    assert!(!broker.holds_back(&names), "the listener never gets on, and its time is used up");
}

fn disconnect(broker: &Broker, subject: &Subject) -> usize {
    publish(broker, Publication { disconnect: vec![subject.clone()], ..Publication::default() }).disconnected
}

#[test]
fn who_was_disconnected_is_no_receiver_any_more() {
    let broker = broker(holding(9));
    let anna = Subject::parse("anna").unwrap();
    let since = Since { last_event_id: None, replay: Replay::Live };
    let join = |names: &[&str]| {
        let names = channels(names);
        open(broker.subscribe(Wish { subject: Some(&anna), ..Wish::new(&names, since, 0) }).unwrap()).0
    };
    let (first, second, gone) = (join(&["a"]), join(&["a", "b"]), join(&["a"]));
    let (_other, _) = open(subscribe(&broker, &["a"], None, Replay::Live));
    drop(gone);
    assert_eq!(publish(&broker, news(&["a"], "1")).receivers, 3);

    assert_eq!(disconnect(&broker, &anna), 2);

    assert!(first.has_ended() && second.has_ended());
    assert_eq!(publish(&broker, news(&["a", "b"], "2")).receivers, 1);
    drop((first, second));
    assert_eq!(publish(&broker, news(&["a", "b"], "3")).receivers, 1);
    assert!(!join(&["a"]).has_ended());
    assert_eq!(disconnect(&broker, &anna), 0, "it has left by itself");
    assert_eq!(disconnect(&broker, &Subject::parse("bert").unwrap()), 0);
}

#[test]
fn who_listened_on_a_channel_that_was_closed_is_no_receiver_of_what_comes_later() {
    let broker = broker(holding(9));
    let (alone, _) = open(subscribe(&broker, &["a"], None, Replay::Live));
    let (_shared, _) = open(subscribe(&broker, &["a", "b"], None, Replay::Live));

    assert_eq!(publish(&broker, Publication { close: true, ..news(&["a"], "last") }).receivers, 2);

    assert_eq!(publish(&broker, news(&["a"], "open again")).receivers, 1);
    let (_late, _) = open(subscribe(&broker, &["a"], None, Replay::Live));
    drop(alone);
    assert_eq!(publish(&broker, news(&["a"], "x")).receivers, 2);
}

#[test]
fn a_close_holds_for_who_was_there_whatever_comes_before_it_reads() {
    let broker = broker(holding(9));
    let (mut early, _) = open(subscribe(&broker, &["a"], None, Replay::Live));
    publish(&broker, Publication { close: true, ..news(&["a"], "last") });
    let (mut late, _) = open(subscribe(&broker, &["a"], Some(&id(&broker, 0)), Replay::Live));
    publish(&broker, news(&["a"], "of the next opening"));

    assert_eq!(read(&broker, &mut early, 9), (vec![1], true));
    assert_eq!(read(&broker, &mut late, 9), (vec![1], true));
    assert_eq!(broker.head().sequence, 3, "the close has a number too");
}

#[test]
fn a_stream_of_several_channels_ends_where_the_last_one_that_is_open_is_closed() {
    let broker = broker(holding(9));
    let close = |name| publish(&broker, Publication { close: true, event: None, ..news(&[name], "") });
    let (mut both, _) = open(subscribe(&broker, &["a", "b"], None, Replay::Live));
    close("a");
    let (mut later, _) = open(subscribe(&broker, &["b", "a"], None, Replay::Live));
    publish(&broker, news(&["a"], "3: a is open again"));
    close("b");
    publish(&broker, news(&["a", "b"], "5: and b"));
    close("a");

    assert!(!both.has_ended());
    close("b");
    publish(&broker, news(&["a"], "8"));

    for subscription in [&mut both, &mut later] {
        assert_eq!(read(&broker, subscription, 9), (vec![2, 4], true));
    }
    assert_eq!(publish(&broker, news(&["a", "b"], "9")).receivers, 0);
}

#[test]
fn a_disconnect_bars_who_was_accepted_by_an_older_question() {
    let broker = broker(holding(9));
    let (anna, bert) = (Subject::parse("anna").unwrap(), Subject::parse("bert").unwrap());
    let names = channels(&["a"]);
    let since = Since { last_event_id: None, replay: Replay::Live };
    let ask = |subject, asked_at| {
        let wish = Wish { subject: Some(subject), asked_at, ..Wish::new(&names, since, 0) };
        matches!(broker.subscribe(wish).unwrap(), Subscribed::Open(..))
    };
    disconnect(&broker, &bert);
    let before = broker.latest_disconnect();
    publish(&broker, news(&["a"], "2"));
    assert!(ask(&anna, Some(before)));

    disconnect(&broker, &anna);

    assert!(!ask(&anna, Some(before)));
    assert!(ask(&bert, Some(before)) && ask(&anna, None));
    assert!(ask(&anna, Some(broker.latest_disconnect())));
}

#[test]
fn an_onlooker_counts_nowhere_and_makes_nothing_seen_but_gets_all_and_ends_as_others_do() {
    let broker = broker(Settings { max_channels: 1, ..holding(9) });
    let names = channels(&["a"]);
    let since = Since { last_event_id: None, replay: Replay::Unseen };
    let look_on =
        || open(broker.subscribe(Wish { role: Role::Onlooker, ..Wish::new(&names, since, 0) }).unwrap());
    publish(&broker, news(&["a"], "1"));
    let (mut onlooker, _) = look_on();

    let receipt = publish(&broker, Publication { ttl: Some(Duration::ZERO), ..news(&["a"], "2") });

    assert_eq!((receipt.receivers, broker.channel(&names[0]).unwrap().subscribers), (0, 0));
    let news_of = |seen| broker.reading(0).news(seen).latest.unwrap().entries.len();
    assert_eq!(news_of(1), 1, "its reader is told");
    assert_eq!(first_read(&broker, &["a"], None, Replay::Unseen), [1]);
    assert_eq!(first_read(&broker, &["a"], None, Replay::Unseen), [0; 0]);
    publish(&broker, Publication { close: true, ..news(&["a"], "3") });
    assert_eq!(read(&broker, &mut onlooker, 9), (vec![1, 2, 3], true));
}

#[test]
fn other_rules_hold_for_every_channel_however_many_there_are() {
    let broker = broker(Settings::default());
    for number in 0..1000 {
        publish(&broker, news(&[&format!("c{number}")], "1"));
        publish(&broker, news(&[&format!("c{number}")], "2"));
    }
    let rule = |pattern: &str, max_events| Rule {
        pattern: globset::Glob::new(pattern).unwrap().compile_matcher(),
        keep: Keep::All,
        max_rate: None,
        limits: Limits { max_events, ..Settings::default().limits },
    };

    broker.reconfigure(&Settings { rules: vec![rule("c*7", 1)], ..Settings::default() });

    for number in 0..1000 {
        let state = broker.channel(&channels(&[&format!("c{number}")])[0]).unwrap();
        assert_eq!(state.events, if number % 10 == 7 { 1 } else { 2 }, "{number}");
    }
    let matching = globset::Glob::new("c*7").unwrap().compile_matcher();
    let listed = |after, limit| -> Vec<String> {
        let states = broker.channels(after, Some(&matching), limit);
        states.iter().map(|state| state.channel.as_str().to_owned()).collect()
    };
    assert_eq!(listed(None, 1000).len(), 100);
    assert_eq!(listed(Some("c97"), 3), ["c977", "c987", "c997"]);
    assert_eq!(listed(Some("c5"), 2), ["c507", "c517"]);
}

#[test]
fn leaving_is_linear_for_clients_with_a_channel_of_their_own_beside_a_common_one() {
    let broker = broker(Settings { max_channels: 20_000, ..holding(9) });
    let own = |n| format!("user-{n}");
    let mut all: Vec<_> =
        (0..2000).map(|n| open(subscribe(&broker, &["news", &own(n)], None, Replay::Live)).0).collect();
    let key = broker.lock().key(&channels(&["news"])[0]).unwrap();
    assert_eq!(publish(&broker, news(&["news", &own(7), "user-none"], "x")).receivers, 2000);

    while all.pop().is_some() {
        let listed = broker.lock().channels.get(key).unwrap().attendance.selections_at_most();
        // Each sweep looks at all of them, and there is one for as many that left as stay.
        assert!(listed <= 2 * all.len(), "{listed} are looked through for {}", all.len());
        if all.len() % 500 == 250 {
            assert_eq!(publish(&broker, news(&["news", &own(7)], "x")).receivers, all.len());
        }
    }
}

#[test]
fn when_fewer_channels_are_allowed_those_that_are_there_go_on() {
    let broker = broker(holding(1));
    publish(&broker, news(&["a"], "1"));
    publish(&broker, news(&["b"], "2"));

    broker.reconfigure(&Settings { max_channels: 1, ..holding(1) });

    assert_eq!(publish(&broker, news(&["a"], "3")).id, Some(EventId::Position(broker.head())));
    assert_eq!(first_read(&broker, &["b"], None, Replay::All), [2]);
}

#[test]
fn what_is_too_old_leaves_even_if_the_age_is_made_less() {
    let seconds = Duration::from_secs;
    let aged = |max_age| Settings {
        limits: Limits { max_age, ..Settings::default().limits },
        ..Settings::default()
    };
    let mut log = Log::new(aged(seconds(10)));
    let start = Moment::now();
    for (data, at) in [("a", seconds(0)), ("b", seconds(4)), ("c", seconds(8))] {
        let sequence = log.head + 1;
        let draft = log.check(news(&["n"], data).write(&log.epoch), start + at).unwrap().number(
            sequence,
            start + at,
            std::time::SystemTime::now(),
        );
        log.commit(draft, Level::Accepted, start + at);
    }
    let key = log.key(&channels(&["n"])[0]).unwrap();
    let left = |log: &mut Log, at| log.history(key, None, 10, start + at).len();

    assert_eq!(left(&mut log, seconds(9)), 3);
    assert_eq!(left(&mut log, seconds(10)), 2);
    log.reconfigure(&Arc::new(aged(seconds(5))));
    assert_eq!(left(&mut log, seconds(10)), 1);
    assert_eq!(left(&mut log, seconds(13)), 0);
}

/// Counts how often it is woken.
#[derive(Default)]
struct Counting(std::sync::atomic::AtomicUsize);

impl Wake for Counting {
    fn wake(&self) {
        self.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
    }
}

impl Counting {
    fn so_far(&self) -> usize {
        self.0.load(std::sync::atomic::Ordering::SeqCst)
    }
}

/// A broker with a reader that has a subscriber on `n`.
fn listened_to() -> (Arc<Broker>, Arc<Counting>, Subscription) {
    let broker = Broker::new(Settings::default());
    let wakes = Arc::new(Counting::default());
    broker.add_reader(Arc::clone(&wakes) as Arc<dyn Wake>);
    let (subscription, _) = open(subscribe(&broker, &["n"], None, Replay::Live));
    (broker, wakes, subscription)
}

#[tokio::test]
async fn all_that_is_published_in_one_turn_wakes_a_reader_once() {
    let (broker, wakes, _subscription) = listened_to();

    for _ in 0..3 {
        publish(&broker, news(&["n"], "x"));
        drop(broker.reading(0));
    }
    assert_eq!(wakes.so_far(), 0);

    while wakes.so_far() == 0 {
        tokio::task::yield_now().await;
    }
    tokio::task::yield_now().await;
    assert_eq!(wakes.so_far(), 1);
}

#[test]
fn a_reader_is_woken_though_nobody_schedules_turns_or_does_so_any_more() {
    let (broker, wakes, _subscription) = listened_to();

    publish(&broker, news(&["n"], "x"));
    assert_eq!(wakes.so_far(), 1);

    drop(broker.reading(0));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async { publish(&broker, news(&["n"], "x")) });
    drop(runtime);
    assert_eq!(wakes.so_far(), 2);
}
