//! The engine as a black box: real processes on the broker under test, killed and watched from outside.

mod bad_input;
mod edges;
mod kill;
mod takeover;

use sakia_integration::target::Target;
use std::sync::OnceLock;

const WORKER: &str = env!("CARGO_BIN_EXE_worker");

/// The broker under test, started by the first test that asks.
fn cluster() -> sakia_integration::kit::Cluster {
    static TARGET: OnceLock<Target> = OnceLock::new();
    let target = TARGET.get_or_init(|| match Target::from_env() {
        Ok(target) => target,
        Err(error) => panic!("no broker to test against: {error:#}"),
    });
    target.cluster()
}

/// A number from the environment: tests are short by default and as long as one likes by hand.
fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}
