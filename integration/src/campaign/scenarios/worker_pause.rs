//! A worker stands still: for a moment, or so long that its lanes have new owners when it wakes and believes they are
//! still its own.

use super::{Scenario, draw_ms, draw_worker, leave_broken, nothing};
use crate::campaign::stage::Stage;
use anyhow::Result;
use rand::Rng;
use std::time::Duration;

const SHORT: &str = "worker paused";
const ZOMBIE: &str = "worker paused beyond session and checkpoint timeout";
const LONG_ZOMBIE: &str = "worker paused beyond the journal's transaction timeout";

pub(super) const SCENARIO: Scenario = Scenario {
    name: "worker-pause",
    what: "SIGSTOP of a worker for seconds, sometimes beyond the session and the timeout of a checkpoint's transaction",
    weight: 4,
    kinds: &[SHORT, ZOMBIE],
    missing: nothing,
    play,
};

pub(super) const LONG: Scenario = Scenario {
    name: "worker-pause-long",
    what: "SIGSTOP of a worker for more than a minute, so that Kafka itself ends the journal's transaction",
    weight: 0,
    kinds: &[LONG_ZOMBIE],
    missing: nothing,
    play: play_long,
};

fn play_long(stage: &mut Stage) -> Result<()> {
    let length = draw_ms(stage, 70_000..80_000);
    pause(stage, LONG_ZOMBIE, length)
}

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
