//! The log against a model of it: random publishes, subscribes, cuts, trims, restarts and clock steps,
//! each history on the real broker and on some hundred lines of lists.

/// Ends a check with what is wrong; the first word names the kind of fault.
macro_rules! ensure {
    ($holds:expr, $($what:tt)+) => {
        if !$holds {
            return Err(format!($($what)+).into());
        }
    };
}

mod client;
#[path = "../../../tests/durability/dice.rs"]
#[allow(dead_code, reason = "the tests beside it throw them too")]
mod dice;
mod fault;
mod found;
mod plain;
#[path = "../../../tests/durability/results.rs"]
mod results;
mod rig;
mod step;
mod tally;

use std::cell::Cell;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};

use self::fault::Fault;
use self::rig::run;
use self::step::histories;
use self::tally::Tally;

type Verdict = Result<(), String>;

/// How many histories are a share for each run of all tests.
const SHARE: usize = 1000;
/// Every so manieth history is on disk.
const ON_DISK: u64 = 5;

/// The history that a seed stands for; if something is wrong with it, the shortest one that shows it.
fn check(seed: u64, on_disk: bool, fault: Option<Fault>) -> Result<Tally, (String, String)> {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let config = Config { failure_persistence: None, max_shrink_iters: 20_000, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, rng);
    let tree = histories(on_disk).new_tree(&mut runner).unwrap();
    let (tally, has_failed) = (Cell::new(Tally::default()), Cell::new(false));
    let checked = runner.run_one(tree, |history| {
        // What is on disk at a kill depends a little on the writer's pace.
        let tries = if has_failed.get() && on_disk { 3 } else { 1 };
        for _ in 0..tries {
            let ran = run(&history, fault).inspect_err(|_| has_failed.set(true));
            tally.set(ran.map_err(TestCaseError::fail)?);
        }
        Ok(())
    });
    match checked {
        Ok(_) => Ok(Tally { histories: 1, on_disk: on_disk.into(), ..tally.get() }),
        Err(TestError::Fail(why, history)) => Err((why.to_string(), history.to_string())),
        Err(TestError::Abort(why)) => panic!("{why}"),
    }
}

/// Checks so many histories, on all cores.
fn check_all(seed: u64, count: u64) -> Tally {
    let (next, sum) = (AtomicU64::new(0), Mutex::new(Tally::default()));
    let work = || {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= count {
                return;
            }
            let seed = seed + number;
            match check(seed, seed.is_multiple_of(ON_DISK), None) {
                Ok(tally) => *sum.lock().unwrap() += tally,
                Err((why, history)) => {
                    next.store(count, Ordering::Relaxed);
                    panic!("{why}\nOUTBOARD_SEED={seed} OUTBOARD_HISTORIES=1\n{history}");
                }
            }
            if (number + 1) % 10_000 == 0 {
                println!("{} histories", number + 1);
            }
        }
    };
    std::thread::scope(|scope| {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        (0..cores).for_each(|_| drop(scope.spawn(work)));
    });
    sum.into_inner().unwrap()
}

#[test]
fn the_log_does_what_the_model_does() {
    let count = results::number("OUTBOARD_HISTORIES", SHARE) as u64;
    let seed = dice::seed();

    let tally = check_all(seed, count);

    results::report("The log and its model", seed, &tally.lines());
}

#[test]
fn each_kind_of_fault_is_found() {
    for fault in
        [Fault::Hole, Fault::SilentGap, Fault::Duplicate, Fault::Reorder, Fault::FalseGap, Fault::NoEnd]
    {
        let found = (0..1000).find_map(|seed| check(seed, false, Some(fault)).err());

        let (why, history) = found.unwrap_or_else(|| panic!("{fault:?} goes unnoticed"));
        assert!(why.starts_with(fault.word()), "{fault:?} is taken for something else: {why}");
        println!("{fault:?}: {why}\n{history}");
    }
}
