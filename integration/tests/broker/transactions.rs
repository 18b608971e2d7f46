//! Transactions that end well.

use anyhow::{Context, Result};
use sakia_integration::kit::Isolation;

use crate::cluster;

#[test]
fn a_transaction_commits_records_of_two_topics_together() -> Result<()> {
    let cluster = cluster()?;
    let first = cluster.topic("first", 2, &[])?;
    let second = cluster.topic("second", 1, &[])?;
    let mut owner = cluster.owner_of(&cluster.unique("id"))?;
    for round in 0..3 {
        owner.begin()?;
        for number in 0..10 {
            let value = format!("{round}-{number}");
            owner.put(&first, number % 2, "key", &value)?;
            owner.put(&second, 0, "key", &value)?;
        }
        owner.commit()?;
    }
    assert_eq!(cluster.read(&first, &[0, 1], Isolation::Committed)?.records.len(), 30);
    assert_eq!(cluster.read(&second, &[0], Isolation::Committed)?.records.len(), 30);
    // Each commit leaves a marker in every partition that it wrote to.
    assert_eq!(cluster.watermarks(&second, 0)?, (0, 33));
    Ok(())
}

#[test]
fn a_hundred_transactions_of_one_record_follow_one_another() -> Result<()> {
    let cluster = cluster()?;
    let topic = cluster.topic("hundred", 1, &[])?;
    let mut owner = cluster.owner_of(&cluster.unique("id"))?;
    for number in 0..100 {
        owner.begin()?;
        owner.put(&topic, 0, "key", &number.to_string())?;
        owner.commit().with_context(|| format!("transaction {number}"))?;
    }
    let reading = cluster.read(&topic, &[0], Isolation::Committed)?;
    let expected: Vec<String> = (0..100).map(|number: i32| number.to_string()).collect();
    assert_eq!(reading.values(), expected);
    Ok(())
}
