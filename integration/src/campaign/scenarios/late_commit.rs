//! A commit is on its way twice: the worker's connection breaks under an EndTxn, the worker asks again on a new one, and
//! the first request arrives when the next transaction may be under way (KAFKA-17754). The worker must not use the id
//! for it before it was fenced.

use super::{Scenario, draw_ms, draw_worker};
use crate::campaign::proxy::{Action, Api, Rule};
use crate::campaign::stage::Stage;
use anyhow::Result;
use rand::Rng;
use std::time::Duration;

const KIND: &str = "request late: EndTxn";
const WITHIN: Duration = Duration::from_secs(4);
const ROUNDS: usize = 3;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "late-commit",
    what: "an EndTxn reaches the broker late and twice",
    weight: 3,
    kinds: &[KIND],
    missing: super::no_proxy,
    play,
};

fn play(stage: &mut Stage) -> Result<()> {
    for _ in 0..ROUNDS {
        let victim = draw_worker(stage);
        let late = draw_ms(stage, 5..400);
        let pass = stage.rng.random_range(0..20);
        let before = stage.arm(victim, Rule { api: Api::EndTxn, pass, action: Action::Late(late) });
        if stage.pass_until(WITHIN, |stage| stage.struck(victim) > before)? {
            stage.faults.did(KIND, &stage.workers[victim].id, late);
        }
        stage.heal()?;
        let after = draw_ms(stage, 500..1_500);
        stage.pass(after)?;
    }
    Ok(())
}
