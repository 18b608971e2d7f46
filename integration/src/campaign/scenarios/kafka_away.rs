//! All brokers are dead for a while.

use super::{Scenario, draw_ms, leave_broken, nothing};
use crate::campaign::stage::Stage;
use anyhow::Result;
use rand::Rng;

const KIND: &str = "Kafka away";
/// A run of so many minutes has time for a long outage.
const LONG_RUN_MINUTES: f64 = 20.0;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "kafka-away",
    what: "all brokers are dead for 15 s, in long runs for more than a minute",
    weight: 1,
    kinds: &[KIND],
    missing: nothing,
    play,
};

fn play(stage: &mut Stage) -> Result<()> {
    let long = stage.options.minutes >= LONG_RUN_MINUTES && stage.rng.random_ratio(1, 3);
    let length = if long { draw_ms(stage, 65_000..100_000) } else { draw_ms(stage, 12_000..18_000) };
    stage.watch(KIND);
    for node in 0..stage.brokers.count() {
        stage.brokers.kill(node)?;
    }
    leave_broken(stage, KIND, "all brokers", length, |s| s.brokers.revive_all())?;
    let after = draw_ms(stage, 5_000..8_000);
    stage.pass(after)
}
