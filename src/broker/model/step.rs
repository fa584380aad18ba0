//! What may happen: the steps of a history, and how they are drawn.

use proptest::prelude::*;

use super::plain::{CHANNELS, Rules, STATE};
use crate::broker::Role;

/// A history: the conditions it runs under, and what happens.
#[derive(Clone, Debug)]
pub(super) struct History {
    pub(super) rules: Rules,
    /// Where the log lives.
    pub(super) on_disk: bool,
    /// Whether an acknowledgement waits for the disk, until a restart says otherwise.
    pub(super) stored: bool,
    /// How many of the newest entries are at hand for live readers.
    pub(super) recent: usize,
    pub(super) max_channels: usize,
    pub(super) steps: Vec<Step>,
}

impl std::fmt::Display for History {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { rules, on_disk, stored, recent, max_channels, steps } = self;
        writeln!(
            f,
            "{rules:?}, on_disk: {on_disk}, stored: {stored}, recent: {recent}, max_channels: {max_channels}"
        )?;
        steps.iter().try_for_each(|step| writeln!(f, "  {step:?}"))
    }
}

/// Something happens. Clients are named by their place, counted round.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// Several at once are on their way together.
    Publish(Vec<Sent>),
    Subscribe {
        channels: Vec<usize>,
        from: Start,
        role: Role,
        /// Accepted as anna, by a question that was asked so many places ago.
        as_anna: Option<u64>,
        /// Whether somebody reads for it at once.
        adopted: bool,
    },
    /// From now on somebody reads for a client.
    Adopt(usize),
    /// A client is handed at most so many events; if it has fallen behind, it is moved on or cut off.
    Read {
        client: usize,
        portion: usize,
        skips: bool,
    },
    /// A client's connection ends. It keeps the last id it has seen.
    Cut(usize),
    /// One that was cut off comes back.
    Resume(usize),
    /// So many milliseconds pass.
    Pass(u64),
    /// Somebody sets the clock on the wall by so many milliseconds.
    SetClock(i64),
    /// Other limits are configured.
    Keep(usize),
    /// The disk, as it is now, is what a kill will leave of it while acknowledgements do not wait for it.
    Sync,
    Restart {
        killed: bool,
        stored: bool,
    },
}

/// What a publisher sends.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    pub(super) channels: Vec<usize>,
    pub(super) event: bool,
    /// Thousands of bytes.
    pub(super) weight: usize,
    pub(super) own_id: Option<u8>,
    pub(super) dedupe: Option<u8>,
    pub(super) ttl: Option<u64>,
    pub(super) close: bool,
    pub(super) disconnects_anna: bool,
}

/// Where a client begins.
#[derive(Clone, Debug)]
pub(super) enum Start {
    Live,
    All,
    Newest(usize),
    Unseen,
    /// After the event of this number, in the current epoch (0) or an earlier one.
    After {
        epochs_ago: usize,
        number: u64,
    },
    /// After an event with this id of its publisher's.
    Own(u8),
    Nonsense,
}

const SECOND: u64 = 1000;
const YEAR: i64 = 365 * 24 * 3600 * 1000;

fn some_channels() -> impl Strategy<Value = Vec<usize>> {
    let all: Vec<_> = (0..CHANNELS).collect();
    prop_oneof![
        3 => (0..CHANNELS).prop_map(|channel| vec![channel]),
        2 => prop::sample::subsequence(all, 1..=3).prop_shuffle(),
    ]
}

fn sent() -> impl Strategy<Value = Sent> {
    let event = (some_channels(), 1usize..=3, prop::option::weighted(0.3, 0u8..3));
    let ttl = prop_oneof![Just(0), Just(SECOND), Just(5 * SECOND), Just(1 << 40)];
    let rare = (
        prop::option::weighted(0.3, 0u8..4),
        prop::option::weighted(0.2, ttl),
        prop::bool::weighted(0.15),
        prop::bool::weighted(0.07),
        prop::bool::weighted(0.9),
    );
    (event, rare).prop_map(|((channels, weight, own_id), (dedupe, ttl, close, disconnects_anna, event))| {
        Sent { channels, event, weight, own_id, dedupe, ttl, close, disconnects_anna }
    })
}

fn start() -> impl Strategy<Value = Start> {
    prop_oneof![
        2 => Just(Start::Live),
        2 => Just(Start::All),
        2 => (0usize..4).prop_map(Start::Newest),
        3 => Just(Start::Unseen),
        4 => (0usize..2, 0u64..30).prop_map(|(epochs_ago, number)| Start::After { epochs_ago, number }),
        2 => (0u8..4).prop_map(Start::Own),
        1 => Just(Start::Nonsense),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let clock = prop_oneof![
        -10 * YEAR..10 * YEAR,
        -10_000i64..10_000,
        Just(-24 * 3600 * 1000i64),
        Just(24 * 3600 * 1000i64),
    ];
    let role = prop_oneof![4 => Just(Role::Listener), 1 => Just(Role::Onlooker)];
    prop_oneof![
        9 => prop_oneof![
            4 => sent().prop_map(|one| vec![one]),
            1 => prop::collection::vec(sent(), 2..4),
        ].prop_map(Step::Publish),
        4 => (some_channels(), start(), role, prop::option::weighted(0.3, 0u64..4), prop::bool::weighted(0.7))
            .prop_map(|(channels, from, role, as_anna, adopted)| {
                Step::Subscribe { channels, from, role, as_anna, adopted }
            }),
        2 => (0usize..8).prop_map(Step::Adopt),
        6 => (any::<prop::sample::Index>(), 1usize..4, any::<bool>())
            .prop_map(|(client, portion, skips)| Step::Read { client: client.index(8), portion, skips }),
        2 => (0usize..8).prop_map(Step::Cut),
        3 => (0usize..8).prop_map(Step::Resume),
        2 => prop_oneof![1u64..3 * SECOND, Just(3600 * SECOND)].prop_map(Step::Pass),
        1 => clock.prop_map(Step::SetClock),
        1 => (1usize..5).prop_map(Step::Keep),
        1 => Just(Step::Sync),
        1 => (any::<bool>(), any::<bool>()).prop_map(|(killed, stored)| Step::Restart { killed, stored }),
    ]
}

/// Histories in memory, or on disk.
pub(super) fn histories(on_disk: bool) -> impl Strategy<Value = History> {
    let rules = (
        1usize..5,
        prop_oneof![Just(usize::MAX), 3usize..6],
        prop_oneof![Just(usize::MAX), 4usize..10],
        prop_oneof![Just(u64::MAX), Just(2 * SECOND), Just(60 * SECOND)],
        prop_oneof![Just(0), Just(2 * SECOND), Just(120 * SECOND)],
    )
        .prop_map(|(most, weight, total, age, window)| Rules { most, weight, total, age, window });
    let recent = prop_oneof![Just(0usize), 1usize..6, Just(8192)];
    let max_channels = prop_oneof![3 => Just(1000), 1 => 3usize..=CHANNELS];
    let steps = prop::collection::vec(step(), 1..60);
    (rules, any::<bool>(), recent, max_channels, steps).prop_map(
        move |(rules, stored, recent, max_channels, steps)| History {
            rules,
            on_disk,
            stored,
            recent,
            max_channels,
            steps,
        },
    )
}

/// The name of a channel. The one that keeps a state has a rule of its own.
pub(super) fn name(channel: usize) -> &'static str {
    if channel == STATE { "state" } else { ["a", "b", "c", "d"][channel] }
}
