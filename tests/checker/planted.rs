//! One fault of each class, planted by hand in a history of a few lines, and what is said about it.

use crate::checker::{
    Class, Client, History, Level, Life, Line, Readback, Reply, Said, Sent, Verdict, What, check,
};

/// A history written down line by line; each line is a second later than the one before.
struct Story {
    history: History,
    now: u64,
}

impl Story {
    /// One life with a log that keeps everything, and a client of channel `a` that is connected.
    fn new() -> Self {
        let history = History { lives: vec![Life::default()], keeps_everything: true, ..History::default() };
        let mut story = Self { history, now: 0 };
        story.history.clients.push(Client {
            name: "eva".into(),
            channels: vec!["a".into()],
            lines: Vec::new(),
        });
        story.client(What::Connected { life: 0, last_event_id: None });
        story
    }

    fn tick(&mut self) -> u64 {
        self.now += 1_000_000;
        self.now
    }

    fn life(&self) -> usize {
        self.history.lives.len() - 1
    }

    fn send(&mut self, data: &str, said: Option<Said>) -> &mut Sent {
        let (at, life) = (self.tick(), self.life());
        let reply = said.map(|said| Reply { at: self.tick(), said });
        self.history.sends.push(Sent {
            publisher: 0,
            life,
            at,
            data: data.into(),
            channels: vec!["a".into()],
            own_id: None,
            dedupe: true,
            reply,
        });
        self.history.sends.last_mut().unwrap()
    }

    fn stored(&mut self, data: &str, id: &str) {
        self.send(data, Some(Said::Ok { id: id.into(), level: Level::Stored, duplicate: false }));
    }

    fn client(&mut self, what: What) {
        let at = self.tick();
        self.history.clients[0].lines.push(Line { at, what });
    }

    fn got(&mut self, data: &str, id: &str) {
        self.client(What::Event { id: id.into(), data: data.into() });
    }

    fn resumes(&mut self, last_event_id: &str) {
        let life = self.life();
        self.client(What::Ended);
        self.client(What::Connected { life, last_event_id: Some(last_event_id.into()) });
    }

    fn gap(&mut self, reason: &str) {
        self.client(What::Gap { reason: reason.into() });
    }

    fn crash(&mut self) {
        self.history.lives.push(Life { continues: true });
    }

    fn log(&mut self, entries: &[(&str, &str)]) {
        let (at, life) = (self.tick(), self.life());
        let entries = entries.iter().map(|(data, id)| (id.to_string(), data.to_string())).collect();
        self.history.readbacks.push(Readback { life, at, channel: "a".into(), entries });
    }

    fn verdict(&self) -> Verdict {
        check(&self.history)
    }
}

/// Asserts that exactly these words are the shortest witness of the only class of fault.
fn assert_only(verdict: &Verdict, class: Class, words: &str) {
    assert!(verdict.has(class), "{class:?} was not found: {verdict}");
    assert!(verdict.faults.iter().all(|fault| fault.class == class), "more was found: {verdict}");
    assert!(verdict.to_string().contains(words), "it was said differently: {verdict}");
}

#[test]
fn a_history_without_faults_passes() {
    let mut story = Story::new();
    story.stored("one", "e-1");
    story.got("one", "e-1");
    story.resumes("e-1");
    story.stored("two", "e-2");
    story.got("two", "e-2");
    story.log(&[("one", "e-1"), ("two", "e-2")]);

    assert!(story.verdict().is_clean(), "{}", story.verdict());
}

#[test]
fn what_was_stored_and_is_gone_after_a_crash_is_lost() {
    let mut story = Story::new();
    story.stored("one", "e-1");
    story.crash();
    story.log(&[]);

    assert_only(
        &story.verdict(),
        Class::Lost,
        "`one` was acknowledged as e-1 at 3.000000 s (life 0), and the log of `a` does not have it at 4.000000 s (life 1)",
    );
}

#[test]
fn what_was_only_accepted_may_be_gone_after_a_crash_but_not_before() {
    let accepted = |crash: bool| {
        let mut story = Story::new();
        story.send("one", Some(Said::Ok { id: "e-1".into(), level: Level::Accepted, duplicate: false }));
        if crash {
            story.crash();
        }
        story.log(&[]);
        story.verdict()
    };

    assert!(accepted(true).is_clean());
    assert!(accepted(false).has(Class::Lost));
}

#[test]
fn what_was_acknowledged_and_no_client_got_is_lost() {
    let mut story = Story::new();
    story.stored("one", "e-1");
    story.stored("two", "e-2");
    story.got("two", "e-2");

    assert_only(
        &story.verdict(),
        Class::Lost,
        "`one` was acknowledged as e-1 at 3.000000 s, and nobody has it; client eva got `two` after it",
    );
}

#[test]
fn a_log_that_begins_anew_although_it_was_undamaged_has_lost_what_it_held() {
    let mut story = Story::new();
    story.stored("one", "e-1");
    story.crash();
    story.stored("two", "f-1");

    assert_only(
        &story.verdict(),
        Class::Lost,
        "`one` was stored, and life 1 began another log than the one it was in",
    );
}

#[test]
fn an_event_given_twice_is_doubled() {
    let mut story = Story::new();
    story.stored("one", "e-1");
    story.got("one", "e-1");
    story.resumes("e-1");
    story.got("one", "e-1");

    assert_only(&story.verdict(), Class::Doubled, "client eva got `one` twice: e-1, and again e-1");
}

#[test]
fn a_second_try_that_is_published_again_is_doubled() {
    let mut story = Story::new();
    story.send("one", None);
    story.stored("one", "e-2");
    story.got("one", "e-1");
    story.got("one", "e-2");

    let verdict = story.verdict();
    assert!(verdict.has(Class::Doubled), "{verdict}");
    assert!(verdict.to_string().contains("`one` stands at number 1 and at number 2"), "{verdict}");
}

#[test]
fn a_key_acknowledged_twice_as_new_is_doubled() {
    let mut story = Story::new();
    story.stored("one", "e-1");
    story.stored("one", "e-2");

    let verdict = story.verdict();
    assert!(verdict.has(Class::Doubled), "{verdict}");
    assert!(
        verdict.to_string().contains("acknowledged as e-1, and tried again as e-2, as if it were new"),
        "{verdict}"
    );
}

#[test]
fn without_a_dedupe_key_a_second_try_is_a_second_event() {
    let mut story = Story::new();
    story.send("one", None).dedupe = false;
    let ok = Said::Ok { id: "e-2".into(), level: Level::Stored, duplicate: false };
    story.send("one", Some(ok)).dedupe = false;
    story.got("one", "e-1");
    story.got("one", "e-2");

    assert!(story.verdict().is_clean(), "{}", story.verdict());
}

#[test]
fn two_who_see_different_orders_are_told_apart() {
    let mut story = Story::new();
    story.stored("one", "e-1");
    story.stored("two", "e-2");
    story.got("two", "e-2");
    story.got("one", "e-1");

    assert_only(
        &story.verdict(),
        Class::Reordered,
        "client eva got `two` before `one`; the sequence numbers put `one` before `two`",
    );
}

#[test]
fn an_order_that_is_not_the_publishers_is_found_without_any_numbers() {
    let mut story = Story::new();
    story.send("one", None).own_id = Some("own-x".into());
    story.send("two", None).own_id = Some("own-y".into());
    story.got("two", "own-y");
    story.got("one", "own-x");

    assert_only(&story.verdict(), Class::Reordered, "publisher 0 sent `one` before `two`");
}

#[test]
fn what_was_acknowledged_before_another_was_sent_stands_before_it() {
    let mut story = Story::new();
    story.stored("one", "e-2");
    story
        .send("two", Some(Said::Ok { id: "e-1".into(), level: Level::Stored, duplicate: false }))
        .publisher = 1;

    assert_only(&story.verdict(), Class::Reordered, "`one` was acknowledged by 3.000000 s");
}

#[test]
fn what_nobody_sent_is_a_phantom() {
    let mut story = Story::new();
    story.got("one", "e-1");

    assert_only(&story.verdict(), Class::Phantom, "client eva has `one` (e-1), which nobody sent");
}

#[test]
fn what_was_refused_is_a_phantom_when_it_comes() {
    let mut story = Story::new();
    story.send("one", Some(Said::Error { code: "too-large".into() }));
    story.got("one", "e-1");

    assert_only(&story.verdict(), Class::Phantom, "client eva has `one`, which was refused");
}

#[test]
fn an_event_under_another_id_than_its_own_is_a_phantom() {
    let mut story = Story::new();
    story.send("one", None).own_id = Some("mine".into());
    story.got("one", "yours");

    assert_only(&story.verdict(), Class::Phantom, "has `one` under the id yours, which is not its own");
}

#[test]
fn an_event_of_another_channel_is_a_phantom() {
    let mut story = Story::new();
    story.send("one", None).channels = vec!["b".into()];
    story.got("one", "e-1");

    assert_only(&story.verdict(), Class::Phantom, "client eva has `one`, which was sent to b");
}

#[test]
fn what_the_log_has_and_a_client_did_not_get_is_a_hole() {
    let mut story = Story::new();
    story.stored("one", "e-1");
    story.stored("two", "e-2");
    story.stored("three", "e-3");
    story.got("one", "e-1");
    story.resumes("e-1");
    story.got("three", "e-3");
    story.log(&[("one", "e-1"), ("two", "e-2"), ("three", "e-3")]);

    assert_only(
        &story.verdict(),
        Class::Hole,
        "client eva got `three` and not `two` before it, and was told of no gap",
    );
}

#[test]
fn a_hole_of_which_the_client_was_told_is_none() {
    let mut story = Story::new();
    story.history.keeps_everything = false;
    story.stored("one", "e-1");
    story.got("one", "e-1");
    story.client(What::Ended);
    story.stored("two", "e-2");
    story.stored("three", "e-3");
    story.resumes("e-1");
    story.gap("trimmed");
    story.got("three", "e-3");
    story.log(&[("three", "e-3")]);

    assert!(story.verdict().is_clean(), "{}", story.verdict());
}

#[test]
fn a_gap_of_which_nothing_is_missing_is_false() {
    let mut story = Story::new();
    story.stored("one", "e-1");
    story.stored("two", "e-2");
    story.got("one", "e-1");
    story.resumes("e-1");
    story.gap("trimmed");
    story.got("one", "e-1");
    story.got("two", "e-2");

    assert_only(
        &story.verdict(),
        Class::FalseGap,
        "client eva came with e-1 at 9.000000 s, was told of a gap, and nothing after it was missing",
    );
}

#[test]
fn a_gap_for_an_id_of_another_log_is_right() {
    let mut story = Story::new();
    story.stored("one", "e-1");
    story.got("one", "e-1");
    story.history.lives.push(Life { continues: false });
    story.stored("two", "f-1");
    story.resumes("e-1");
    story.gap("epoch");
    story.got("two", "f-1");

    assert!(story.verdict().is_clean(), "{}", story.verdict());
}

#[test]
fn a_client_that_holds_what_the_recovered_log_does_not_is_ahead() {
    let mut story = Story::new();
    story.send("one", None);
    story.got("one", "e-1");
    story.crash();
    story.log(&[]);

    assert_only(
        &story.verdict(),
        Class::Ahead,
        "client eva got `one` (e-1) at 3.000000 s, and the log of `a` does not have it at 4.000000 s",
    );
}

#[test]
fn a_number_given_to_two_events_has_a_client_ahead() {
    let mut story = Story::new();
    story.send("one", None);
    story.got("one", "e-1");
    story.crash();
    story.send("two", None);
    story.resumes("e-1");
    story.stored("two", "e-1");

    assert_only(&story.verdict(), Class::Ahead, "number 1 was given to `one` and to `two`");
}

#[test]
fn an_event_on_one_of_its_channels_only_is_torn() {
    let mut story = Story::new();
    story.send("one", None).channels = vec!["a".into(), "b".into()];
    story.log(&[("one", "e-1")]);
    story.log(&[]);
    story.history.readbacks[1].channel = "b".into();

    assert_only(&story.verdict(), Class::Torn, "`one` is in `a` and not in `b`");
}
