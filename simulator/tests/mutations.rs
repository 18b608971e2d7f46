//! The simulator itself is tested: it finds every mistake that can be made on purpose.

use sakia_simulator::{Mutation, sweep, threads};

/// A mistake that needs more seeds is a hole in what is checked.
const SEEDS: u64 = 2_000;

#[test]
fn every_mistake_is_found() {
    let mut unseen = Vec::new();
    for mutation in Mutation::ALL {
        let sum = sweep(0..SEEDS, threads(), Some(*mutation), 1);
        match sum.broken.first() {
            Some(report) => {
                let what = report.violation.as_deref().unwrap_or_default();
                println!("{mutation:?}: seed {}: {what:.120}", report.seed);
            }
            None => unseen.push(mutation),
        }
    }
    assert!(unseen.is_empty(), "{SEEDS} seeds do not find {unseen:?}");
}
