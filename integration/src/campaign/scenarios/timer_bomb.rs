//! Very many timers are due in one instant.

use super::{Scenario, nothing};
use crate::campaign::stage::Stage;
use anyhow::Result;
use std::time::{Duration, SystemTime};

const KIND: &str = "timers due at once";
const TIMERS: u32 = 2_000;
const AHEAD: Duration = Duration::from_secs(8);
const FIRED_WITHIN: Duration = Duration::from_secs(30);

pub(super) const SCENARIO: Scenario = Scenario {
    name: "timer-bomb",
    what: "2,000 timers are due in the same millisecond, and a worker is killed in the middle of it",
    weight: 1,
    kinds: &[KIND],
    missing: nothing,
    play,
};

fn play(stage: &mut Stage) -> Result<()> {
    let due = SystemTime::now() + AHEAD;
    for _ in 0..TIMERS {
        stage.load.start_alarm(due)?;
    }
    stage.faults.did(KIND, &format!("{TIMERS} timers"), AHEAD);
    stage.pass(AHEAD)?;
    let victim = super::draw_worker(stage);
    stage.workers[victim].kill()?;
    stage.workers[victim].start()?;
    stage
        .pass_until(FIRED_WITHIN, |stage| stage.is_idle() || stage.alarms_open() < u64::from(TIMERS) / 10)?;
    Ok(())
}
