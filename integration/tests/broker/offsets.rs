//! Offsets of a group: committed plainly, and inside transactions.

use std::time::Duration;

use anyhow::{Context, Result};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use sakia_integration::kit::{Cluster, Consumer, Isolation, Writer, holds_for, joined};

use crate::cluster;

const PATIENCE: Duration = Duration::from_secs(20);

/// A stream processor in the middle of its work: ten records consumed, none committed.
struct Pipeline {
    cluster: Cluster,
    member: Consumer,
    owner: Writer,
    group: String,
    input: String,
    output: String,
}

impl Pipeline {
    fn start() -> Result<Self> {
        let cluster = cluster()?;
        let input = cluster.topic("input", 1, &[])?;
        let output = cluster.topic("output", 1, &[])?;
        let group = cluster.unique("group");
        let mut writer = cluster.writer(&[])?;
        for number in 0..10 {
            writer.put(&input, 0, "key", &number.to_string())?;
        }
        writer.drain()?;
        let member = cluster.member(&group, &input, &[("isolation.level", "read_committed")])?;
        member.take(10)?;
        let owner = cluster.owner_of(&cluster.unique("id"))?;
        Ok(Self { cluster, member, owner, group, input, output })
    }

    /// A transaction with one output record and an offset, not yet ended.
    fn open(&mut self, offset: i64) -> Result<()> {
        self.owner.begin()?;
        self.owner.put(&self.output, 0, "key", &offset.to_string())?;
        self.owner.send_offset(&self.input, offset, &self.member.metadata()?)?;
        self.owner.drain()?;
        Ok(())
    }

    fn unstable_offset(&self) -> Result<Option<i64>> {
        let isolation = Isolation::Uncommitted;
        Ok(self.cluster.committed_offset(&self.group, &self.input, isolation, PATIENCE)?)
    }

    fn stable_offset(&self) -> Result<Option<i64>> {
        self.cluster.group_offset(&self.group, &self.input)
    }
}

#[test]
fn an_offset_in_a_transaction_is_hidden_while_it_is_open_and_gone_when_it_aborts() -> Result<()> {
    let mut pipeline = Pipeline::start()?;
    pipeline.open(5)?;
    assert_eq!(pipeline.unstable_offset()?, None, "while open");
    pipeline.owner.abort()?;
    assert_eq!(pipeline.unstable_offset()?, None, "after the abort");
    Ok(())
}

#[test]
fn an_offset_in_a_transaction_is_visible_once_it_commits() -> Result<()> {
    let mut pipeline = Pipeline::start()?;
    pipeline.open(5)?;
    pipeline.owner.commit()?;
    assert_eq!(pipeline.stable_offset()?, Some(5));
    pipeline.open(8)?;
    pipeline.owner.abort()?;
    assert_eq!(pipeline.stable_offset()?, Some(5), "8 was aborted");
    pipeline.open(10)?;
    pipeline.owner.commit()?;
    assert_eq!(pipeline.stable_offset()?, Some(10));
    let output = pipeline.cluster.read(&pipeline.output, &[0], Isolation::Committed)?;
    assert_eq!(output.values(), ["5", "10"]);
    Ok(())
}

#[test]
fn a_stable_fetch_of_offsets_waits_for_the_transaction_that_holds_one() -> Result<()> {
    let mut pipeline = Pipeline::start()?;
    pipeline.open(7)?;
    let while_open = pipeline.cluster.committed_offset(
        &pipeline.group,
        &pipeline.input,
        Isolation::Committed,
        Duration::from_secs(3),
    );
    pipeline.owner.commit()?;
    // A new owner that got an answer here would start from an old offset.
    let refusal = while_open.err().context("it was answered while open")?;
    assert_eq!(refusal.rdkafka_error_code(), Some(RDKafkaErrorCode::OperationTimedOut));
    assert_eq!(pipeline.stable_offset()?, Some(7));
    Ok(())
}

#[test]
fn an_offset_in_the_name_of_an_old_generation_is_refused() -> Result<()> {
    let mut pipeline = Pipeline::start()?;
    let old = pipeline.member.metadata()?;
    let second = pipeline.cluster.member(&pipeline.group, &pipeline.input, &[])?;
    let mut settled = holds_for(Duration::from_secs(2));
    joined("one of two members owns the partition", &[&pipeline.member, &second], |owned| {
        settled(owned.iter().sum::<usize>() == 1)
    })?;
    pipeline.owner.begin()?;
    pipeline.owner.put(&pipeline.output, 0, "key", "of an old generation")?;
    let refusal = pipeline.owner.send_offset(&pipeline.input, 9, &old).err().context("it was accepted")?;
    let KafkaError::Transaction(refusal) = refusal else {
        anyhow::bail!("refused as {refusal:?}");
    };
    assert_eq!(refusal.code(), RDKafkaErrorCode::IllegalGeneration);
    assert!(refusal.txn_requires_abort());
    pipeline.owner.abort()?;
    assert_eq!(pipeline.stable_offset()?, None);
    Ok(())
}

#[test]
fn a_consumer_that_restarts_resumes_at_the_committed_offset() -> Result<()> {
    let cluster = cluster()?;
    let topic = cluster.topic("resume", 1, &[])?;
    let group = cluster.unique("group");
    let mut writer = cluster.writer(&[])?;
    for number in 0..100 {
        writer.put(&topic, 0, "key", &number.to_string())?;
    }
    writer.drain()?;
    let mut offsets = Vec::new();
    for count in [40, 60] {
        let member = cluster.member(&group, &topic, &[])?;
        let records = member.take(count)?;
        member.commit_past(&topic, records.last().context("no record")?)?;
        offsets.extend(records.iter().map(|record| record.offset));
    }
    assert_eq!(offsets, (0..100).collect::<Vec<i64>>());
    Ok(())
}

#[test]
fn a_plain_commit_after_one_in_a_transaction_stays_when_the_transaction_commits() -> Result<()> {
    let mut pipeline = Pipeline::start()?;
    pipeline.open(5)?;
    pipeline.member.commit(&pipeline.input, 0, 8)?;
    pipeline.owner.commit()?;
    assert_eq!(pipeline.stable_offset()?, Some(8));
    Ok(())
}
