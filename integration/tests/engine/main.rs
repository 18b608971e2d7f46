//! The engine as a black box: real processes on the broker under test, killed and watched from outside.

mod bad_input;
mod edges;
mod follower;
mod kill;
mod metrics;
mod takeover;
mod unclear;

use sakia_integration::target::Target;
use std::sync::OnceLock;

const WORKER: &str = env!("CARGO_BIN_EXE_worker");

/// The broker under test, started by the first test that asks.
fn target() -> &'static Target {
    static TARGET: OnceLock<Target> = OnceLock::new();
    TARGET.get_or_init(|| match Target::from_env() {
        Ok(target) => target,
        Err(error) => panic!("no broker to test against: {error:#}"),
    })
}

fn cluster() -> sakia_integration::kit::Cluster {
    target().cluster()
}

/// A number from the environment: tests are short by default and as long as one likes by hand.
fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}
