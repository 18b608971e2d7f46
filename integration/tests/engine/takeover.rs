//! How long a lane pauses: when its owner is killed, when it stops cleanly, when a static member restarts.

use crate::{PATIENCE, WORKER, cluster};
use anyhow::{Context, Result, ensure};
use sakia_integration::app::{App, Worker};
use sakia_integration::jobs::Seen;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

const LANES: i32 = 4;
/// The default session timeout.
const SESSION: Duration = Duration::from_secs(6);
/// What a busy machine needs besides.
const SLACK: Duration = Duration::from_secs(4);
/// Where nothing may wait for the session it is so long that a busy machine cannot be taken for such a wait: half of it
/// tells the one from the other.
const LONG_SESSION: Duration = Duration::from_secs(30);
const LONG_SESSION_MS: (&str, &str) = ("SAKIA_SESSION_TIMEOUT_MS", "30000");
/// One job in each interval, on whichever lane: dense enough to see a pause, and hardly a load.
const JOB_EVERY: Duration = Duration::from_millis(10);
/// How long jobs come before the event and, at least, after it.
const STEADY: Duration = Duration::from_secs(3);
/// Two processes that are not known to the group by a name.
const DYNAMIC: (&str, &str) = ("SAKIA_INSTANCE_ID", "");

/// Starts jobs at a steady rate.
fn load(app: &mut App, length: Duration) -> Result<()> {
    let began = Instant::now();
    while began.elapsed() < length {
        app.start_jobs(1)?;
        // The rate of the load, not a wait for anything.
        std::thread::sleep(JOB_EVERY);
    }
    Ok(())
}

/// The longest time between two beginnings of jobs on one lane, of those from `first_job` on. Jobs and their records lie
/// on partitions of the same number, as they have the same keys.
fn longest_pause(app: &App, first_job: u64) -> Result<Duration> {
    let reading = app.read(app.out())?;
    app.check_output(&reading)?;
    let mut begun: BTreeMap<i32, Vec<i64>> = BTreeMap::new();
    for record in &reading.records {
        let seen: Seen = serde_json::from_str(record.value.as_deref().unwrap_or_default())?;
        if seen.stage == "began" && seen.n >= first_job {
            begun.entry(record.partition).or_default().push(record.timestamp_ms.context("no timestamp")?);
        }
    }
    ensure!(begun.len() == app.partitions().len(), "not every lane had jobs");
    let mut longest = 0;
    for times in begun.values_mut() {
        times.sort_unstable();
        let pauses = times.windows(2).map(|two| two[1].abs_diff(two[0]));
        longest = longest.max(pauses.max().unwrap_or_default());
    }
    Ok(Duration::from_millis(longest))
}

/// Two processes share the lanes; then the first goes, and the second goes on with all of them.
fn pause_when_one_goes(
    goes: impl FnOnce(&mut Worker) -> Result<()>,
    settings: &[(&str, &str)],
    after: Duration,
) -> Result<Duration> {
    let mut app = App::new(&cluster(), WORKER, LANES)?;
    let mut first = app.worker("first", settings)?;
    app.start_jobs(20)?;
    app.until_all_ended(PATIENCE)?;
    let second = app.worker("second", settings)?;
    app.until_taken_over(&second)?;
    app.start_jobs(20)?;
    app.until_all_ended(PATIENCE)?;
    let first_job = app.started();
    load(&mut app, STEADY)?;
    goes(&mut first)?;
    load(&mut app, after)?;
    app.until_all_ended(PATIENCE)?;
    ensure!(second.stop(PATIENCE)?.success(), "the second process did not end well");
    longest_pause(&app, first_job)
}

#[test]
fn a_lane_goes_on_elsewhere_within_the_session_timeout_after_a_crash() -> Result<()> {
    let pause = pause_when_one_goes(Worker::kill_now, &[DYNAMIC], SESSION + STEADY)?;
    println!("longest pause of a lane, its owner killed: {pause:?}");
    ensure!(pause < SESSION + SLACK, "it was {pause:?}, as if nobody had noticed");
    Ok(())
}

#[test]
fn a_lane_goes_on_elsewhere_at_once_after_a_clean_stop() -> Result<()> {
    let pause = pause_when_one_goes(|first| first.ask_to_stop(), &[DYNAMIC, LONG_SESSION_MS], STEADY)?;
    println!("longest pause of a lane, its owner stopped: {pause:?}");
    ensure!(pause < LONG_SESSION / 2, "it was {pause:?}, as if the session had to run out");
    Ok(())
}

#[test]
fn a_static_member_that_restarts_keeps_its_lanes() -> Result<()> {
    let mut app = App::new(&cluster(), WORKER, LANES)?;
    let mut first = app.worker("first", &[LONG_SESSION_MS])?;
    app.start_jobs(20)?;
    app.until_all_ended(PATIENCE)?;
    let first_job = app.started();
    load(&mut app, STEADY)?;
    first.kill_now()?;
    let again = app.worker("first", &[LONG_SESSION_MS])?;
    load(&mut app, STEADY)?;
    app.until_all_ended(PATIENCE)?;
    let pause = longest_pause(&app, first_job)?;
    println!("longest pause of a lane, its owner killed and started again as the same member: {pause:?}");
    ensure!(pause < LONG_SESSION / 2, "it was {pause:?}, as if the session had to run out:\n{}", again.log());
    Ok(())
}
