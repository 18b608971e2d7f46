//! The broker against a small model of Kafka: random requests through its handlers, the same answers and the
//! same readers' views expected of both, and the broker killed at every one of its writes.
//!
//! The model was written from Kafka's behaviour and not from the broker: it keeps everything that was ever
//! written and works each answer out anew. A seed that fails is run again by the command that it prints.
mod check;
mod found;
mod groups;
mod ids;
mod log;
mod requests;
mod world;

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use world::World;

pub(crate) const TIMEOUT_MS: i32 = 60_000;
const STEPS: usize = 120;
const SEEDS: &str = "SAKIA_BROKER_SEEDS";
const SEED: &str = "SAKIA_BROKER_SEED";
const KILL: &str = "SAKIA_BROKER_KILL";

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().and_then(|text| text.parse().ok())
}

/// Runs the seed, with the broker killed before a write if one is named; gives what is wrong, and how many
/// writes there were.
fn run(seed: u64, kill_after: Option<u64>) -> Result<u64, String> {
    let mut world = World::new(seed);
    if let Some(count) = kill_after {
        world.node.store.kill_after(count);
    }
    let first = world.node.store.clone();
    let ran = catch_unwind(AssertUnwindSafe(|| {
        for _ in 0..STEPS {
            world.step();
        }
        world.check();
    }));
    ran.map(|()| first.written())
        .map_err(|panic| format!("{}\n{}", world.trace.join("\n"), reason(panic.as_ref())))
}

/// What an assertion said.
fn reason(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned())).unwrap_or_default()
}

fn fail(seed: u64, kill_after: Option<u64>, what: &str) -> ! {
    let kill = kill_after.map(|count| format!(" {KILL}={count}")).unwrap_or_default();
    panic!("{what}\n\nagain: {SEED}={seed}{kill} cargo test -p sakia-broker --lib model::");
}

/// The seed that the environment asks for, or as many as it asks for; `usual` is this test's share of 1000.
fn seeds(usual: u64) -> std::ops::Range<u64> {
    match number(SEED) {
        Some(seed) => seed..seed + 1,
        None => 0..usual * number(SEEDS).unwrap_or(1000) / 1000,
    }
}

#[test]
fn random_requests_are_answered_as_kafka_answers_them() {
    for seed in seeds(1000) {
        if let Err(what) = run(seed, None) {
            fail(seed, None, &what);
        }
    }
}

#[test]
fn a_kill_at_any_write_loses_nothing_acknowledged_and_leaves_nothing_half_done() {
    for seed in seeds(6) {
        let writes = run(seed, None).unwrap_or_else(|what| fail(seed, None, &what));
        let kills = number(KILL).map_or(0..writes, |count| count..count + 1);
        for count in kills {
            if let Err(what) = run(seed, Some(count)) {
                fail(seed, Some(count), &what);
            }
        }
    }
}
