//! A producer whose transactional id has a new owner can do nothing any more.

use std::time::Duration;

use anyhow::{Context, Result};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use sakia_integration::kit::{Cluster, Isolation, Writer, until};

use crate::cluster;

/// An owner of `id` that has one record in an open transaction.
fn owner_with_open_record(cluster: &Cluster, id: &str, topic: &str) -> Result<Writer> {
    let mut owner = cluster.owner_of(id)?;
    owner.begin()?;
    owner.put(topic, 0, "key", "of the old owner")?;
    owner.drain()?;
    Ok(owner)
}

#[test]
fn the_old_owner_cannot_commit() -> Result<()> {
    let cluster = cluster()?;
    let topic = cluster.topic("commit", 1, &[])?;
    let id = cluster.unique("id");
    let old = owner_with_open_record(&cluster, &id, &topic)?;
    let mut new = cluster.owner_of(&id)?;
    new.begin()?;
    new.put(&topic, 0, "key", "of the new owner")?;
    new.commit()?;
    let refusal = old.commit_now().err().context("the old owner committed")?;
    let KafkaError::Transaction(refusal) = refusal else {
        anyhow::bail!("refused as {refusal:?}");
    };
    assert_eq!(refusal.code(), RDKafkaErrorCode::Fenced);
    assert!(refusal.is_fatal());
    let reading = cluster.read(&topic, &[0], Isolation::Committed)?;
    assert_eq!(reading.values(), ["of the new owner"]);
    Ok(())
}

#[test]
fn the_old_owners_open_records_are_aborted_when_the_new_one_is_ready() -> Result<()> {
    let cluster = cluster()?;
    let topic = cluster.topic("open", 1, &[])?;
    let id = cluster.unique("id");
    let _old = owner_with_open_record(&cluster, &id, &topic)?;
    let mut plain = cluster.writer(&[])?;
    plain.put(&topic, 0, "key", "plain")?;
    plain.drain()?;
    cluster.owner_of(&id)?;
    // Not at some time later: a new owner reads its journal's end right after this.
    assert_eq!(cluster.read(&topic, &[0], Isolation::Committed)?.values(), ["plain"]);
    Ok(())
}

#[test]
fn the_old_owner_cannot_write() -> Result<()> {
    let cluster = cluster()?;
    let topic = cluster.topic("write", 1, &[])?;
    let id = cluster.unique("id");
    let mut old = cluster.owner_of(&id)?;
    old.begin()?;
    old.put(&topic, 0, "key", "before")?;
    old.commit()?;
    cluster.owner_of(&id)?;
    old.begin()?;
    old.put(&topic, 0, "key", "after")?;
    let deliveries = old.settle()?;
    assert_eq!(deliveries.acknowledged, 1, "only the record from before");
    // A fenced producer may report no more of each record than that it was purged: the reason is here.
    assert_eq!(old.fatal_error(), Some(RDKafkaErrorCode::Fenced));
    assert!(old.commit_now().is_err());
    assert_eq!(cluster.read(&topic, &[0], Isolation::Uncommitted)?.values(), ["before"]);
    Ok(())
}

#[test]
fn the_broker_aborts_a_transaction_that_stays_open_beyond_its_timeout() -> Result<()> {
    let cluster = cluster()?;
    let topic = cluster.topic("timeout", 1, &[])?;
    let id = cluster.unique("id");
    let mut owner = cluster.writer(&[
        ("transactional.id", &id),
        ("transaction.timeout.ms", "3000"),
        ("message.timeout.ms", "2500"),
    ])?;
    owner.init()?;
    owner.begin()?;
    owner.put(&topic, 0, "key", "left open")?;
    owner.drain()?;
    let mut plain = cluster.writer(&[])?;
    plain.put(&topic, 0, "key", "plain")?;
    plain.drain()?;
    // Without this one crashed producer would block every committed reader for good.
    until("the broker aborts the transaction", Duration::from_secs(40), || {
        let reading = cluster.read(&topic, &[0], Isolation::Committed)?;
        assert!(!reading.values().contains(&"left open"));
        Ok((reading.values() == ["plain"]).then_some(()))
    })
}
