//! How long it takes until a lane goes on: after a crash, after a clean stop, after a restart of a static member.

use crate::{WORKER, cluster};
use anyhow::{Result, ensure};
use sakia_integration::app::App;
use std::time::{Duration, Instant};

const LANES: i32 = 4;
const PATIENCE: Duration = Duration::from_secs(60);
/// The default session timeout.
const SESSION: Duration = Duration::from_secs(6);
/// What the machine needs besides, when it is busy with other tests.
const SLACK: Duration = Duration::from_secs(4);

/// Two processes, of which the first is then done away with; how long until all of its lanes have gone on elsewhere.
fn gap(
    away: impl FnOnce(sakia_integration::app::Worker) -> Result<()>,
    static_members: bool,
) -> Result<Duration> {
    let mut app = App::new(&cluster(), WORKER, LANES)?;
    let dynamic = [("SAKIA_INSTANCE_ID", "")];
    let environment: &[(&str, &str)] = if static_members { &[] } else { &dynamic };
    let first = app.worker("first", environment)?;
    app.start_jobs(20)?;
    app.until_all_ended(PATIENCE)?;
    let second = app.worker("second", environment)?;
    app.until_taken_over(&second)?;
    app.start_jobs(20)?;
    app.until_all_ended(PATIENCE)?;
    let began = Instant::now();
    away(first)?;
    app.start_jobs(40)?;
    app.until_all_ended(PATIENCE)?;
    let gap = began.elapsed();
    app.check_output(&app.read(app.out())?)?;
    ensure!(second.stop(PATIENCE)?.success(), "the second process did not end well");
    Ok(gap)
}

#[test]
fn a_lane_goes_on_elsewhere_within_the_session_timeout_after_a_crash() -> Result<()> {
    let gap = gap(|mut first| first.kill_now(), false)?;
    println!("take-over after kill -9: {gap:?}");
    ensure!(gap < SESSION + SLACK, "it took {gap:?}");
    Ok(())
}

#[test]
fn a_lane_goes_on_elsewhere_at_once_after_a_clean_stop() -> Result<()> {
    let gap = gap(
        |first| {
            ensure!(first.stop(PATIENCE)?.success(), "the first process did not end well");
            Ok(())
        },
        false,
    )?;
    println!("take-over after a clean stop: {gap:?}");
    ensure!(gap < SLACK, "it took {gap:?}, as if the session had to run out");
    Ok(())
}

#[test]
fn a_static_member_that_restarts_keeps_its_lanes() -> Result<()> {
    let mut app = App::new(&cluster(), WORKER, LANES)?;
    let mut first = app.worker("first", &[])?;
    app.start_jobs(20)?;
    app.until_all_ended(PATIENCE)?;
    let began = Instant::now();
    first.kill_now()?;
    let _again = app.worker("first", &[])?;
    app.start_jobs(20)?;
    app.until_all_ended(PATIENCE)?;
    let gap = began.elapsed();
    println!("restart of a static member: {gap:?}");
    ensure!(gap < SLACK, "it took {gap:?}, as if the session had to run out");
    app.check_output(&app.read(app.out())?)
}
