//! Properties: random clean histories pass, and no single change to one goes unnoticed.

use proptest::prelude::*;

use crate::checker::{Class, History, Line, Said, What, check};
use crate::simulated::{Dice, history};

/// Where a client got an event: its number, the line, the event's id and data.
type Got = (usize, usize, String, String);

/// The events that clients got in the last life but for the last of each channel, by which all others
/// are known to be covered.
fn got_in_the_end(history: &History) -> Vec<Got> {
    let last = history.lives.len() - 1;
    let mut found = Vec::new();
    for (client, lines) in history.clients.iter().map(|client| &client.lines).enumerate() {
        let from = lines
            .iter()
            .position(|line| matches!(line.what, What::Connected { life, .. } if life == last))
            .unwrap_or(lines.len());
        for (at, line) in lines.iter().enumerate().skip(from) {
            if let What::Event { id, data } = &line.what
                && !data.starts_with("end-")
            {
                found.push((client, at, id.clone(), data.clone()));
            }
        }
    }
    found
}

fn pick<T: Clone>(of: &[T], dice: &mut Dice) -> Option<T> {
    (!of.is_empty()).then(|| of[dice.below(of.len())].clone())
}

/// A change, and by which names it may be found.
type Change = (&'static str, fn(&mut History, &mut Dice) -> bool, &'static [Class]);

const CHANGES: &[Change] = &[
    ("a client did not get an event", forget_one, &[Class::Hole, Class::Lost]),
    ("a client got an event twice", repeat_one, &[Class::Doubled]),
    ("a client got two events the other way round", swap_two, &[Class::Reordered]),
    ("a client got other data", change_data, &[Class::Phantom]),
    ("a client got another number", change_number, &[Class::Phantom, Class::Ahead, Class::Doubled]),
    ("the log forgot an event", forget_in_the_log, &[Class::Lost]),
    ("a gap is told and nothing is missing", tell_a_gap, &[Class::FalseGap]),
    ("a second try is acknowledged as new", acknowledge_again, &[Class::Doubled]),
    ("an event is gone from everywhere", forget_everywhere, &[Class::Lost]),
];

fn forget_one(history: &mut History, dice: &mut Dice) -> bool {
    let Some((client, at, ..)) = pick(&got_in_the_end(history), dice) else { return false };
    history.clients[client].lines.remove(at);
    true
}

fn repeat_one(history: &mut History, dice: &mut Dice) -> bool {
    let Some((client, at, id, data)) = pick(&got_in_the_end(history), dice) else { return false };
    let lines = &mut history.clients[client].lines;
    let last = Line { at: lines.last().unwrap().at + 1, what: What::Event { id, data } };
    let place = at + 1 + dice.below(lines.len() - at);
    lines.insert(place, last);
    true
}

/// Both of one channel, or both with numbers: of others nobody can say which was first.
fn swap_two(history: &mut History, dice: &mut Dice) -> bool {
    let got = got_in_the_end(history);
    let channels = |data: &str| {
        history.sends.iter().find(|sent| sent.data == data).map(|sent| sent.channels.clone()).unwrap()
    };
    let comparable = |one: &Got, other: &Got| {
        one.0 == other.0 && channels(&one.3).iter().any(|channel| channels(&other.3).contains(channel))
    };
    let pairs: Vec<_> = got
        .windows(2)
        .filter(|pair| comparable(&pair[0], &pair[1]))
        .map(|pair| (pair[0].clone(), pair[1].clone()))
        .collect();
    let Some(((client, one, ..), (_, other, ..))) = pick(&pairs, dice) else { return false };
    let lines = &mut history.clients[client].lines;
    let what = lines[one].what.clone();
    lines[one].what = lines[other].what.clone();
    lines[other].what = what;
    true
}

fn change_data(history: &mut History, dice: &mut Dice) -> bool {
    let Some((client, at, id, data)) = pick(&got_in_the_end(history), dice) else { return false };
    history.clients[client].lines[at].what = What::Event { id, data: format!("{data}?") };
    true
}

fn change_number(history: &mut History, dice: &mut Dice) -> bool {
    let numbered: Vec<_> =
        got_in_the_end(history).into_iter().filter(|(_, _, id, _)| !id.starts_with("own:")).collect();
    let Some((client, at, id, data)) = pick(&numbered, dice) else { return false };
    let (epoch, number) = id.rsplit_once('-').unwrap();
    let id = format!("{epoch}-{}", number.parse::<u64>().unwrap() + 1);
    history.clients[client].lines[at].what = What::Event { id, data };
    true
}

fn forget_in_the_log(history: &mut History, dice: &mut Dice) -> bool {
    let full: Vec<_> = (0..history.readbacks.len()).collect();
    let Some(readback) = pick(&full, dice) else { return false };
    let entries = &mut history.readbacks[readback].entries;
    let victim = dice.below(entries.len());
    entries.remove(victim);
    true
}

fn forget_everywhere(history: &mut History, dice: &mut Dice) -> bool {
    let readback = history.readbacks[dice.below(history.readbacks.len())].clone();
    let (_, data) = readback.entries[dice.below(readback.entries.len())].clone();
    history.readbacks.iter_mut().for_each(|readback| readback.entries.retain(|(_, kept)| *kept != data));
    for client in &mut history.clients {
        client.lines.retain(|line| !matches!(&line.what, What::Event { data: got, .. } if *got == data));
    }
    true
}

fn tell_a_gap(history: &mut History, dice: &mut Dice) -> bool {
    let last = history.lives.len() - 1;
    let comes_back = |line: &Line| {
        let What::Connected { life, last_event_id: Some(id) } = &line.what else { return false };
        // An id of this log, and of an event, not of the place where a gap left the client.
        *life == last && !id.ends_with("-0")
    };
    let mut found = Vec::new();
    for (client, lines) in history.clients.iter().map(|client| &client.lines).enumerate() {
        for (at, line) in lines.iter().enumerate() {
            let is_told = lines.get(at + 1).is_some_and(|next| matches!(next.what, What::Gap { .. }));
            // What comes after it must come in this connection, or it may have been missing.
            let is_last = !lines[at + 1..].iter().any(|line| matches!(line.what, What::Connected { .. }));
            if comes_back(line) && !is_told && is_last {
                found.push((client, at));
            }
        }
    }
    let Some((client, at)) = pick(&found, dice) else { return false };
    let lines = &mut history.clients[client].lines;
    let gap = Line { at: lines[at].at, what: What::Gap { reason: "trimmed".into() } };
    lines.insert(at + 1, gap);
    true
}

fn acknowledge_again(history: &mut History, dice: &mut Dice) -> bool {
    let mut again: Vec<_> = history.sends.iter().filter(|sent| sent.reply.is_some()).cloned().collect();
    let last = history.lives.len() - 1;
    again.retain(|sent| sent.life == last);
    let Some(mut sent) = pick(&again, dice) else { return false };
    let Some(reply) = &mut sent.reply else { return false };
    if let Said::Ok { duplicate, .. } = &mut reply.said {
        *duplicate = false;
    }
    history.sends.push(sent);
    true
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn a_clean_history_passes(seed: u64, is_durable: bool) {
        let verdict = check(&history(seed, is_durable));

        prop_assert!(verdict.is_clean(), "{verdict}");
    }

    #[test]
    fn no_single_change_goes_unnoticed(seed: u64, is_durable: bool, change in 0..CHANGES.len()) {
        let mut history = history(seed, is_durable);
        let mut dice = Dice::new(seed ^ 0xfa);

        // Not every change can be made to every history; the last of them can.
        let mut changes = CHANGES.iter().cycle().skip(change);
        let made = changes.find(|(_, make, _)| make(&mut history, &mut dice));
        let (what, _, names) = made.expect("one of them can be made");
        let verdict = check(&history);

        prop_assert!(names.iter().any(|class| verdict.has(*class)), "{what}: {verdict}");
    }
}
