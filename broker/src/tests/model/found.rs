//! The test of the tests: each deliberate mistake is noticed.
use super::{groups, run};
use crate::mistake::{self, Mistake};

/// A mistake that is not noticed by then is a hole in the model.
const SEEDS: u64 = 1000;
const KILLED_SEEDS: u64 = 3;

fn is_noticed(seed: u64) -> bool {
    run(seed, None).is_err() || groups::run(seed).is_err()
}

/// With the broker killed at each write of a few runs.
fn is_noticed_after_a_kill(seed: u64) -> bool {
    match run(seed, None) {
        Ok(writes) => (0..writes).any(|count| run(seed, Some(count)).is_err()),
        Err(_) => true,
    }
}

#[test]
fn every_deliberate_mistake_is_noticed() {
    let mut unnoticed = Vec::new();
    for made in Mistake::ALL {
        let first = mistake::with(*made, || {
            (0..SEEDS)
                .find(|seed| is_noticed(*seed) || (*seed < KILLED_SEEDS && is_noticed_after_a_kill(*seed)))
        });
        tracing::info!(?made, ?first, "noticed");
        if first.is_none() {
            unnoticed.push(*made);
        }
    }
    assert!(unnoticed.is_empty(), "not noticed within {SEEDS} seeds: {unnoticed:?}");
}
