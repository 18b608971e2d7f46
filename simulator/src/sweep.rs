//! Many simulations: seeds are independent, so they run on all cores, each in one thread.

use crate::run::{Report, run};
use sakia::lane::{Mutation, mutate};
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
    /// Seeds in which a late EndTxn tore a transaction.
    pub torn: u64,
    /// Those that broke a promise, by seed.
    pub broken: Vec<Report>,
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
            sum.seeds += 1;
            sum.checkpoints += report.checkpoints;
            sum.appends += report.appends;
            sum.torn += u64::from(report.torn);
            if report.violation.is_some() {
                sum.broken.push(report);
                enough.store(sum.broken.len() >= most, Ordering::Relaxed);
            }
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
