//! Commits whose outcome nobody knows (rule A): the answer is lost, or comes after everybody has given up.

use crate::{WORKER, target};
use anyhow::{Result, ensure};
use sakia_broker::Api;
use sakia_integration::app::App;
use sakia_integration::target::Target;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(120);
/// Longer than the engine waits for the end of a transaction, and than the transaction may live.
const TOO_LATE: Duration = Duration::from_secs(12);

/// Only the embedded broker can be told to misbehave; on a real Kafka the same jobs run without faults.
fn with_faults(fault: impl Fn(&sakia_broker::Faults, u32)) -> Result<()> {
    let target = target();
    let mut app = App::new(&target.cluster(), WORKER, 2)?;
    let worker = app.worker("w", &[])?;
    app.start_jobs(10)?;
    app.until_all_ended(PATIENCE)?;
    for round in 0..3 {
        if let Target::Embedded(broker) = target {
            fault(&broker.faults(), round);
        }
        app.start_jobs(20)?;
        app.until_all_ended(PATIENCE)?;
    }
    app.until_quiet()?;
    app.check_output(&app.read(app.out())?)?;
    ensure!(worker.stop(PATIENCE)?.success(), "the worker did not end well");
    let open = app.open_transactions()?;
    ensure!(open.is_empty(), "transactions are open: {open:?}");
    Ok(())
}

#[test]
fn commits_whose_answers_are_lost_are_neither_lost_nor_repeated() -> Result<()> {
    with_faults(|faults, round| faults.drop_next_answers(Api::EndTxn, 1 + round))
}

#[test]
fn commits_that_are_answered_too_late_are_neither_lost_nor_repeated() -> Result<()> {
    with_faults(|faults, _| faults.hold_next_answers(Api::EndTxn, 2, TOO_LATE))
}

#[test]
fn produces_whose_answers_are_lost_are_neither_lost_nor_repeated() -> Result<()> {
    with_faults(|faults, round| faults.drop_next_answers(Api::Produce, 2 + round))
}
