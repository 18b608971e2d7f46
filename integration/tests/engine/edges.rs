//! A crash at every edge of append, checkpoint, take-over and restore, `SAKIA_TEST_CRASHES` times each.

use crate::{WORKER, cluster, number};
use anyhow::{Result, ensure};
use sakia::store::rocks::dump_folder;
use sakia_integration::app::{App, Worker};
use std::time::{Duration, Instant};

/// One lane, so that the crashes hit it and nothing else.
const LANES: i32 = 1;
const RECOVERY: Duration = Duration::from_secs(60);
const CRASH_WITHIN: Duration = Duration::from_secs(30);

fn crash_at(point: &str) -> Result<()> {
    let crashes = number("SAKIA_TEST_CRASHES", 3);
    let mut app = App::new(&cluster(), WORKER, LANES)?;
    // Take-over and restore pass once a life, and need something to take over or restore.
    let once_a_life = point.starts_with("takeover") || point.starts_with("restore");
    for crash in 0..crashes {
        if once_a_life {
            live_and_die(&mut app, point.starts_with("restore"))?;
        }
        // Later each time: the first passes are those of an empty lane.
        let passes = if once_a_life { 0 } else { crash * 3 % 17 };
        let points =
            if passes == 0 { format!("{point}=return") } else { format!("{point}={passes}*off->return") };
        let mut worker = app.worker("w", &[("FAILPOINTS", &points)])?;
        app.start_jobs(10)?;
        until_crashed(&mut worker, &mut app, point)?;
    }
    let worker = app.worker("w", &[("FAILPOINTS", "")])?;
    app.until_all_ended(RECOVERY)?;
    app.until_quiet()?;
    app.check_output(&app.read(app.out())?)?;
    let lived = worker.state.clone();
    ensure!(worker.stop(RECOVERY)?.success(), "the worker did not end well");
    let fresh = app.folder().join("fresh");
    let restored = app.worker_at("w", &fresh, &[("FAILPOINTS", "")])?;
    app.until_taken_over(&restored)?;
    ensure!(restored.stop(RECOVERY)?.success(), "the restored worker did not end well");
    let (lived, restored) = (dump_folder(&lived, 0)?, dump_folder(&fresh, 0)?);
    ensure!(!lived.is_empty(), "the store is empty");
    ensure!(
        lived == restored,
        "the store that lived through the crashes differs from one restored from the changelog"
    );
    let open = app.open_transactions()?;
    ensure!(open.is_empty(), "transactions are open: {open:?}");
    Ok(())
}

/// A life that ends by a kill in the middle of work, perhaps with the loss of its disk.
fn live_and_die(app: &mut App, lose_disk: bool) -> Result<()> {
    let mut worker = app.worker("w", &[("FAILPOINTS", "")])?;
    app.start_jobs(5)?;
    app.until_all_ended(RECOVERY)?;
    app.start_jobs(5)?;
    worker.kill_now()?;
    if lose_disk {
        std::fs::remove_dir_all(&worker.state)?;
    }
    Ok(())
}

/// The point must be met: a crash that never happens proves nothing.
fn until_crashed(worker: &mut Worker, app: &mut App, point: &str) -> Result<()> {
    let began = Instant::now();
    loop {
        if worker.ended()?.is_some() {
            return Ok(());
        }
        ensure!(began.elapsed() < CRASH_WITHIN, "{point} was not met; the worker says:\n{}", worker.log());
        app.start_jobs(1)?;
        // Spreads the jobs over the life of the worker; what is waited for is its end, with a deadline.
        std::thread::sleep(Duration::from_millis(50));
    }
}

macro_rules! edges {
    ($($name:ident: $point:literal,)+) => {
        $(#[test]
        fn $name() -> Result<()> {
            crash_at($point)
        })+
    };
}

edges! {
    a_crash_before_an_append_loses_nothing: "append:before",
    a_crash_after_an_append_was_sent_loses_nothing: "append:sent",
    a_crash_before_a_checkpoint_loses_nothing: "checkpoint:begin",
    a_crash_between_produce_and_commit_loses_nothing: "checkpoint:produced",
    a_crash_right_after_the_commit_loses_nothing: "checkpoint:committed",
    a_crash_before_the_store_is_written_loses_nothing: "store:before-write",
    a_crash_after_the_store_was_written_loses_nothing: "store:written",
    a_crash_before_the_fence_loses_nothing: "takeover:before-fence",
    a_crash_right_after_the_fence_loses_nothing: "takeover:fenced",
    a_crash_after_the_restore_loses_nothing: "takeover:restored",
    a_crash_after_the_replay_loses_nothing: "takeover:replayed",
    a_crash_in_the_middle_of_a_restore_loses_nothing: "restore:before-batch",
    a_crash_after_a_batch_of_a_restore_loses_nothing: "restore:after-batch",
}
