//! Thousands of simulations. A seed that breaks a promise prints the command that runs it again.

use sakia_simulator::{run, sweep, threads};

const SEEDS: u64 = 5_000;

#[test]
fn five_thousand_seeds_keep_every_promise_and_see_every_kind_of_bad_luck() {
    let sum = sweep(0..SEEDS, threads(), None, 3);
    let broken: Vec<String> = (sum.broken.iter())
        .map(|report| {
            let what = report.violation.as_deref().unwrap_or_default();
            format!("{what}\n  again: cargo run -q -p sakia-simulator -- --seed {}", report.seed)
        })
        .collect();
    println!("{}", broken.join("\n"));
    assert!(broken.is_empty(), "{} seeds broke a promise, see above", broken.len());
    assert_eq!(sum.seeds, SEEDS);
    let never: Vec<_> = sum.faults.iter().filter(|(_, count)| **count == 0).collect();
    assert!(never.is_empty(), "these never happened, so nothing is known about them: {never:?}");
    assert!(sum.checkpoints > SEEDS && sum.appends > SEEDS, "hardly anything happened");
}

#[test]
fn the_same_seed_gives_the_same_events() {
    for seed in [3, 77, 1_234] {
        let (first, second) = (run(seed), run(seed));
        assert_eq!(first.events, second.events);
        assert_eq!(first.fingerprint, second.fingerprint);
    }
    assert_ne!(run(1).fingerprint, run(2).fingerprint);
}
