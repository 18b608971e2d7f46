//! Reads the topics during the run, and once more afterwards: both readings must be the same.
//!
//! What a reader saw is kept as one hash per partition since the last audit; an audit reads the same range again with a
//! consumer of its own, compares, and has Kafka forget it.

use super::ledger::{Ledger, Wrong};
use super::lock::lock;
use super::records::Found;
use crate::kit::{Cluster, Isolation};
use anyhow::{Context, Result};
use rdkafka::Message;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What is not there by then, while Kafka is, is lost.
const READ_DEADLINE: Duration = Duration::from_secs(300);

/// What was seen of one partition since the last audit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Range {
    from: i64,
    to: i64,
    records: u64,
    hash: u64,
}

impl Range {
    fn add(&mut self, found: &Found) {
        let mut hasher = DefaultHasher::new();
        (self.hash, found.offset, &found.key, &found.value).hash(&mut hasher);
        self.hash = hasher.finish();
        self.records += 1;
        self.to = found.offset + 1;
    }
}

/// Follows one topic.
pub struct Audit {
    cluster: Cluster,
    topic: String,
    consumer: BaseConsumer,
    ranges: Mutex<Vec<Range>>,
    ledger: Arc<Mutex<Ledger>>,
    judge: fn(&mut Ledger, &Found),
}

impl Audit {
    /// Follows a topic from its beginning, and gives each record to `judge`.
    pub fn new(
        cluster: &Cluster,
        topic: &str,
        partitions: i32,
        ledger: &Arc<Mutex<Ledger>>,
        judge: fn(&mut Ledger, &Found),
    ) -> Result<Self> {
        let all: Vec<i32> = (0..partitions).collect();
        Ok(Audit {
            cluster: cluster.clone(),
            topic: topic.into(),
            consumer: cluster.reader(topic, &all, Isolation::Committed)?,
            ranges: Mutex::new(vec![Range::default(); all.len()]),
            ledger: ledger.clone(),
            judge,
        })
    }

    /// Reads what there is within `patience`. Errors pass: brokers are killed, the consumer comes back by itself.
    pub fn follow(&self, patience: Duration) {
        let Some(Ok(message)) = self.consumer.poll(patience) else { return };
        let found = found(&message);
        let behind = match lock(&self.ranges).get_mut(usize::try_from(found.lane).unwrap_or(usize::MAX)) {
            Some(range) if found.offset < range.to => true,
            Some(range) => {
                range.add(&found);
                false
            }
            None => true,
        };
        let mut ledger = lock(&self.ledger);
        if behind {
            let what = format!("{}: offset {} of partition {} again", self.topic, found.offset, found.lane);
            ledger.accuse(Wrong::Torn, &what);
        } else {
            (self.judge)(&mut ledger, &found);
        }
    }

    /// Reads what was seen since the last audit once more. Returns how many records there were. On the thread that
    /// follows, so that nothing is seen meanwhile.
    pub fn audit(&self) -> Result<u64> {
        let mut records = 0;
        let seen = lock(&self.ranges).clone();
        for (lane, first) in (0_i32..).zip(seen) {
            if first.records == 0 {
                continue;
            }
            let second = self.read(lane, first.from, first.to)?;
            if second != first {
                let what =
                    format!("{} {lane}: read as {first:?} during the run, as {second:?} after", self.topic);
                lock(&self.ledger).accuse(Wrong::Lost, &what);
            }
            records += first.records;
            let mut ranges = lock(&self.ranges);
            let range = ranges.get_mut(usize::try_from(lane)?).context("no such partition")?;
            *range = Range { from: first.to, to: first.to, ..Range::default() };
            drop(ranges);
            // When the broker is away, the next audit has it forget this range too.
            let _ = self.cluster.delete_records(&self.topic, lane, first.to);
        }
        Ok(records)
    }

    fn read(&self, lane: i32, from: i64, to: i64) -> Result<Range> {
        let consumer = self.cluster.reader(&self.topic, &[], Isolation::Committed)?;
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&self.topic, lane, Offset::Offset(from))?;
        consumer.assign(&list)?;
        let mut range = Range { from, to: from, ..Range::default() };
        let clock = lock(&self.ledger).clock.clone();
        let began = clock.now();
        while range.to < to {
            if clock.now() - began > READ_DEADLINE {
                break;
            }
            if let Some(Ok(message)) = consumer.poll(Duration::from_millis(100)) {
                let found = found(&message);
                if found.offset >= to {
                    break;
                }
                range.add(&found);
            }
        }
        Ok(range)
    }
}

fn found(message: &impl Message) -> Found {
    let text = |bytes: Option<&[u8]>| String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned();
    Found {
        lane: message.partition(),
        offset: message.offset(),
        key: text(message.key()),
        value: text(message.payload()),
    }
}
