//! `kill -9` at any moment, also while it starts.

use std::time::{Duration, Instant};

use crate::checker::{Class, History, Said, Verdict, What, check};
use crate::dice::{Dice, seed};
use crate::load::{Load, read_back};
use crate::results::{number, report};
use crate::rig::{Rig, Store};

/// So many kills of one log, then it is read back and checked; longer runs are several of these.
const KILLS: usize = 25;

/// What was seen in runs, added up.
#[derive(Default)]
struct Figures {
    kills: usize,
    published: usize,
    acknowledged: usize,
    retried: usize,
    duplicates: usize,
    received: usize,
    connections: usize,
    gaps: usize,
}

impl Figures {
    fn add(&mut self, history: &History) {
        self.kills += history.lives.len() - 1;
        let mut seen = std::collections::HashSet::new();
        for sent in &history.sends {
            if seen.insert(&sent.data) {
                self.published += 1;
            } else {
                self.retried += 1;
            }
            if let Some(Said::Ok { duplicate, .. }) = sent.reply.as_ref().map(|reply| &reply.said) {
                self.acknowledged += 1;
                self.duplicates += usize::from(*duplicate);
            }
        }
        for line in history.clients.iter().flat_map(|client| &client.lines) {
            match line.what {
                What::Event { .. } => self.received += 1,
                What::Connected { .. } => self.connections += 1,
                What::Gap { .. } => self.gaps += 1,
                What::Ended => {}
            }
        }
    }

    fn lines(&self) -> Vec<String> {
        vec![
            format!("{} kills at random moments of 0 to 2 s", self.kills),
            format!(
                "{} events acknowledged; {} sent again after a kill, {} of which had been stored before",
                self.acknowledged, self.retried, self.duplicates
            ),
            format!(
                "{} deliveries over {} connections; {} gaps told",
                self.received, self.connections, self.gaps
            ),
        ]
    }
}

/// Loads the program, kills it so often, and returns all that was seen up to the very end.
fn killed(store: Store, kills: usize, dice: &mut Dice) -> History {
    let rig = Rig::new(store);
    let mut process = rig.spawn(&[]);
    let load = Load::start(&rig, dice);
    for _ in 0..kills {
        std::thread::sleep(Duration::from_millis(dice.below(2000) as u64));
        process.kill();
        load.run.begin_life(store == Store::Disk("stored"));
        process = rig.spawn(&[]);
    }
    rig.wait_until_up(&process);
    let run = std::sync::Arc::clone(&load.run);
    let mut history = load.finish(&rig);
    read_back(&mut history, &rig, run.life(), || run.now());
    history
}

fn assert_clean(verdict: &Verdict, history: &History, seed: u64) {
    if !verdict.is_clean() {
        let file = std::env::temp_dir().join(format!("outboard-history-{seed}.txt"));
        std::fs::write(&file, format!("{verdict}\n{history:#?}")).unwrap();
        panic!("with OUTBOARD_SEED={seed} (all of it is in {}):\n{verdict}", file.display());
    }
}

/// 20 kills; `OUTBOARD_KILLS=1000` for so many.
#[test]
fn what_was_stored_survives_kills_and_clients_resume_across_them() {
    let seed = seed();
    let mut dice = Dice::new(seed);
    let (mut left, mut figures, begun) = (number("OUTBOARD_KILLS", 20), Figures::default(), Instant::now());

    while left > 0 {
        let kills = left.min(KILLS);
        let history = killed(Store::Disk("stored"), kills, &mut dice);
        let verdict = check(&history);
        figures.add(&history);
        assert_clean(&verdict, &history, seed);
        left -= kills;
        println!("{} kills, {} s", figures.kills, begun.elapsed().as_secs());
    }

    assert!(figures.acknowledged > 50 * figures.kills, "too little was published to mean anything");
    assert_eq!(figures.gaps, 0, "an undamaged log has no gaps");
    let mut lines = figures.lines();
    lines.push("0 stored events lost, 0 doubled, 0 reordered, 0 unflagged holes, 0 false gaps, 0 clients ahead of the log".into());
    report("Kill loop, `durability = \"stored\"`", seed, &lines);
}

#[test]
fn a_log_in_memory_begins_anew_after_a_kill_and_every_client_is_told() {
    let seed = seed();

    let history = killed(Store::Memory, 5, &mut Dice::new(seed));

    let verdict = check(&history);
    assert_clean(&verdict, &history, seed);
    let mut figures = Figures::default();
    figures.add(&history);
    assert!(figures.gaps > 0, "clients with ids of a former log are told of a gap");
    assert!(!verdict.has(Class::Lost));
}

#[test]
fn a_log_that_only_accepts_begins_a_new_epoch_after_a_kill_and_keeps_what_it_has() {
    let seed = seed();

    let history = killed(Store::Disk("accepted"), 5, &mut Dice::new(seed));

    assert_clean(&check(&history), &history, seed);
    let mut figures = Figures::default();
    figures.add(&history);
    assert!(figures.gaps > 0, "what was accepted may be gone, and clients are told");
}
