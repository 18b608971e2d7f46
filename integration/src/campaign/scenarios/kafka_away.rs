//! All brokers are dead for a while.

use super::{Scenario, draw_ms, leave_broken, nothing};
use crate::campaign::stage::Stage;
use anyhow::Result;
use rand::Rng;
use std::time::Duration;

const KIND: &str = "Kafka away";
const KIND_LONG: &str = "Kafka away for five minutes";
const FIVE_MINUTES: Duration = Duration::from_secs(300);

pub(super) const SCENARIO: Scenario = Scenario {
    name: "kafka-away",
    what: "all brokers are dead for 15 s, in long runs for more than a minute",
    weight: 1,
    kinds: &[KIND],
    missing: nothing,
    play,
};

pub(super) const LONG: Scenario = Scenario {
    name: "kafka-away-long",
    what: "all brokers are dead for five minutes; once in a run, and only in long ones",
    weight: 0,
    kinds: &[KIND_LONG],
    missing: nothing,
    play: play_long,
};

fn play(stage: &mut Stage) -> Result<()> {
    let long = stage.options.is_long() && stage.rng.random_ratio(1, 3);
    let length = if long { draw_ms(stage, 65_000..100_000) } else { draw_ms(stage, 12_000..18_000) };
    take_away(stage, KIND, length)
}

fn play_long(stage: &mut Stage) -> Result<()> {
    take_away(stage, KIND_LONG, FIVE_MINUTES)
}

fn take_away(stage: &mut Stage, kind: &'static str, length: Duration) -> Result<()> {
    stage.watch(kind);
    stage.kafka_is_away();
    let killed = (0..stage.brokers.count()).try_for_each(|node| stage.brokers.kill(node));
    killed.inspect_err(|_| stage.kafka_is_back())?;
    leave_broken(stage, kind, "all brokers", length, |stage| {
        let revived = stage.brokers.revive_all();
        // Also if they are not: the clock of all that waits must not stand still for ever.
        stage.kafka_is_back();
        revived
    })?;
    let after = draw_ms(stage, 5_000..8_000);
    stage.pass(after)
}
