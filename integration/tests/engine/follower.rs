//! The campaign's reader of the commands must say so when some were gone before it read them.

use crate::cluster;
use anyhow::Result;
use sakia_integration::campaign::commands::Follower;
use sakia_integration::campaign::faults::Faults;
use sakia_integration::campaign::ledger::Ledger;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_millis(100);

/// Writes ten starts, has the first `trimmed` of them deleted, and says whether a follower has missed any.
fn misses(trimmed: i64) -> Result<bool> {
    let (cluster, folder) = (cluster(), tempfile::TempDir::new()?);
    let app = cluster.unique("followed");
    let topic = format!("{app}.commands");
    cluster.named_topic(&topic, 1, &[])?;
    let mut writer = cluster.writer(&[])?;
    for n in 0..10 {
        let headers = [("sakia-kind", "start"), ("sakia-workflow", "job")];
        writer.put_keyed(&topic, &format!("job-{n}"), &n.to_string(), &headers)?;
    }
    writer.drain()?;
    if trimmed > 0 {
        cluster.delete_records(&topic, 0, trimmed)?;
    }
    let faults = Arc::new(Faults::new(&folder.path().join("faults.jsonl"), 1)?);
    let ledger = Arc::new(Mutex::new(Ledger::new(faults)?));
    let mut follower = Follower::new(&cluster, &app, 1, &ledger)?;
    // Until it has read all of them, or says that it cannot.
    while follower.missed.is_empty() && !follower.has_read(0, 10) {
        follower.follow(PATIENCE);
    }
    Ok(!follower.missed.is_empty())
}

#[test]
fn a_follower_that_comes_too_late_says_so_and_one_in_time_does_not() -> Result<()> {
    assert!(!misses(0)?);
    assert!(misses(5)?);
    Ok(())
}
