//! Compacted topics: a table must be restorable from them, whatever was cleaned.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;
use sakia_integration::kit::{Isolation, until};

use crate::cluster;

/// Compacts as eagerly as a topic can be told to.
const EAGER: &[(&str, &str)] = &[
    ("cleanup.policy", "compact"),
    ("segment.ms", "1000"),
    ("segment.bytes", "1048576"),
    ("min.cleanable.dirty.ratio", "0.01"),
    ("min.compaction.lag.ms", "0"),
    ("delete.retention.ms", "100"),
];
/// A real cleaner sleeps 15 s between its rounds.
const CLEANER_DEADLINE: Duration = Duration::from_secs(60);

fn padded(number: usize, length: usize) -> String {
    format!("{number:012}{}", "x".repeat(length))
}

#[test]
fn the_latest_values_are_restored_from_a_compacted_topic() -> Result<()> {
    let cluster = cluster()?;
    let topic = cluster.topic("latest", 1, EAGER)?;
    let mut writer = cluster.writer(&[("linger.ms", "5")])?;
    let mut expected = BTreeMap::new();
    for number in 0..4000 {
        let (key, value) = (format!("k{}", number % 20), padded(number, 1000));
        writer.put(&topic, 0, &key, &value)?;
        expected.insert(key, value);
    }
    for number in 0..5 {
        let key = format!("k{number}");
        writer.put_tombstone(&topic, 0, &key)?;
        expected.remove(&key);
    }
    writer.drain()?;
    assert!(cluster.read(&topic, &[0], Isolation::Committed)?.fold() == expected);
    Ok(())
}

#[test]
fn a_compacted_log_shrinks_and_keeps_the_latest_values() -> Result<()> {
    let cluster = cluster()?;
    let topic = cluster.topic("shrinks", 1, EAGER)?;
    let mut writer = cluster.writer(&[("linger.ms", "5")])?;
    let mut expected = BTreeMap::from([("tick".to_owned(), "tick".to_owned())]);
    for number in 0..4000 {
        let (key, value) = (format!("k{}", number % 20), padded(number, 1000));
        writer.put(&topic, 0, &key, &value)?;
        expected.insert(key, value);
    }
    until("fewer than half of the records are left", CLEANER_DEADLINE, || {
        // A record now and then lets the segment roll: the active one is never cleaned.
        writer.put(&topic, 0, "tick", "tick")?;
        writer.drain()?;
        let reading = cluster.read(&topic, &[0], Isolation::Committed)?;
        assert!(reading.fold() == expected, "the table is exact at every moment");
        let offsets: Vec<i64> = reading.records.iter().map(|record| record.offset).collect();
        assert!(offsets.is_sorted_by(|one, next| one < next), "offsets stay as they were given");
        Ok((reading.records.len() < 2000).then_some(()))
    })
}

#[test]
fn a_table_written_in_transactions_holds_only_what_was_committed() -> Result<()> {
    let cluster = cluster()?;
    let topic = cluster.topic("table", 1, EAGER)?;
    let mut owner = cluster.owner_of(&cluster.unique("id"))?;
    let mut expected = BTreeMap::new();
    for round in 0..60 {
        let kept = round % 3 != 2;
        owner.begin()?;
        for number in 0..5 {
            let (key, value) = (format!("k{number}"), padded(round * 10 + number, 2000));
            owner.put(&topic, 0, &key, &value)?;
            if kept {
                expected.insert(key, value);
            }
        }
        if kept {
            owner.commit()?;
        } else {
            owner.abort()?;
        }
    }
    assert!(cluster.read(&topic, &[0], Isolation::Committed)?.fold() == expected);
    Ok(())
}

#[test]
fn a_partition_of_eight_megabytes_is_kept_whole() -> Result<()> {
    let cluster = cluster()?;
    let topic = cluster.topic("whole", 1, &[("cleanup.policy", "compact")])?;
    let mut writer = cluster.writer(&[("batch.num.messages", "50"), ("linger.ms", "5")])?;
    for number in 0..8000 {
        writer.put(&topic, 0, &format!("key-{number}"), &padded(number, 1000))?;
    }
    writer.drain()?;
    let table = cluster.read(&topic, &[0], Isolation::Committed)?.fold();
    assert_eq!(table.len(), 8000);
    assert!((0..8000).all(|number| table.get(&format!("key-{number}")) == Some(&padded(number, 1000))));
    Ok(())
}
