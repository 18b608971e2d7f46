//! What the engine needs of a broker, asked of the one under test: the embedded broker, or a real Kafka
//! (`SAKIA_TEST_BOOTSTRAP=host:port`).
//!
//! One binary, since each links librdkafka. All tests share one broker and run in parallel; each makes topics, groups
//! and transactional ids of its own. A check that fails on the embedded broker and passes on Kafka shows a mistake in
//! the broker: the check stays as it is.

mod admin;
mod append;
mod compaction;
mod durability;
mod fencing;
mod groups;
mod isolation;
mod offsets;
mod processes;
mod produce;
mod speed;
mod timestamps;
mod transactions;

use std::sync::{Mutex, OnceLock, PoisonError};

use anyhow::Result;
use sakia_integration::kit::Cluster;
use sakia_integration::target::Target;

/// The broker under test, started by the first test that asks.
fn cluster() -> Result<Cluster> {
    static TARGET: OnceLock<Target> = OnceLock::new();
    static STARTING: Mutex<()> = Mutex::new(());
    let _starting = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(target) = TARGET.get() {
        return Ok(target.cluster());
    }
    let target = Target::from_env()?;
    Ok(TARGET.get_or_init(|| target).cluster())
}
