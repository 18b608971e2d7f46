//! A burst of records that no lane can apply, among them ones that are too large.

use super::{Scenario, draw_ms, nothing};
use crate::campaign::stage::Stage;
use anyhow::Result;
use rand::Rng;
use std::time::Duration;

const POISON: &str = "poisoned input";
const OVERSIZED: &str = "oversized input";
const RECORDS: usize = 10;
/// The kind that is too large.
const HUGE: u32 = 3;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "poison",
    what: "a burst of undecodable, unknown and oversized commands",
    weight: 1,
    kinds: &[POISON, OVERSIZED],
    missing: nothing,
    play,
};

fn play(stage: &mut Stage) -> Result<()> {
    for kind in [POISON, OVERSIZED] {
        for _ in 0..RECORDS {
            let poison = if kind == OVERSIZED { HUGE } else { stage.rng.random_range(0..HUGE) };
            stage.load.poison(poison)?;
        }
        stage.faults.did(kind, &format!("{RECORDS} records"), Duration::ZERO);
        let after = draw_ms(stage, 500..1_500);
        stage.pass(after)?;
    }
    Ok(())
}
