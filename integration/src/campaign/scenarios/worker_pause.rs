//! A worker stands still: for a moment, or so long that its lanes have new owners when it wakes and believes they are
//! still its own.

use super::{Scenario, draw_ms, draw_worker, leave_broken, nothing};
use crate::campaign::stage::Stage;
use anyhow::Result;
use rand::Rng;
use std::time::Duration;

const SHORT: &str = "worker paused";
const ZOMBIE: &str = "worker paused beyond session and transaction timeout";

pub(super) const SCENARIO: Scenario = Scenario {
    name: "worker-pause",
    what: "SIGSTOP of a worker for seconds, sometimes beyond the session and the transaction timeout",
    weight: 4,
    kinds: &[SHORT, ZOMBIE],
    missing: nothing,
    play,
};

fn play(stage: &mut Stage) -> Result<()> {
    // The first of a run is both, so that a short run has both.
    let first = !stage.faults.counts().contains_key(ZOMBIE);
    if first || stage.rng.random_ratio(1, 6) {
        let length = draw_ms(stage, 12_000..18_000);
        pause(stage, ZOMBIE, length)?;
        if !first {
            return Ok(());
        }
    }
    let length = draw_ms(stage, 1_000..5_000);
    pause(stage, SHORT, length)
}

fn pause(stage: &mut Stage, kind: &'static str, length: Duration) -> Result<()> {
    let victim = draw_worker(stage);
    stage.watch(kind);
    stage.workers[victim].pause()?;
    let id = stage.workers[victim].id.clone();
    leave_broken(stage, kind, &id, length, |s| s.workers[victim].resume())?;
    let after = draw_ms(stage, 1_000..3_000);
    stage.pass(after)
}
