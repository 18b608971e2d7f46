//! Members come and go: every join and leave moves lanes while others commit.

use super::{Scenario, draw_ms, nothing};
use crate::campaign::stage::Stage;
use anyhow::Result;
use rand::Rng;
use std::time::Duration;

const JOIN: &str = "member joined";
const LEAVE: &str = "member left";
const ROUNDS: usize = 4;
const PATIENCE: Duration = Duration::from_secs(20);

pub(super) const SCENARIO: Scenario = Scenario {
    name: "rebalance-storm",
    what: "two dynamic members more join and leave every other second, cleanly or by kill -9",
    weight: 1,
    kinds: &[JOIN, LEAVE],
    missing: nothing,
    play,
};

fn play(stage: &mut Stage) -> Result<()> {
    stage.watch(LEAVE);
    for round in 0..ROUNDS {
        let id = format!("guest{}", round % 2 + 1);
        let through = stage.rng.random_range(0..super::count(stage));
        let mut guest = stage.new_worker(&id, through, false);
        guest.start()?;
        stage.faults.did(JOIN, &id, Duration::ZERO);
        let stay = draw_ms(stage, 1_000..3_500);
        stage.pass(stay)?;
        if stage.rng.random_ratio(1, 3) {
            guest.kill()?;
        } else {
            guest.stop(PATIENCE)?;
        }
        stage.faults.did(LEAVE, &id, Duration::ZERO);
        let pause = draw_ms(stage, 200..1_500);
        stage.pass(pause)?;
    }
    Ok(())
}
