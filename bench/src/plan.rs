//! What is measured on whom, and how long.

use crate::client::Work;
use std::time::Duration;

/// Steps of a chain and children of a fan.
pub(crate) const STEPS: u32 = 10;

/// A closed loop: each result starts the next.
#[derive(Clone, Copy)]
pub(crate) struct Closed {
    /// Its name in the report.
    pub(crate) name: &'static str,
    /// What the app starts.
    pub(crate) work: Work,
    /// What a peer's load calls the same.
    pub(crate) peer_work: &'static str,
    /// How many at any time.
    pub(crate) in_flight: usize,
    /// In words.
    pub(crate) about: &'static str,
}

const fn closed(
    name: &'static str,
    work: Work,
    peer_work: &'static str,
    in_flight: usize,
    about: &'static str,
) -> Closed {
    Closed { name, work, peer_work, in_flight, about }
}

/// All closed loops.
pub(crate) const CLOSED: &[Closed] = &[
    closed("E1", Work::Empty, "empty", 1, "empty workflow, one at a time"),
    closed("E64", Work::Empty, "empty", 64, "empty workflow, 64 in flight"),
    closed("E512", Work::Empty, "empty", 512, "empty workflow, 512 in flight"),
    closed("C1", Work::Chain(STEPS), "chain", 1, "ten steps, one at a time"),
    closed("C64", Work::Chain(STEPS), "chain", 64, "ten steps, 64 in flight"),
    closed("C512", Work::Chain(STEPS), "chain", 512, "ten steps, 512 in flight"),
    closed("F1", Work::Fan(STEPS), "fan", 1, "ten children and join, one at a time"),
    closed("F16", Work::Fan(STEPS), "fan", 16, "ten children and join, 16 in flight"),
    closed("S64", Work::Signal, "signal", 64, "start, signal, result; 64 in flight"),
];

/// Everything else, with what needs `--long`.
pub(crate) const OTHERS: &[(&str, bool)] = &[
    ("step", false),
    ("T", false),
    ("K", false),
    ("R", false),
    ("L", false),
    ("X", false),
    ("T1M", true),
    ("M", true),
    ("D", true),
    ("Z", true),
];

/// The app on a real broker with its defaults.
pub(crate) const SAKIA: &str = "sakia";
/// The app on a real broker that flushes each message to disk.
pub(crate) const FLUSHED: &str = "sakia-flushed";
/// The app on the embedded broker.
pub(crate) const EMBEDDED: &str = "sakia-embedded";
/// The one to beat.
pub(crate) const RESTATE: &str = "restate";
/// Temporal.
pub(crate) const TEMPORAL: &str = "temporal";
/// A workflow by hand on Kafka Streams.
pub(crate) const STREAMS: &str = "kafka-streams";

/// All peers.
pub(crate) const PEERS: &[&str] = &[RESTATE, TEMPORAL, STREAMS];

/// Whether a side runs a closed loop: what a side cannot do, or takes minutes for, is left out.
pub(crate) fn runs(side: &str, workload: &str) -> bool {
    match side {
        FLUSHED | EMBEDDED => ["E64", "C1", "C64"].contains(&workload),
        TEMPORAL => ["E64", "C1", "C64", "F16", "S64"].contains(&workload),
        STREAMS => ["C1", "C64", "C512"].contains(&workload),
        _ => true,
    }
}

/// Ramp and measured length. Where a workflow takes seconds, three seconds hold too few.
pub(crate) fn lengths(side: &str) -> (Duration, Duration) {
    match side {
        TEMPORAL => (Duration::from_secs(2), Duration::from_secs(6)),
        STREAMS => (Duration::from_secs(2), Duration::from_secs(4)),
        _ => (Duration::from_secs(1), Duration::from_secs(3)),
    }
}
