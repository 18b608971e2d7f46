//! Many simulations: seeds are independent, so they run on all cores, each in one thread.

use crate::run::{Report, run};
use sakia::core::mutation::{Mutation, mutate};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

/// What many simulations came to.
#[derive(Debug, Default)]
pub struct Sweep {
    /// Seeds that were run.
    pub seeds: u64,
    /// Checkpoints that were committed in all of them.
    pub checkpoints: u64,
    /// Journal records that became durable.
    pub appends: u64,
    /// How often each kind of bad luck happened.
    pub faults: BTreeMap<&'static str, u64>,
    /// Those that broke a promise, by seed.
    pub broken: Vec<Report>,
}

/// Words of the event log by which bad luck is counted.
const FAULTS: &[&str] = &[
    "a request of process",
    "an answer to process",
    "crashes",
    "is stopped",
    "gives up",
    "is stale",
    "is empty",
    "is full",
    "its acknowledgement is lost",
    "is refused: Fenced",
    "the broker restarts",
    "it forgets the markers",
    "SAKIA-L07",
    "is unreadable",
    "was open too long",
    "is trimmed",
    "compaction takes",
    "hits: true",
    "may come once more",
    "that is none",
    "by a wrong partitioner",
];

impl Sweep {
    fn add(&mut self, report: Report) {
        self.seeds += 1;
        self.checkpoints += report.checkpoints;
        self.appends += report.appends;
        for fault in FAULTS {
            let count = report.events.iter().filter(|line| line.contains(fault)).count();
            *self.faults.entry(fault).or_default() += count as u64;
        }
        if report.violation.is_some() {
            self.broken.push(report);
        }
    }
}

/// Runs seeds on so many threads. With a mutation, every lane makes that mistake. Ends early after `most` that broke a
/// promise.
pub fn sweep(seeds: Range<u64>, threads: usize, mutation: Option<Mutation>, most: usize) -> Sweep {
    let next = AtomicU64::new(seeds.start);
    let enough = AtomicBool::new(false);
    let sum = Mutex::new(Sweep::default());
    let work = || {
        mutate(mutation);
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end || enough.load(Ordering::Relaxed) {
                break;
            }
            let report = run(seed);
            let mut sum = sum.lock().expect("a simulation does not panic");
            sum.add(report);
            enough.store(sum.broken.len() >= most, Ordering::Relaxed);
        }
        mutate(None);
    };
    thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(work);
        }
    });
    let mut sum = sum.into_inner().expect("a simulation does not panic");
    sum.broken.sort_by_key(|report| report.seed);
    sum
}

/// Threads for a sweep: one for each core.
pub fn threads() -> usize {
    thread::available_parallelism().map_or(2, usize::from)
}
