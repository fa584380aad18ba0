//! What the histories came to.

/// So many of each.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    pub(super) histories: u64,
    pub(super) on_disk: u64,
    pub(super) published: u64,
    pub(super) delivered: u64,
    pub(super) resumed: u64,
    pub(super) gaps: u64,
    pub(super) cautious_gaps: u64,
    pub(super) fallen: u64,
    pub(super) closed: u64,
    pub(super) disconnected: u64,
    pub(super) clock_steps: u64,
    pub(super) restarts: u64,
    pub(super) disk_restarts: u64,
    pub(super) kills: u64,
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.histories += other.histories;
        self.on_disk += other.on_disk;
        self.published += other.published;
        self.delivered += other.delivered;
        self.resumed += other.resumed;
        self.gaps += other.gaps;
        self.cautious_gaps += other.cautious_gaps;
        self.fallen += other.fallen;
        self.closed += other.closed;
        self.disconnected += other.disconnected;
        self.clock_steps += other.clock_steps;
        self.restarts += other.restarts;
        self.disk_restarts += other.disk_restarts;
        self.kills += other.kills;
    }
}

impl Tally {
    /// As lines for people.
    pub(super) fn lines(&self) -> Vec<String> {
        vec![
            format!("{} histories, {} of them with the store on disk", self.histories, self.on_disk),
            format!(
                "{} events published, {} deliveries, {} clients resumed after a cut",
                self.published, self.delivered, self.resumed
            ),
            format!(
                "{} streams ended at a close and {} at a disconnect, each once and at its place",
                self.closed, self.disconnected
            ),
            format!(
                "{} restarts in memory, {} on disk, {} kills; {} clock steps",
                self.restarts, self.disk_restarts, self.kills, self.clock_steps
            ),
            format!(
                "{} gaps told where something was missing, {} where another channel of the client still held it \
                 or its channel had been forgotten; {} slow clients cut off or moved on",
                self.gaps, self.cautious_gaps, self.fallen
            ),
            "0 holes, 0 duplicates, 0 false gaps, 0 reordered, 0 phantoms, 0 lost across a restart"
                .to_owned(),
        ]
    }
}
