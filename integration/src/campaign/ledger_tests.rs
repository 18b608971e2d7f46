//! The ledger hears every step, and says which was silent or said something else.

use super::faults::Faults;
use super::ledger::{Ledger, Wrong};
use super::records::Found;
use crate::jobs::Seen;
use anyhow::Result;
use std::sync::Arc;
use tempfile::TempDir;

const TOKEN: u64 = 77;
const AMOUNT: i64 = 40;

fn ledger() -> Result<(TempDir, Ledger)> {
    let folder = TempDir::new()?;
    let faults = Arc::new(Faults::new(&folder.path().join("faults.jsonl"), 1)?);
    Ok((folder, Ledger::new(faults)?))
}

fn see(ledger: &mut Ledger, seen: &Seen) -> Result<()> {
    let value = serde_json::to_string(seen)?;
    ledger.saw(&Found { lane: 0, offset: 0, key: String::new(), value });
    Ok(())
}

/// A job from its start to its end, whose steps told this.
fn job(told: &[(&str, u64)]) -> Result<Ledger> {
    let (_folder, mut ledger) = ledger()?;
    let n = ledger.begin_job();
    for (key, body) in told {
        ledger.heard(key, *body);
    }
    see(&mut ledger, &Seen { n, token: TOKEN, ..Seen::stage("began") })?;
    see(&mut ledger, &Seen { n, token: TOKEN, go: n, leaf: 2 * n, ..Seen::stage("ended") })?;
    Ok(ledger)
}

/// A transfer from its start to its end, whose step told this.
fn transfer(told: &[(&str, u64)]) -> Result<Ledger> {
    let (_folder, mut ledger) = ledger()?;
    let n = ledger.begin_transfer(AMOUNT, false);
    for (key, body) in told {
        ledger.heard(key, *body);
    }
    see(&mut ledger, &Seen { n, account: 1, amount: -AMOUNT, ..Seen::stage("debit") })?;
    see(&mut ledger, &Seen { n, account: 2, amount: AMOUNT, ..Seen::stage("credit") })?;
    see(&mut ledger, &Seen { n, paid: true, ..Seen::stage("settled") })?;
    Ok(ledger)
}

#[test]
fn a_job_and_its_child_tell() -> Result<()> {
    let (first, second) = (("a/job/job-0/1/0", 0), ("a/job/job-0/1/9", TOKEN));
    let child = ("a/leaf/leaf-0/1/0", 0);
    let good = job(&[first, child, second, second])?;
    assert!(good.is_clean());
    assert_eq!((good.calls, good.repeated_calls, good.workflows()), (4, 1, 2));
    for silent in [[first, second], [first, child], [child, second]] {
        assert_eq!(job(&silent)?.count(Wrong::Effect), 1, "{silent:?}");
    }
    assert_eq!(job(&[first, child, second, (child.0, 5)])?.count(Wrong::Effect), 1);
    assert_eq!(job(&[first, (child.0, 5), second])?.count(Wrong::Effect), 1);
    Ok(())
}

#[test]
fn a_transfer_tells_its_amount() -> Result<()> {
    let step = ("a/transfer/transfer-0/1/0", AMOUNT.unsigned_abs());
    let good = transfer(&[step, step])?;
    assert!(good.is_clean());
    assert_eq!((good.calls, good.repeated_calls, good.workflows()), (2, 1, 2));
    assert_eq!(transfer(&[])?.count(Wrong::Effect), 1);
    assert_eq!(transfer(&[(step.0, 41)])?.count(Wrong::Effect), 1);
    assert_eq!(transfer(&[step, (step.0, 41)])?.count(Wrong::Effect), 1);
    assert_eq!(transfer(&[step, ("a/transfer/transfer-0/2/0", step.1)])?.count(Wrong::Effect), 1);
    Ok(())
}

#[test]
fn a_step_of_nobody_is_wrong_and_an_alarm_is_no_workflow() -> Result<()> {
    let (_folder, mut ledger) = ledger()?;
    for key in ["a/job/job-0/1/0", "a/alarm/alarm-0/1/0", "a/job/0/1/0", ""] {
        ledger.heard(key, 0);
    }
    assert_eq!(ledger.count(Wrong::Effect), 4);
    let n = ledger.begin_alarm(1);
    see(&mut ledger, &Seen { n, slept_ms: 1, asked_ms: 1, ..Seen::stage("fired") })?;
    assert_eq!((ledger.workflows(), ledger.alarms_fired()), (0, 1));
    Ok(())
}
