//! A worker stands still: for a moment, or so long that its lanes have new owners when it wakes and believes they are
//! still its own.

use super::{Scenario, draw_ms, draw_worker, nothing};
use crate::campaign::stage::Stage;
use anyhow::Result;
use rand::Rng;

const SHORT: &str = "worker paused";
const ZOMBIE: &str = "worker paused beyond session and transaction timeout";

pub(super) const SCENARIO: Scenario = Scenario {
    name: "worker-pause",
    what: "SIGSTOP of a worker for seconds, one time in four beyond the session and the transaction timeout",
    weight: 4,
    kinds: &[SHORT, ZOMBIE],
    missing: nothing,
    play,
};

fn play(stage: &mut Stage) -> Result<()> {
    let victim = draw_worker(stage);
    // The first of a run is a zombie, so that a short run has one too.
    let first = !stage.faults.counts().contains_key(ZOMBIE);
    let (kind, length) = if first || stage.rng.random_ratio(1, 6) {
        (ZOMBIE, draw_ms(stage, 12_000..18_000))
    } else {
        (SHORT, draw_ms(stage, 1_000..5_000))
    };
    stage.watch(kind);
    stage.workers[victim].pause()?;
    stage.faults.did(kind, &stage.workers[victim].id, length);
    let passed = stage.pass(length);
    stage.workers[victim].resume()?;
    passed?;
    let after = draw_ms(stage, 1_000..3_000);
    stage.pass(after)
}
