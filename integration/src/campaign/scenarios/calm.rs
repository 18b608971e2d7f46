//! Nothing happens, so that the system can recover: faults upon faults would hide what one of them does.

use super::{Scenario, draw_ms, nothing};
use crate::campaign::stage::Stage;
use anyhow::Result;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "calm",
    what: "no fault for some seconds",
    weight: 2,
    kinds: &[],
    missing: nothing,
    play,
};

fn play(stage: &mut Stage) -> Result<()> {
    let length = draw_ms(stage, 3_000..6_000);
    stage.pass(length)
}
