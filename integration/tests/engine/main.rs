//! The engine as a black box: real processes on the broker under test, killed and watched from outside.

mod bad_input;
mod edges;
mod follower;
mod kill;
mod metrics;
mod takeover;
mod unclear;

use anyhow::{Result, ensure};
use sakia_integration::app::App;
use sakia_integration::target::Target;
use std::sync::OnceLock;
use std::time::Duration;

const WORKER: &str = env!("CARGO_BIN_EXE_worker");
/// Past this, something is broken and not slow.
const PATIENCE: Duration = Duration::from_secs(60);

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

/// An app of one lane whose process has ended two jobs and then ended well. Its state is in the folder of `w`.
fn after_two_jobs() -> Result<App> {
    let mut app = App::new(&cluster(), WORKER, 1)?;
    let first = app.worker("w", &[("SAKIA_INSTANCE_ID", "")])?;
    app.start_jobs(2)?;
    app.until_all_ended(PATIENCE)?;
    ensure!(first.stop(PATIENCE)?.success(), "the first did not end well");
    Ok(app)
}

/// A number from the environment: tests are short by default and as long as one likes by hand.
fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}
