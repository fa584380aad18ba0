//! What the model has found, each as a short history.

use super::plain::{Rules, STATE};
use super::rig::run;
use super::step::{History, Sent, Start, Step};
use crate::broker::Role;

const FREE: Rules = Rules { most: 9, weight: usize::MAX, total: usize::MAX, age: u64::MAX, window: 0 };

fn to(channels: &[usize]) -> Sent {
    Sent {
        channels: channels.to_vec(),
        event: true,
        weight: 1,
        own_id: None,
        dedupe: None,
        ttl: None,
        close: false,
        disconnects_anna: false,
    }
}

fn publish(channels: &[usize]) -> Step {
    Step::Publish(vec![to(channels)])
}

fn closing(channel: usize) -> Sent {
    Sent { close: true, ..to(&[channel]) }
}

fn subscribe(channels: &[usize], from: Start) -> Step {
    Step::Subscribe { channels: channels.to_vec(), from, role: Role::Listener, as_anna: None, adopted: true }
}

fn restart() -> Step {
    Step::Restart { killed: false, stored: true }
}

fn in_memory(rules: Rules, steps: Vec<Step>) -> History {
    History { rules, on_disk: false, stored: true, recent: 0, max_channels: 1000, steps }
}

fn on_disk(rules: Rules, steps: Vec<Step>) -> History {
    History { on_disk: true, ..in_memory(rules, steps) }
}

fn assert_agrees(history: &History) {
    run(history, None).unwrap_or_else(|why| panic!("{why}\n{history}"));
}

#[test]
fn who_reads_two_channels_learns_that_one_has_lost_something_before_it_came_to_it() {
    let [first, second] = [0, 1];
    let mut steps: Vec<_> = [first, second, second, second].map(|channel| publish(&[channel])).into();
    steps.push(subscribe(&[first, second], Start::All));
    steps.extend([publish(&[first]), publish(&[first])]);

    assert_agrees(&in_memory(Rules { most: 2, ..FREE }, steps));
}

#[test]
fn what_leaves_behind_something_that_had_left_before_is_missed() {
    let short = Sent { ttl: Some(0), ..to(&[0]) };
    let steps = vec![
        publish(&[0]),
        Step::Publish(vec![short]),
        subscribe(&[0], Start::All),
        publish(&[0]),
        publish(&[0]),
    ];

    assert_agrees(&in_memory(Rules { most: 2, ..FREE }, steps));
}

#[test]
fn a_new_reader_of_a_full_history_is_not_cut_off_by_the_next_event() {
    let mut steps = vec![publish(&[0]); 4];
    steps.extend([subscribe(&[0], Start::All), publish(&[0])]);

    let history = History { recent: 4, ..in_memory(Rules { most: 2, ..FREE }, steps) };
    assert_eq!(run(&history, None).unwrap().fallen, 0);
}

#[test]
fn a_new_reader_gets_no_state_that_was_replaced_before() {
    let steps =
        vec![publish(&[STATE]), publish(&[0, STATE]), subscribe(&[0, STATE], Start::All), publish(&[0])];

    assert_agrees(&History { recent: 9, ..in_memory(Rules { most: 1, ..FREE }, steps) });
}

#[test]
fn a_state_that_was_gone_before_it_was_replaced_is_no_gap() {
    let steps = vec![
        publish(&[STATE]),
        Step::Pass(1000),
        publish(&[STATE]),
        subscribe(&[STATE], Start::After { epochs_ago: 0, number: 0 }),
    ];

    assert_agrees(&in_memory(Rules { age: 1000, ..FREE }, steps));
}

#[test]
fn a_channel_that_is_asked_for_does_not_make_room_for_another() {
    let steps = vec![
        Step::Publish(vec![Sent { event: false, ..closing(0) }]),
        Step::Publish(vec![Sent { event: false, ..to(&[1]) }]),
        subscribe(&[0, 2], Start::Live),
    ];

    assert_agrees(&History { max_channels: 2, ..in_memory(FREE, steps) });
}

#[test]
fn a_closed_channel_stays_closed_though_it_is_named_without_an_event() {
    let steps = vec![
        Step::Publish(vec![closing(0)]),
        Step::Publish(vec![Sent { event: false, disconnects_anna: true, ..to(&[0]) }]),
        restart(),
    ];

    assert_agrees(&on_disk(FREE, steps));
}

#[test]
fn a_closed_channel_that_was_forgotten_and_opened_again_is_open_after_a_restart() {
    let steps = vec![
        Step::Publish(vec![Sent { ttl: Some(0), ..closing(0) }]),
        publish(&[1]),
        publish(&[2]),
        Step::Keep(1),
        Step::Pass(2000),
        publish(&[0]),
        restart(),
    ];

    assert_agrees(&History { max_channels: 2, ..on_disk(Rules { age: 1000, ..FREE }, steps) });
}

#[test]
fn a_state_that_was_replaced_is_not_back_after_a_restart() {
    let short = Sent { ttl: Some(0), ..to(&[STATE]) };

    assert_agrees(&on_disk(FREE, vec![publish(&[0, STATE]), Step::Publish(vec![short]), restart()]));
}

#[test]
fn what_came_right_after_a_close_is_unseen_after_a_restart_too() {
    let steps = vec![
        subscribe(&[0], Start::Live),
        Step::Publish(vec![closing(0), to(&[0]), to(&[0])]),
        restart(),
        subscribe(&[0], Start::Unseen),
    ];

    assert_agrees(&on_disk(FREE, steps));
}

#[test]
fn what_is_over_pushes_nothing_out() {
    let short = Sent { ttl: Some(0), ..to(&[0]) };

    assert_agrees(&in_memory(Rules { most: 1, ..FREE }, vec![publish(&[0]), Step::Publish(vec![short])]));
}

#[test]
fn who_has_all_up_to_the_close_is_not_cut_off_by_what_comes_and_goes_after_it() {
    let close = Sent { event: false, ..closing(0) };
    let short = Sent { ttl: Some(0), ..to(&[0]) };
    let history = in_memory(FREE, vec![subscribe(&[0], Start::Live), Step::Publish(vec![close, short])]);

    assert_eq!(run(&history, None).unwrap().fallen, 0);
}

#[test]
fn who_wants_only_what_is_unseen_is_not_cut_off_by_what_was_seen() {
    let steps = vec![
        subscribe(&[0], Start::Live),
        publish(&[STATE]),
        publish(&[0]),
        subscribe(&[0, STATE], Start::Unseen),
        publish(&[0]),
    ];
    let history = in_memory(Rules { most: 1, ..FREE }, steps);

    assert!(run(&history, None).is_ok_and(|tally| tally.fallen == 1), "only who is behind on it");
}

#[test]
fn what_nobody_got_stays_unseen_though_something_newer_is_over() {
    let short = Sent { ttl: Some(0), ..to(&[0]) };
    let steps = vec![
        publish(&[0]),
        Step::Publish(vec![short.clone()]),
        subscribe(&[0], Start::Live),
        Step::Publish(vec![short]),
        subscribe(&[0], Start::Unseen),
    ];

    assert_agrees(&in_memory(FREE, steps));
}

#[test]
fn what_somebody_got_stays_seen_though_something_older_was_read_back() {
    let steps = vec![
        Step::Publish(vec![Sent { weight: 2, ..to(&[1, 2, 3]) }]),
        subscribe(&[1], Start::Live),
        publish(&[1]),
        restart(),
        subscribe(&[1], Start::Unseen),
    ];

    assert_agrees(&on_disk(Rules { most: 1, total: 5, ..FREE }, steps));
}

#[test]
fn who_is_moved_on_gets_nothing_that_it_did_not_want() {
    let steps = vec![
        subscribe(&[0], Start::Live),
        publish(&[1]),
        publish(&[0]),
        subscribe(&[0, 1], Start::Unseen),
        publish(&[1]),
        Step::Read { client: 1, portion: 1, skips: true },
    ];

    assert_agrees(&in_memory(Rules { most: 1, ..FREE }, steps));
}

#[test]
fn what_leaves_for_want_of_room_is_the_same_after_a_restart() {
    let heavy = |weight, channels: &[usize]| Step::Publish(vec![Sent { weight, ..to(channels) }]);
    let named = Step::Publish(vec![Sent { event: false, ..to(&[3]) }]);
    let steps = vec![named, heavy(2, &[2, 3]), heavy(3, &[0]), publish(&[3]), restart()];

    assert_agrees(&on_disk(Rules { most: 1, total: 6, ..FREE }, steps));
}

#[test]
fn what_came_with_a_close_and_is_gone_again_is_a_gap_after_a_restart() {
    let steps = vec![
        Step::Publish(vec![Sent { ttl: Some(0), ..closing(0) }]),
        restart(),
        subscribe(&[0], Start::After { epochs_ago: 0, number: 0 }),
    ];
    let history = History { stored: false, ..on_disk(FREE, steps) };

    // It depends on what the writer finds waiting.
    (0..20).for_each(|_| assert_agrees(&history));
}

#[test]
fn a_channel_that_was_never_forgotten_is_no_gap_after_a_restart() {
    let steps = vec![
        publish(&[0]),
        Step::Publish(vec![Sent { ttl: Some(0), ..to(&[1]) }]),
        publish(&[2]),
        restart(),
        subscribe(&[0], Start::After { epochs_ago: 0, number: 1 }),
    ];

    assert_agrees(&History { max_channels: 2, ..on_disk(FREE, steps) });
}

#[test]
fn what_had_left_before_it_was_written_is_not_back_after_a_restart() {
    let heavy = |weight, channel| Sent { weight, ..to(&[channel]) };
    let burst = Step::Publish(vec![heavy(2, 0), heavy(2, 3), heavy(3, 0)]);
    let history = History {
        stored: false,
        ..on_disk(Rules { most: 1, total: 4, ..FREE }, vec![burst, publish(&[0]), restart()])
    };

    // It depends on what the writer finds waiting.
    (0..40).for_each(|_| assert_agrees(&history));
}

#[test]
fn what_is_replaced_while_the_log_is_read_pushes_nothing_out() {
    let heavy = |weight, channels: &[usize]| Step::Publish(vec![Sent { weight, ..to(channels) }]);
    let steps = vec![heavy(3, &[0, STATE]), publish(&[STATE]), heavy(2, &[1]), publish(&[STATE]), restart()];

    assert_agrees(&on_disk(Rules { most: 1, total: 7, ..FREE }, steps));
}

#[test]
fn what_was_known_to_have_left_is_not_unlearned_by_a_close_that_waited() {
    let heavy = |weight, channels: &[usize]| Sent { weight, ..to(channels) };
    let burst = vec![heavy(1, &[1, 2]), heavy(3, &[2]), Sent { weight: 2, ..closing(2) }];
    let resume = subscribe(&[2], Start::After { epochs_ago: 0, number: 1 });
    let history = History {
        stored: false,
        ..on_disk(Rules { weight: 4, ..FREE }, vec![Step::Publish(burst), restart(), resume])
    };

    // It depends on what the writer finds waiting.
    (0..40).for_each(|_| assert_agrees(&history));
}

#[test]
fn what_was_published_after_the_clock_was_set_back_gets_too_old_too() {
    let steps = vec![
        publish(&[0]),
        Step::SetClock(-86_400_000),
        publish(&[0]),
        publish(&[0]),
        Step::SetClock(2000),
        restart(),
        publish(&[0]),
    ];

    assert_agrees(&on_disk(Rules { most: 3, age: 2000, ..FREE }, steps));
}
