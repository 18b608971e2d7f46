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
    let well = stage.workers[victim].stop(PATIENCE)?;
    let id = stage.workers[victim].id.clone();
    if !well {
        stage.faults.note(&format!("{id} did not end well when told to"));
    }
    stage.faults.did(KIND, &id, Duration::ZERO);
    stage.workers[victim].start()?;
    let after = draw_ms(stage, 1_000..3_000);
    stage.pass(after)
}
