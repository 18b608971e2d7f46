//! A million timers are due in one instant.

use super::{Scenario, nothing};
use crate::campaign::stage::Stage;
use anyhow::{Result, bail};
use std::time::{Duration, Instant, SystemTime};

const KIND: &str = "a million timers due at once";
const TIMERS: u64 = 1_000_000;
/// By how fast so many are taken it is guessed how long all will need.
const PROBE: u64 = 50_000;
/// What the guess is multiplied by: the state grows meanwhile, and others use the machine too.
const CAUTION: f64 = 1.5;
const AHEAD_MIN: Duration = Duration::from_secs(20);
/// A guess that was made while the machine was busy with something else keeps nobody waiting for longer.
const AHEAD_MAX: Duration = Duration::from_secs(600);
/// So many are handed over at a time, and no more while the lanes have so many commands before them.
const CHUNK: u64 = 25_000;
const LAG_MAX: i64 = 100_000;
const TAKEN_WITHIN: Duration = Duration::from_secs(900);
const FIRED_WITHIN: Duration = Duration::from_secs(900);

pub(super) const SCENARIO: Scenario = Scenario {
    name: "timer-million",
    what: "1,000,000 timers are due in the same millisecond, and a worker is killed in the middle of it; once in a run, \
           and only in long ones",
    weight: 0,
    kinds: &[KIND],
    missing: nothing,
    play,
};

fn play(stage: &mut Stage) -> Result<()> {
    let ahead = guess(stage)?;
    let (began, due) = (Instant::now(), SystemTime::now() + ahead);
    stage.load.begin_bomb(due);
    for _ in 0..TIMERS / CHUNK {
        for _ in 0..CHUNK {
            stage.load.start_alarm(due)?;
        }
        until_lag_is(stage, LAG_MAX)?;
    }
    stage.load.settle()?;
    let ends = stage.command_ends()?;
    let taken = |stage: &mut Stage| stage.are_taken(&ends).unwrap_or(false);
    if !stage.pass_until(TAKEN_WITHIN, taken)? {
        bail!("the commands of {TIMERS} timers were not taken within {TAKEN_WITHIN:?}");
    }
    let taken_after = began.elapsed();
    let left = due.duration_since(SystemTime::now()).unwrap_or_default();
    stage.pass(left)?;
    fire(stage, taken_after, left)
}

/// How long it takes until the lanes have taken all, after how long they take for a few.
fn guess(stage: &mut Stage) -> Result<Duration> {
    let due = SystemTime::now() + AHEAD_MIN;
    let began = Instant::now();
    for _ in 0..PROBE {
        stage.load.start_alarm(due)?;
    }
    stage.load.settle()?;
    let ends = stage.command_ends()?;
    if !stage.pass_until(TAKEN_WITHIN, |stage| stage.are_taken(&ends).unwrap_or(false))? {
        bail!("{PROBE} commands were not taken within {TAKEN_WITHIN:?}");
    }
    #[expect(clippy::cast_precision_loss, reason = "a million is far below what a double holds")]
    let times = TIMERS as f64 / PROBE as f64;
    Ok((AHEAD_MIN + began.elapsed().mul_f64(times * CAUTION)).min(AHEAD_MAX))
}

fn until_lag_is(stage: &mut Stage, most: i64) -> Result<()> {
    // What cannot be asked now is asked again.
    if stage.pass_until(TAKEN_WITHIN, |stage| stage.lag().is_ok_and(|lag| lag <= most))? {
        return Ok(());
    }
    bail!("the lanes are {:?} commands behind for {TAKEN_WITHIN:?}", stage.lag())
}

/// Kills a worker when some have fired, and waits for all.
fn fire(stage: &mut Stage, taken_after: Duration, left: Duration) -> Result<()> {
    let began = Instant::now();
    stage.watch(KIND);
    stage.pass_until(FIRED_WITHIN, |stage| stage.bomb_open() < TIMERS * 3 / 4)?;
    let fired_before = TIMERS - stage.bomb_open();
    let victim = super::draw_worker(stage);
    stage.workers[victim].kill()?;
    stage.workers[victim].start()?;
    let all = stage.pass_until(FIRED_WITHIN, |stage| stage.bomb_open() == 0)?;
    // If some were only taken when they were due already, they were not due at once.
    if !left.is_zero() && all {
        stage.faults.did(
            KIND,
            &format!("{TIMERS} timers, and {}", stage.workers[victim].id),
            began.elapsed(),
        );
    }
    let what = format!(
        "taken within {:.1} s, {:.1} s before they were due; a worker killed when {fired_before} had been seen; all seen \
         {:.1} s after they were due: {all}",
        taken_after.as_secs_f64(),
        left.as_secs_f64(),
        began.elapsed().as_secs_f64()
    );
    println!("{:8.1} s  {TIMERS} timers: {what}", stage.faults.at_s());
    stage.faults.measured(KIND, &what);
    Ok(())
}
