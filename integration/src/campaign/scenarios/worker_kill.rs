//! A worker is killed without warning, and comes back at once or when its lanes have gone to others.

use super::{Scenario, draw_ms, draw_worker, nothing};
use crate::campaign::stage::Stage;
use anyhow::Result;
use rand::Rng;
use std::time::Duration;

const KIND: &str = "worker killed";

pub(super) const SCENARIO: Scenario = Scenario {
    name: "worker-kill",
    what: "kill -9 of a worker, with and without a restart within the session timeout",
    weight: 6,
    kinds: &[KIND],
    missing: nothing,
    play,
};

fn play(stage: &mut Stage) -> Result<()> {
    let victim = draw_worker(stage);
    let away = if stage.rng.random_ratio(1, 6) { draw_ms(stage, 7_000..9_000) } else { Duration::ZERO };
    stage.watch(KIND);
    stage.workers[victim].kill()?;
    stage.faults.did(KIND, &stage.workers[victim].id, away);
    stage.pass(away)?;
    stage.workers[victim].start()?;
    let after = draw_ms(stage, 1_000..3_500);
    stage.pass(after)
}
