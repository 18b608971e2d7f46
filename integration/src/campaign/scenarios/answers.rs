//! Single answers are lost or held: the broker has done what was asked, and the worker does not know.

use super::{Scenario, draw_ms};
use crate::campaign::proxy::{Action, Api, Rule};
use crate::campaign::stage::Stage;
use anyhow::Result;
use rand::Rng;
use std::time::Duration;

const LOST_COMMIT: &str = "answer lost: EndTxn";
const HELD_COMMIT: &str = "answer held: EndTxn";
const LOST_PRODUCE: &str = "answer lost: Produce";
const HELD_PRODUCE: &str = "answer held: Produce";
const LOST_FETCH: &str = "answer lost: Fetch";
const LOST_HEARTBEAT: &str = "answer lost: Heartbeat";
const HELD_HEARTBEAT: &str = "answer held: Heartbeat";
const LOST_INIT: &str = "answer lost: InitProducerId";

/// What strikes within seconds under load. InitProducerId needs a take-over.
const COMMON: &[(Api, bool, &str)] = &[
    (Api::EndTxn, true, LOST_COMMIT),
    (Api::EndTxn, false, HELD_COMMIT),
    (Api::Produce, true, LOST_PRODUCE),
    (Api::Produce, false, HELD_PRODUCE),
    (Api::Fetch, true, LOST_FETCH),
    (Api::Heartbeat, true, LOST_HEARTBEAT),
    (Api::Heartbeat, false, HELD_HEARTBEAT),
];
/// Fewer than so many answers pass before the one that is struck: heartbeats, the rarest, come nine times a second.
const ANSWERS_PASSED_BELOW: u32 = 20;
/// Each is fenced in a take-over.
const IDS_OF_A_LANE: u32 = 3;
/// Take-overs, and workers that have no lane just now, take their time.
const STRIKE_WITHIN: Duration = Duration::from_secs(12);

pub(super) const SCENARIO: Scenario = Scenario {
    name: "answers",
    what: "the nth answer to EndTxn, Produce, InitProducerId, Fetch or Heartbeat is lost with its connection, or held",
    weight: 6,
    kinds: &[
        LOST_COMMIT,
        HELD_COMMIT,
        LOST_PRODUCE,
        HELD_PRODUCE,
        LOST_FETCH,
        LOST_HEARTBEAT,
        HELD_HEARTBEAT,
        LOST_INIT,
    ],
    missing: super::no_proxy,
    play,
};

fn play(stage: &mut Stage) -> Result<()> {
    let begin = stage.rng.random_range(0..COMMON.len());
    for strike in 0..COMMON.len() {
        let (api, lost, kind) = COMMON[(begin + strike) % COMMON.len()];
        let length = if lost { Duration::ZERO } else { draw_ms(stage, 500..3_000) };
        let action = if lost { Action::Lose } else { Action::Hold(length) };
        let pass = stage.rng.random_range(0..ANSWERS_PASSED_BELOW);
        strike_once(stage, Rule { api, pass, action }, kind, length)?;
        let between = draw_ms(stage, 100..800);
        stage.pass(between)?;
    }
    // A worker that starts again takes its lanes over, and there the answer to a fence is lost.
    let victim = super::draw_worker(stage);
    let pass = stage.rng.random_range(0..IDS_OF_A_LANE);
    let rule = Rule { api: Api::InitProducerId, pass, action: Action::Lose };
    let before = stage.arm(victim, rule);
    stage.workers[victim].kill()?;
    stage.workers[victim].start()?;
    if stage.pass_until(STRIKE_WITHIN, |stage| stage.struck(victim) > before)? {
        stage.faults.did(LOST_INIT, &stage.workers[victim].id, Duration::ZERO);
    }
    stage.heal()?;
    let after = draw_ms(stage, 1_000..2_500);
    stage.pass(after)
}

/// Arms a rule on all ways of a worker, and waits until it has struck on one of them.
fn strike_once(stage: &mut Stage, rule: Rule, kind: &'static str, length: Duration) -> Result<()> {
    let victim = super::draw_worker(stage);
    let before = stage.arm(victim, rule);
    let struck = stage.pass_until(STRIKE_WITHIN, |stage| stage.struck(victim) > before)?;
    if struck {
        stage.faults.did(kind, &stage.workers[victim].id, length);
        stage.pass(length)?;
    }
    stage.heal()
}
