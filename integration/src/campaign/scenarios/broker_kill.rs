//! A broker is killed without warning, and started again on what it left behind.

use super::{Scenario, draw_broker, draw_ms, leave_broken, nothing};
use crate::campaign::stage::Stage;
use anyhow::Result;

const KIND: &str = "broker killed";

pub(super) const SCENARIO: Scenario = Scenario {
    name: "broker-kill",
    what: "kill -9 of a broker, and its restart",
    weight: 2,
    kinds: &[KIND],
    missing: nothing,
    play,
};

fn play(stage: &mut Stage) -> Result<()> {
    let node = draw_broker(stage);
    let away = draw_ms(stage, 500..4_000);
    stage.watch(KIND);
    stage.brokers.kill(node)?;
    leave_broken(stage, KIND, &format!("broker {}", node + 1), away, |s| s.brokers.revive(node))?;
    let after = draw_ms(stage, 5_000..9_000);
    stage.pass(after)
}
