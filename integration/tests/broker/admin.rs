//! Topics and groups: making, describing, changing, deleting.

use std::time::Duration;

use anyhow::{Result, anyhow};
use rdkafka::consumer::Consumer as _;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::message::OwnedHeaders;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use sakia_integration::kit::{Cluster, Isolation, set_topic_config, until};

use crate::cluster;

const SETTLE_DEADLINE: Duration = Duration::from_secs(15);
const FIRST_STAMP_MS: i64 = 1_000_000;

/// A topic of one partition with ten records, one second of record time apart, each in a batch of its own.
fn topic_with_ten_records(cluster: &Cluster) -> Result<String> {
    let topic = cluster.topic("ten", 1, &[])?;
    let mut writer = cluster.writer(&[])?;
    for second in 0..10 {
        writer.put_stamped(&topic, FIRST_STAMP_MS + second * 1000, OwnedHeaders::new())?;
        writer.drain()?;
    }
    Ok(topic)
}

fn await_setting(cluster: &Cluster, topic: &str, key: &str, value: &str) -> Result<()> {
    until(&format!("{key} is {value}"), SETTLE_DEADLINE, || {
        let now = cluster.topic_setting(topic, key)?;
        Ok((now.as_deref() == Some(value)).then_some(()))
    })
}

#[test]
fn a_topic_is_made_with_six_partitions() -> Result<()> {
    let cluster = cluster()?;
    let topic = cluster.topic("six", 6, &[])?;
    assert_eq!(cluster.partition_count(&topic)?, 6);
    Ok(())
}

#[test]
fn a_compacted_topic_tells_its_policy() -> Result<()> {
    let cluster = cluster()?;
    let settings = [("cleanup.policy", "compact"), ("min.cleanable.dirty.ratio", "0.1")];
    let topic = cluster.topic("compacted", 3, &settings)?;
    assert_eq!(cluster.partition_count(&topic)?, 3);
    assert_eq!(cluster.topic_setting(&topic, "cleanup.policy")?.as_deref(), Some("compact"));
    assert_eq!(cluster.topic_setting(&topic, "min.cleanable.dirty.ratio")?.as_deref(), Some("0.1"));
    Ok(())
}

#[test]
fn a_topic_that_exists_is_not_made_again() -> Result<()> {
    let cluster = cluster()?;
    let topic = cluster.topic("twice", 1, &[])?;
    assert_eq!(cluster.request_topic(&topic, 1, &[])?, Err(RDKafkaErrorCode::TopicAlreadyExists));
    Ok(())
}

#[test]
fn a_deleted_topic_leaves_the_listing_and_can_be_made_again() -> Result<()> {
    let cluster = cluster()?;
    let topic = cluster.topic("deleted", 2, &[])?;
    let mut writer = cluster.writer(&[])?;
    writer.put(&topic, 0, "key", "of the first life")?;
    writer.drain()?;
    cluster.delete_topic(&topic)?;
    until("the topic leaves the listing", SETTLE_DEADLINE, || {
        Ok((!cluster.lists_topic(&topic)?).then_some(()))
    })?;
    cluster.named_topic(&topic, 3, &[])?;
    assert_eq!(cluster.partition_count(&topic)?, 3);
    assert_eq!(cluster.read(&topic, &[0, 1, 2], Isolation::Committed)?.records, []);
    Ok(())
}

#[test]
fn watermarks_tell_the_first_and_the_next_offset() -> Result<()> {
    let cluster = cluster()?;
    let topic = topic_with_ten_records(&cluster)?;
    assert_eq!(cluster.watermarks(&topic, 0)?, (0, 10));
    Ok(())
}

#[test]
fn the_offset_of_a_time_is_that_of_the_first_record_not_before_it() -> Result<()> {
    let cluster = cluster()?;
    let topic = topic_with_ten_records(&cluster)?;
    let mut times = TopicPartitionList::new();
    times.add_partition_offset(&topic, 0, Offset::Offset(FIRST_STAMP_MS + 4500))?;
    let answer = cluster.observer()?.offsets_for_times(times, SETTLE_DEADLINE)?;
    let offsets: Vec<Offset> = answer.elements().iter().map(|element| element.offset()).collect();
    assert_eq!(offsets, [Offset::Offset(5)]);
    Ok(())
}

#[test]
fn deleted_records_raise_the_first_offset() -> Result<()> {
    let cluster = cluster()?;
    let topic = topic_with_ten_records(&cluster)?;
    cluster.delete_records(&topic, 0, 6)?;
    assert_eq!(cluster.watermarks(&topic, 0)?, (6, 10));
    let reading = cluster.read(&topic, &[0], Isolation::Uncommitted)?;
    let offsets: Vec<i64> = reading.records.iter().map(|record| record.offset).collect();
    assert_eq!(offsets, [6, 7, 8, 9]);
    Ok(())
}

#[test]
fn an_altered_setting_is_read_back() -> Result<()> {
    let cluster = cluster()?;
    let topic = topic_with_ten_records(&cluster)?;
    cluster.alter_topic(&topic, "retention.ms", "123456")?;
    await_setting(&cluster, &topic, "retention.ms", "123456")
}

#[test]
fn an_incremental_change_of_settings_leaves_the_others_alone() -> Result<()> {
    let cluster = cluster()?;
    let topic = cluster.topic("incremental", 1, &[("retention.ms", "123456")])?;
    set_topic_config(&cluster, &topic, "cleanup.policy", "compact")?;
    await_setting(&cluster, &topic, "cleanup.policy", "compact")?;
    assert_eq!(cluster.topic_setting(&topic, "retention.ms")?.as_deref(), Some("123456"));
    Ok(())
}

#[test]
fn a_topic_grows_from_one_partition_to_four() -> Result<()> {
    let cluster = cluster()?;
    let topic = topic_with_ten_records(&cluster)?;
    cluster.grow_topic(&topic, 4)?;
    until("four partitions", SETTLE_DEADLINE, || Ok((cluster.partition_count(&topic)? == 4).then_some(())))?;
    assert_eq!(cluster.watermarks(&topic, 0)?, (0, 10));
    Ok(())
}

#[test]
fn a_group_is_listed_and_its_offsets_go_when_it_is_deleted() -> Result<()> {
    let cluster = cluster()?;
    let topic = topic_with_ten_records(&cluster)?;
    let group = cluster.unique("group");
    cluster.group_client(&group, &[])?.commit(&topic, 0, 3)?;
    assert_eq!(cluster.group_offset(&group, &topic)?, Some(3));
    if !cluster.lists_group(&group)? {
        return Err(anyhow!("{group} is not listed"));
    }
    cluster.delete_group(&group)?;
    assert_eq!(cluster.group_offset(&group, &topic)?, None);
    Ok(())
}
