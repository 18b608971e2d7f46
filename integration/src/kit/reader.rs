//! Reading partitions from the first record to the end.

use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::{Headers as _, Message};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::cluster::Cluster;

const READ_DEADLINE: Duration = Duration::from_secs(40);

/// Whether a reader sees records of open and aborted transactions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// Only what is committed, and nothing behind an open transaction.
    Committed,
    /// Everything in the log.
    Uncommitted,
}

impl Isolation {
    /// The value of `isolation.level`.
    pub fn setting(self) -> &'static str {
        match self {
            Self::Committed => "read_committed",
            Self::Uncommitted => "read_uncommitted",
        }
    }
}

/// One record as read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// Its timestamp in milliseconds, if it has one.
    pub timestamp_ms: Option<i64>,
    /// Its key, if it has one.
    pub key: Option<String>,
    /// Its value; none is a tombstone.
    pub value: Option<String>,
    /// Its headers, as text.
    pub headers: Vec<(String, String)>,
}

impl Record {
    /// Copies what the tests look at.
    pub fn of(message: &impl Message) -> Self {
        let text = |bytes: Option<&[u8]>| bytes.map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        Self {
            partition: message.partition(),
            offset: message.offset(),
            timestamp_ms: message.timestamp().to_millis(),
            key: text(message.key()),
            value: text(message.payload()),
            headers: message.headers().map_or_else(Vec::new, |all| {
                all.iter().map(|h| (h.key.to_owned(), text(h.value).unwrap_or_default())).collect()
            }),
        }
    }
}

/// What was read, in the order of arrival.
#[derive(Debug, Default)]
pub struct Reading {
    /// The records.
    pub records: Vec<Record>,
}

impl Reading {
    /// The values alone; a tombstone counts as the empty string.
    pub fn values(&self) -> Vec<&str> {
        self.records.iter().map(|record| record.value.as_deref().unwrap_or_default()).collect()
    }

    /// The state that a table restored from these records would have.
    pub fn fold(&self) -> BTreeMap<String, String> {
        let mut table = BTreeMap::new();
        for record in &self.records {
            let key = record.key.clone().unwrap_or_default();
            match &record.value {
                Some(value) => table.insert(key, value.clone()),
                None => table.remove(&key),
            };
        }
        table
    }
}

impl Cluster {
    /// Reads the partitions from their first record until the broker has told the end of each.
    ///
    /// A committed reader is told the end at the last stable offset, also while a transaction is open.
    pub fn read(&self, topic: &str, partitions: &[i32], isolation: Isolation) -> Result<Reading> {
        let consumer = self.reader(topic, partitions, isolation)?;
        read_to_end(&consumer, topic, partitions)
    }

    /// As [`Cluster::read`], committed, of one partition from an offset on.
    pub fn read_from(&self, topic: &str, partition: i32, from: i64) -> Result<Reading> {
        let consumer = self.reader(topic, &[], Isolation::Committed)?;
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition, Offset::Offset(from))?;
        consumer.assign(&list)?;
        read_to_end(&consumer, topic, &[partition])
    }

    /// A consumer at the beginning of the partitions, outside any group.
    pub fn reader(&self, topic: &str, partitions: &[i32], isolation: Isolation) -> Result<BaseConsumer> {
        let consumer: BaseConsumer = self
            .client_config()
            .set("group.id", "reader")
            .set("enable.auto.commit", "false")
            .set("enable.partition.eof", "true")
            .set("fetch.wait.max.ms", "100")
            .set("check.crcs", "true")
            .set("isolation.level", isolation.setting())
            .create()?;
        let mut list = TopicPartitionList::new();
        for partition in partitions {
            list.add_partition_offset(topic, *partition, Offset::Beginning)?;
        }
        consumer.assign(&list)?;
        Ok(consumer)
    }
}

fn read_to_end(consumer: &BaseConsumer, topic: &str, partitions: &[i32]) -> Result<Reading> {
    let mut reading = Reading::default();
    let mut ended = HashSet::new();
    let began = Instant::now();
    while ended.len() < partitions.len() {
        ensure!(began.elapsed() < READ_DEADLINE, "{topic}: the end of {partitions:?} was not told");
        match consumer.poll(Duration::from_millis(100)) {
            None => {}
            Some(Err(KafkaError::PartitionEOF(partition))) => drop(ended.insert(partition)),
            Some(Err(error)) => return Err(error.into()),
            Some(Ok(message)) => reading.records.push(Record::of(&message)),
        }
    }
    Ok(reading)
}
