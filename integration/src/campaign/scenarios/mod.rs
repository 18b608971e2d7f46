//! The faults, one scenario per file. Each is played alone by `campaign --scenario NAME`.

mod answers;
mod broker_kill;
mod broker_pause;
mod calm;
mod clock;
mod commit_kill;
mod disk;
mod disk_full;
mod kafka_away;
mod late_commit;
mod network;
mod partition;
mod poison;
mod stale_store;
mod storm;
mod timer_bomb;
mod timer_million;
mod worker_kill;
mod worker_pause;
mod worker_stop;

use super::stage::Stage;
use anyhow::Result;
use rand::Rng;
use rand::seq::SliceRandom;
use std::time::Duration;

/// One kind of attack.
pub struct Scenario {
    /// Its name.
    pub name: &'static str,
    /// What it does, in a line.
    pub what: &'static str,
    /// How often it is in each deck. 0: in the first one only, and only in long runs unless it is named.
    pub weight: usize,
    /// The kinds of faults that it must have made by the end of a run, or the run proves nothing.
    pub kinds: &'static [&'static str],
    /// Why it cannot be played here, if so.
    pub missing: fn(&Stage) -> Option<String>,
    /// Plays it. What it breaks it mends.
    pub play: fn(&mut Stage) -> Result<()>,
}

impl Scenario {
    /// It takes minutes: it is played once, only in long runs or by name, and its time comes on top of theirs.
    pub fn is_long(&self) -> bool {
        self.weight == 0
    }
}

/// All scenarios.
pub const ALL: &[&Scenario] = &[
    &calm::SCENARIO,
    &worker_kill::SCENARIO,
    &worker_stop::SCENARIO,
    &worker_pause::SCENARIO,
    &worker_pause::LONG,
    &broker_kill::SCENARIO,
    &broker_pause::SCENARIO,
    &commit_kill::SCENARIO,
    &kafka_away::SCENARIO,
    &kafka_away::LONG,
    &answers::SCENARIO,
    &late_commit::SCENARIO,
    &network::SCENARIO,
    &partition::SCENARIO,
    &storm::SCENARIO,
    &disk::WIPE,
    &disk::FLIP,
    &disk_full::SCENARIO,
    &stale_store::SCENARIO,
    &clock::SCENARIO,
    &timer_bomb::SCENARIO,
    &timer_million::SCENARIO,
    &poison::SCENARIO,
];

/// Nothing is missing.
fn nothing(_: &Stage) -> Option<String> {
    None
}

/// There is a proxy before every broker.
fn no_proxy(stage: &Stage) -> Option<String> {
    stage.links.iter().any(Vec::is_empty).then(|| "the embedded broker cannot be led through a proxy".into())
}

/// How many workers there are.
fn count(stage: &Stage) -> u16 {
    u16::try_from(stage.workers.len()).unwrap_or(u16::MAX)
}

/// Every scenario as often as its weight says, in the first round once, in an order drawn from the seed.
pub fn deck(stage: &mut Stage, chosen: &[&'static Scenario], first: bool) -> Vec<&'static Scenario> {
    let times = |s: &Scenario| if first { 1 } else { s.weight };
    let mut deck: Vec<_> = chosen.iter().flat_map(|s| std::iter::repeat_n(*s, times(s))).collect();
    deck.shuffle(&mut stage.rng);
    deck
}

/// Leaves something broken for so long and mends it, also when the run is cut short meanwhile.
fn leave_broken(
    stage: &mut Stage,
    kind: &'static str,
    target: &str,
    length: Duration,
    mend: impl FnOnce(&mut Stage) -> Result<()>,
) -> Result<()> {
    stage.faults.did(kind, target, length);
    let passed = stage.pass(length);
    mend(stage)?;
    passed
}

/// A length between two, in milliseconds.
fn draw_ms(stage: &mut Stage, range: std::ops::Range<u64>) -> Duration {
    Duration::from_millis(stage.rng.random_range(range))
}

/// One of the workers.
fn draw_worker(stage: &mut Stage) -> usize {
    let count = stage.workers.len();
    stage.rng.random_range(0..count)
}

/// One of the brokers.
fn draw_broker(stage: &mut Stage) -> u16 {
    let count = stage.brokers.count();
    stage.rng.random_range(0..count)
}
