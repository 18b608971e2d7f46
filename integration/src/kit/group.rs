//! Consumer groups: members in this process, and the offsets that a group has committed.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerGroupMetadata};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::cluster::{Cluster, REQUEST_TIMEOUT};
use super::reader::{Isolation, Record};

const ASSIGNMENT_DEADLINE: Duration = Duration::from_secs(40);

/// One partition with an offset.
pub(crate) fn offset_list(topic: &str, partition: i32, offset: i64) -> KafkaResult<TopicPartitionList> {
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, partition, Offset::Offset(offset))?;
    Ok(list)
}

/// A member of a group, or a client that asks for the group's offsets.
pub struct Consumer {
    consumer: BaseConsumer,
}

impl Cluster {
    fn group_config(&self, group: &str, settings: &[(&str, &str)]) -> ClientConfig {
        let mut config = self.client_config();
        config
            .set("group.id", group)
            .set("enable.auto.commit", "false")
            .set("auto.offset.reset", "earliest")
            .set("session.timeout.ms", "6000")
            .set("heartbeat.interval.ms", "1000")
            .set("fetch.wait.max.ms", "100");
        for (key, value) in settings {
            config.set(*key, *value);
        }
        config
    }

    /// A client of the group that has not joined it.
    pub fn group_client(&self, group: &str, settings: &[(&str, &str)]) -> Result<Consumer> {
        Ok(Consumer { consumer: self.group_config(group, settings).create()? })
    }

    /// A member: it joins as soon as it is polled. The session is 6 s, the least that Kafka allows.
    pub fn member(&self, group: &str, topic: &str, settings: &[(&str, &str)]) -> Result<Consumer> {
        let member = self.group_client(group, settings)?;
        member.consumer.subscribe(&[topic])?;
        Ok(member)
    }

    /// The offset that the group has committed for partition 0. `Committed` waits for the end of a transaction that
    /// holds one, for as long as `patience`.
    pub fn committed_offset(
        &self,
        group: &str,
        topic: &str,
        isolation: Isolation,
        patience: Duration,
    ) -> Result<Option<i64>, KafkaError> {
        let consumer: BaseConsumer =
            self.group_config(group, &[("isolation.level", isolation.setting())]).create()?;
        let mut list = TopicPartitionList::new();
        list.add_partition(topic, 0);
        let answer = consumer.committed_offsets(list, patience)?;
        for element in answer.elements() {
            element.error()?;
            if let Offset::Offset(offset) = element.offset() {
                return Ok(Some(offset));
            }
        }
        Ok(None)
    }

    /// The offset that the group has committed for a partition.
    pub fn partition_offset(&self, group: &str, topic: &str, partition: i32) -> Result<Option<i64>> {
        let consumer: BaseConsumer = self.group_config(group, &[]).create()?;
        let mut list = TopicPartitionList::new();
        list.add_partition(topic, partition);
        let answer = consumer.committed_offsets(list, REQUEST_TIMEOUT)?;
        Ok(answer.elements().first().and_then(|element| match element.offset() {
            Offset::Offset(offset) => Some(offset),
            _ => None,
        }))
    }

    /// The offsets that the group has committed for the first partitions, 0 where there is none, by one client.
    pub fn partition_offsets(&self, group: &str, topic: &str, partitions: i32) -> Result<Vec<i64>> {
        let consumer: BaseConsumer = self.group_config(group, &[]).create()?;
        let mut list = TopicPartitionList::new();
        list.add_partition_range(topic, 0, partitions - 1);
        let answer = consumer.committed_offsets(list, REQUEST_TIMEOUT)?;
        let offset = |partition| match answer.find_partition(topic, partition).map(|p| p.offset()) {
            Some(Offset::Offset(offset)) => offset,
            _ => 0,
        };
        Ok((0..partitions).map(offset).collect())
    }

    /// As [`Cluster::committed_offset`], of a group with no transaction under way.
    pub fn group_offset(&self, group: &str, topic: &str) -> Result<Option<i64>> {
        Ok(self.committed_offset(group, topic, Isolation::Committed, REQUEST_TIMEOUT)?)
    }
}

impl Consumer {
    /// Waits at most `patience` for a record; also keeps the membership alive.
    pub fn poll(&self, patience: Duration) -> Result<Option<Record>> {
        match self.consumer.poll(patience) {
            None => Ok(None),
            Some(Ok(message)) => Ok(Some(Record::of(&message))),
            Some(Err(error)) => Err(error.into()),
        }
    }

    /// Gives the subscription up; the member leaves with one of the next polls.
    pub fn unsubscribe(&self) {
        self.consumer.unsubscribe();
    }

    /// How many partitions it owns now.
    pub fn owned(&self) -> Result<usize> {
        Ok(self.consumer.assignment()?.count())
    }

    /// The partitions that it owns now, in order.
    pub fn owned_partitions(&self) -> Result<Vec<i32>> {
        let assignment = self.consumer.assignment()?;
        let mut owned: Vec<i32> = assignment.elements().iter().map(|element| element.partition()).collect();
        owned.sort_unstable();
        Ok(owned)
    }

    /// What a transactional producer needs to send offsets in this member's name.
    pub fn metadata(&self) -> Result<ConsumerGroupMetadata> {
        let metadata = self.consumer.group_metadata();
        metadata.ok_or_else(|| anyhow::anyhow!("the consumer has no group metadata"))
    }

    /// Commits the next offset to read of a partition.
    pub fn commit(&self, topic: &str, partition: i32, offset: i64) -> Result<()> {
        Ok(self.consumer.commit(&offset_list(topic, partition, offset)?, CommitMode::Sync)?)
    }

    /// Commits past a record that was read.
    pub fn commit_past(&self, topic: &str, record: &Record) -> Result<()> {
        self.commit(topic, record.partition, record.offset + 1)
    }

    /// Takes the next `count` records.
    pub fn take(&self, count: usize) -> Result<Vec<Record>> {
        let mut taken = Vec::with_capacity(count);
        let began = Instant::now();
        while taken.len() < count {
            ensure!(began.elapsed() < ASSIGNMENT_DEADLINE, "only {} of {count} records came", taken.len());
            taken.extend(self.poll(Duration::from_millis(100))?);
        }
        Ok(taken)
    }
}

/// Polls the members until the condition on their partition counts holds.
pub fn joined(
    what: &str,
    members: &[&Consumer],
    mut settled: impl FnMut(&[usize]) -> bool,
) -> Result<Duration> {
    let began = Instant::now();
    loop {
        for member in members {
            member.poll(Duration::from_millis(10))?;
        }
        let owned = members.iter().map(|member| member.owned()).collect::<Result<Vec<_>>>()?;
        if settled(&owned) {
            return Ok(began.elapsed());
        }
        ensure!(began.elapsed() < ASSIGNMENT_DEADLINE, "{what}: not reached, partitions owned {owned:?}");
    }
}
