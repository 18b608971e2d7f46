//! Bad lines: connections that stall, are reset, or are slow.

use super::{Scenario, draw_broker, draw_ms, draw_worker};
use crate::campaign::stage::Stage;
use anyhow::Result;
use std::time::Duration;

const STALL: &str = "connections stalled";
const RESET: &str = "connections reset";
const DELAY: &str = "connections delayed";
const RESETS: usize = 3;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "network",
    what: "a worker's connections to a broker stall, are reset, or are slow with jitter",
    weight: 3,
    kinds: &[STALL, RESET, DELAY],
    missing: super::no_proxy,
    play,
};

fn play(stage: &mut Stage) -> Result<()> {
    let (victim, broker) = (draw_worker(stage), draw_broker(stage));
    let length = draw_ms(stage, 1_000..8_000);
    stage.watch(STALL);
    stage.links[victim][usize::from(broker)].stall();
    stage.faults.did(STALL, &stage.workers[victim].id, length);
    stage.pass(length)?;
    stage.heal()?;
    for _ in 0..RESETS {
        let victim = draw_worker(stage);
        for link in &stage.links[victim] {
            link.reset();
        }
        stage.faults.did(RESET, &stage.workers[victim].id, Duration::ZERO);
        let between = draw_ms(stage, 200..1_000);
        stage.pass(between)?;
    }
    let victim = draw_worker(stage);
    let (delay, length) = (draw_ms(stage, 5..100), draw_ms(stage, 2_000..4_000));
    for link in &stage.links[victim] {
        link.delay(delay);
    }
    stage.faults.did(DELAY, &stage.workers[victim].id, length);
    stage.pass(length)?;
    stage.heal()
}
