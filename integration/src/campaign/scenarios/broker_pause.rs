//! A broker holds all its connections and answers nobody.

use super::{Scenario, draw_broker, draw_ms, leave_broken, nothing};
use crate::campaign::brokers::PAUSE_MAX;
use crate::campaign::stage::Stage;
use anyhow::Result;

const KIND: &str = "broker paused";

pub(super) const SCENARIO: Scenario = Scenario {
    name: "broker-pause",
    what: "SIGSTOP of a broker for seconds",
    weight: 2,
    kinds: &[KIND],
    missing: nothing,
    play,
};

fn play(stage: &mut Stage) -> Result<()> {
    let node = draw_broker(stage);
    let longest = u64::try_from(PAUSE_MAX.as_millis())?;
    let length = draw_ms(stage, 1_000..longest);
    stage.watch(KIND);
    stage.brokers.pause(node)?;
    leave_broken(stage, KIND, &format!("broker {}", node + 1), length, |s| s.brokers.resume(node))?;
    let after = draw_ms(stage, 4_000..6_000);
    stage.pass(after)
}
