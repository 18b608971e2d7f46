//! The way between one worker and all brokers fails in one direction: the worker speaks and hears nothing, or hears and
//! cannot speak.

use super::{Scenario, draw_ms, draw_worker};
use crate::campaign::proxy::Direction;
use crate::campaign::stage::Stage;
use anyhow::Result;

const MUTE: &str = "partition: worker to brokers";
const DEAF: &str = "partition: brokers to worker";

pub(super) const SCENARIO: Scenario = Scenario {
    name: "partition",
    what: "one-way partition of a worker from all brokers, first one way, then the other",
    weight: 1,
    kinds: &[MUTE, DEAF],
    missing: super::no_proxy,
    play,
};

fn play(stage: &mut Stage) -> Result<()> {
    for (direction, kind) in [(Direction::ToBroker, MUTE), (Direction::ToWorker, DEAF)] {
        let victim = draw_worker(stage);
        let length = draw_ms(stage, 3_000..10_000);
        stage.watch(kind);
        for link in &stage.links[victim] {
            link.swallow(direction);
        }
        stage.faults.did(kind, &stage.workers[victim].id, length);
        stage.pass(length)?;
        stage.heal()?;
        let after = draw_ms(stage, 1_500..3_000);
        stage.pass(after)?;
    }
    Ok(())
}
