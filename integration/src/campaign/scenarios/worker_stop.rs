//! A worker is told to end, as in a deploy, and started again.

use super::{Scenario, draw_ms, draw_worker, nothing};
use crate::campaign::stage::Stage;
use anyhow::Result;
use std::time::Duration;

const KIND: &str = "worker restarted";
const PATIENCE: Duration = Duration::from_secs(20);

pub(super) const SCENARIO: Scenario = Scenario {
    name: "worker-stop",
    what: "SIGTERM to a worker, and its restart",
    weight: 3,
    kinds: &[KIND],
    missing: nothing,
    play,
};

fn play(stage: &mut Stage) -> Result<()> {
    let victim = draw_worker(stage);
    stage.watch(KIND);
    stage.workers[victim].stop(PATIENCE)?;
    stage.faults.did(KIND, &stage.workers[victim].id, Duration::ZERO);
    stage.workers[victim].start()?;
    let after = draw_ms(stage, 1_000..3_000);
    stage.pass(after)
}
