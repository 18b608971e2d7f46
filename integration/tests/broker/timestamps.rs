//! Whose time a record has: its producer's, or the broker's (`message.timestamp.type`).

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rdkafka::consumer::Consumer as _;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::message::{Message, OwnedHeaders, Timestamp};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use sakia_integration::kit::{Cluster, Isolation, Writer, set_topic_config, until};

use crate::cluster;

const TIMESTAMP_TYPE: &str = "message.timestamp.type";
const APPEND_TIME: (&str, &str) = (TIMESTAMP_TYPE, "LogAppendTime");
/// Long before any broker's time.
const PRODUCERS_TIME_MS: i64 = 1_700_000_000_000;
const DEADLINE: Duration = Duration::from_secs(15);

/// Offsets and times of the first `count` records.
fn times(cluster: &Cluster, topic: &str, count: usize) -> Result<Vec<(i64, Timestamp)>> {
    let reader = cluster.reader(topic, &[0], Isolation::Committed)?;
    let mut seen = Vec::new();
    until("all records", DEADLINE, || {
        while seen.len() < count {
            match reader.poll(Duration::from_millis(100)) {
                Some(Ok(message)) => seen.push((message.offset(), message.timestamp())),
                _ => return Ok(None),
            }
        }
        Ok(Some(()))
    })?;
    Ok(seen)
}

fn offset_from(cluster: &Cluster, topic: &str, time_ms: i64) -> Result<Offset> {
    let mut times = TopicPartitionList::new();
    times.add_partition_offset(topic, 0, Offset::Offset(time_ms))?;
    let answer = cluster.observer()?.offsets_for_times(times, DEADLINE)?;
    Ok(answer.find_partition(topic, 0).context("no answer for the partition")?.offset())
}

/// Writes records until one is acknowledged with a time of the wanted kind: a broker may take a moment to
/// act on a changed setting.
fn write_until(
    writer: &mut Writer,
    topic: &str,
    what: &str,
    wanted: fn(&Timestamp) -> bool,
) -> Result<(i64, Timestamp)> {
    until(what, DEADLINE, || {
        writer.put_stamped(topic, PRODUCERS_TIME_MS, OwnedHeaders::new())?;
        writer.drain()?;
        let deliveries = writer.deliveries();
        let (_, offset) = deliveries.last.context("no record was acknowledged")?;
        let time = deliveries.last_time.context("no time was acknowledged")?;
        Ok(wanted(&time).then_some((offset, time)))
    })
}

#[test]
fn records_of_a_topic_with_append_time_have_the_brokers_time() -> Result<()> {
    let cluster = cluster()?;
    let topic = cluster.topic("append-time", 1, &[APPEND_TIME])?;
    assert_eq!(cluster.topic_setting(&topic, TIMESTAMP_TYPE)?.as_deref(), Some(APPEND_TIME.1));
    let mut acknowledged = Vec::new();
    for codec in ["none", "gzip", "lz4"] {
        let mut writer = cluster.writer(&[("compression.codec", codec), ("linger.ms", "50")])?;
        for _ in 0..3 {
            writer.put_stamped(&topic, PRODUCERS_TIME_MS, OwnedHeaders::new())?;
        }
        writer.drain()?;
        acknowledged.push(writer.deliveries().last_time.context("no time was acknowledged")?);
    }
    let read = times(&cluster, &topic, 9)?;
    let mut times_ms = Vec::new();
    for (offset, time) in &read {
        let Timestamp::LogAppendTime(ms) = *time else { anyhow::bail!("offset {offset} has {time:?}") };
        ensure!(ms > PRODUCERS_TIME_MS, "offset {offset} has its producer's time");
        times_ms.push(ms);
    }
    ensure!(times_ms.is_sorted(), "the broker's time went backwards: {times_ms:?}");
    let last_of_each: Vec<_> = [2, 5, 8].map(|at: usize| read[at].1).into();
    assert_eq!(acknowledged, last_of_each, "a producer is told the time that readers see");

    assert_eq!(offset_from(&cluster, &topic, PRODUCERS_TIME_MS)?, Offset::Offset(0));
    let first_of_last_time = times_ms.iter().position(|ms| *ms == times_ms[8]).context("no such time")?;
    let expected = Offset::Offset(i64::try_from(first_of_last_time)?);
    assert_eq!(offset_from(&cluster, &topic, times_ms[8])?, expected);
    assert_eq!(offset_from(&cluster, &topic, times_ms[8] + 1)?, Offset::End);
    Ok(())
}

#[test]
fn committed_records_of_a_transaction_have_the_brokers_time_too() -> Result<()> {
    let cluster = cluster()?;
    let topic = cluster.topic("append-time-transaction", 1, &[APPEND_TIME])?;
    let mut owner = cluster.owner_of(&cluster.unique("id"))?;
    for end in [Writer::abort, Writer::commit] {
        owner.begin()?;
        owner.put_stamped(&topic, PRODUCERS_TIME_MS, OwnedHeaders::new())?;
        owner.drain()?;
        end(&owner)?;
    }
    let (offset, time) = times(&cluster, &topic, 1)?[0];
    assert_eq!(offset, 2, "behind an aborted record and its marker");
    assert_eq!(Some(time), owner.deliveries().last_time);
    ensure!(matches!(time, Timestamp::LogAppendTime(_)), "{time:?}");
    Ok(())
}

#[test]
fn a_change_of_the_setting_counts_for_what_comes_after_it() -> Result<()> {
    let cluster = cluster()?;
    let topic = cluster.topic("changed-time", 1, &[])?;
    let mut writer = cluster.writer(&[])?;
    writer.put_stamped(&topic, PRODUCERS_TIME_MS, OwnedHeaders::new())?;
    writer.drain()?;
    set_topic_config(&cluster, &topic, TIMESTAMP_TYPE, "LogAppendTime")?;
    let stamped =
        write_until(&mut writer, &topic, "the broker's time", |t| matches!(t, Timestamp::LogAppendTime(_)))?;
    set_topic_config(&cluster, &topic, TIMESTAMP_TYPE, "CreateTime")?;
    let created =
        write_until(&mut writer, &topic, "the producer's time", |t| matches!(t, Timestamp::CreateTime(_)))?;
    let read = times(&cluster, &topic, usize::try_from(created.0)? + 1)?;
    assert_eq!(read[0], (0, Timestamp::CreateTime(PRODUCERS_TIME_MS)));
    assert_eq!(read[usize::try_from(stamped.0)?], stamped);
    assert_eq!(read[usize::try_from(created.0)?], (created.0, Timestamp::CreateTime(PRODUCERS_TIME_MS)));
    Ok(())
}

#[test]
fn a_time_between_the_records_of_a_transaction_and_its_end_is_found_at_its_end() -> Result<()> {
    let cluster = cluster()?;
    let topic = cluster.topic("end-time", 1, &[])?;
    let mut owner = cluster.owner_of(&cluster.unique("id"))?;
    owner.begin()?;
    owner.put_stamped(&topic, PRODUCERS_TIME_MS, OwnedHeaders::new())?;
    owner.commit()?;
    until("the end of the transaction", DEADLINE, || {
        Ok((cluster.last_offset(&topic, 0, Isolation::Committed)? == 2).then_some(()))
    })?;
    assert_eq!(offset_from(&cluster, &topic, PRODUCERS_TIME_MS + 1)?, Offset::Offset(1));
    Ok(())
}

#[test]
fn a_record_from_the_far_future_is_refused() -> Result<()> {
    let cluster = cluster()?;
    let topic = cluster.topic("future", 1, &[])?;
    let mut writer = cluster.writer(&[])?;
    writer.put_stamped(&topic, i64::MAX / 2, OwnedHeaders::new())?;
    let refused = writer.settle()?.refused;
    assert_eq!(refused.len(), 1);
    assert_eq!(refused[0].rdkafka_error_code(), Some(RDKafkaErrorCode::InvalidTimestamp));
    Ok(())
}
