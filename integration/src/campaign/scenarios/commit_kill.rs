//! A coordinator is killed in a commit: it has got the EndTxn, its answer is held, and then it dies.

use super::{Scenario, draw_ms, draw_worker, leave_broken};
use crate::campaign::proxy::{Action, Api, Rule};
use crate::campaign::stage::Stage;
use anyhow::Result;
use rand::Rng;
use std::time::Duration;

const KIND: &str = "coordinator killed in a commit";
const WITHIN: Duration = Duration::from_secs(12);
const HELD: Duration = Duration::from_secs(4);

pub(super) const SCENARIO: Scenario = Scenario {
    name: "commit-kill",
    what: "kill -9 of the broker that is just ending a transaction, before its answer arrives",
    weight: 1,
    kinds: &[KIND],
    missing: super::no_proxy,
    play,
};

fn play(stage: &mut Stage) -> Result<()> {
    let victim = draw_worker(stage);
    let pass = stage.rng.random_range(0..10);
    let before: Vec<u64> = stage.links[victim].iter().map(|link| link.struck()).collect();
    stage.arm(victim, Rule { api: Api::EndTxn, pass, action: Action::Hold(HELD) });
    let mut node = None;
    stage.pass_until(WITHIN, |stage| {
        let links = stage.links[victim].iter().zip(&before);
        node = links.zip(0_u16..).find(|((link, before), _)| link.struck() > **before).map(|(_, node)| node);
        node.is_some()
    })?;
    if let Some(node) = node {
        stage.watch(KIND);
        stage.brokers.kill(node)?;
        let away = draw_ms(stage, 200..3_000);
        leave_broken(stage, KIND, &format!("broker {}", node + 1), away, |s| s.brokers.revive(node))?;
    }
    stage.heal()?;
    let after = draw_ms(stage, 2_000..5_000);
    stage.pass(after)
}
