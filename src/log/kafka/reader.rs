//! Reads one partition, for restores and replays.

use super::config::KafkaConfig;
use super::connection::{CONNECT_WAIT, connect};
use super::context::Events;
use super::detached::Detached;
use super::fault;
use super::record;
use crate::log::{Isolation, Lent, LogError, LogReader, Record};
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use serde::Deserialize;
use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

/// The part of librdkafka's statistics that tells where the fetcher is.
#[derive(Deserialize)]
struct Statistics {
    topics: HashMap<String, TopicStatistics>,
}
#[derive(Deserialize)]
struct TopicStatistics {
    partitions: HashMap<String, PartitionStatistics>,
}
#[derive(Deserialize)]
struct PartitionStatistics {
    next_offset: i64,
}

struct ReaderContext {
    events: Events,
    topic: String,
    partition: String,
    /// Next offset to fetch, as of the last statistics: everything below is queued or was handed out.
    fetched: AtomicI64,
}

impl ClientContext for ReaderContext {
    fn log(&self, level: RDKafkaLogLevel, fac: &str, line: &str) {
        self.events.log(level, fac, line);
    }
    fn error(&self, error: KafkaError, reason: &str) {
        self.events.error(&error, reason);
    }
    fn stats_raw(&self, json: &[u8]) {
        self.events.count();
        let Ok(s) = serde_json::from_slice::<Statistics>(json) else { return };
        if let Some(p) = s.topics.get(&self.topic).and_then(|t| t.partitions.get(&self.partition)) {
            self.fetched.store(p.next_offset, Ordering::SeqCst);
        }
    }
}

impl ConsumerContext for ReaderContext {}

/// What becomes of a message.
type Take<'a, T> = &'a mut dyn FnMut(&BorrowedMessage<'_>) -> T;

/// [`LogReader`] on Kafka.
pub struct KafkaReader {
    consumer: Detached<BaseConsumer<ReaderContext>>,
    topic: String,
    partition: i32,
    /// One past the last record handed out.
    next: i64,
    /// Where reading goes on, as far as known: past control records, aborted ones and emptied batches.
    position: i64,
}

impl KafkaReader {
    pub(crate) fn open(
        config: &KafkaConfig,
        topic: &str,
        partition: i32,
        from: i64,
        isolation: Isolation,
    ) -> Result<KafkaReader, LogError> {
        let what = format!("reader of topic {topic} partition {partition}");
        let context = ReaderContext {
            events: Events::new(&what),
            topic: topic.to_owned(),
            partition: partition.to_string(),
            fetched: AtomicI64::new(-1),
        };
        let consumer: BaseConsumer<ReaderContext> =
            config.reader(isolation).create_with_context(context).map_err(|e| fault::creation(&what, &e))?;
        connect(consumer.client(), topic, CONNECT_WAIT);
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition, Offset::Offset(from))
            .and_then(|()| consumer.assign(&list))
            .map_err(|e| LogError::Broken(format!("{what} from offset {from}: {}", fault::text(&e))))?;
        Ok(KafkaReader {
            consumer: Detached::new(consumer),
            topic: topic.to_owned(),
            partition,
            next: from,
            position: from,
        })
    }

    /// librdkafka's position: it passes control records, but stays before a batch that compaction has emptied.
    fn refresh(&mut self) -> Result<(), LogError> {
        let list = self.consumer.position().map_err(|e| {
            LogError::Unavailable(format!(
                "position in topic {} partition {}: {}",
                self.topic,
                self.partition,
                fault::text(&e)
            ))
        })?;
        for e in list.elements() {
            if let Offset::Offset(at) = e.offset() {
                self.position = self.position.max(at);
            }
        }
        Ok(())
    }

    /// One poll. `Ok(None)` = nothing yet; then the position may have moved.
    fn poll<T>(&mut self, wait: Duration, take: Take<'_, T>) -> Result<Option<T>, LogError> {
        let context = self.consumer.context();
        let (seen, fetched) = (context.events.seen(), context.fetched.load(Ordering::SeqCst));
        match self.consumer.poll(wait) {
            Some(Ok(m)) => {
                let r = take(&m);
                self.next = m.offset() + 1;
                self.position = self.position.max(self.next);
                Ok(Some(r))
            }
            Some(Err(KafkaError::PartitionEOF(_))) => Ok(None),
            Some(Err(e)) => self.judge(&e).map(|()| None),
            None => {
                // Records are queued before `next_offset` moves, so when the statistics were in before this poll and
                // the queue is empty (no event was consumed instead), all records below have been handed out.
                if self.consumer.context().events.seen() == seen {
                    self.position = self.position.max(fetched);
                }
                Ok(None)
            }
        }
    }

    fn judge(&self, e: &KafkaError) -> Result<(), LogError> {
        let at = format!("topic {} partition {} offset {}", self.topic, self.partition, self.next);
        use RDKafkaErrorCode as Code;
        match e.rdkafka_error_code() {
            Some(Code::OffsetOutOfRange | Code::AutoOffsetReset) => {
                let range =
                    self.consumer.fetch_watermarks(&self.topic, self.partition, Duration::from_secs(5));
                let holds = range.map_or_else(|_| String::new(), |(s, e)| format!(" (it holds {s}..{e})"));
                Err(LogError::Broken(format!(
                    "{at} is not in the log any more{holds}: records were deleted before they were read, or the topic \
                     was made anew; check its retention settings and restore the topic, or start under a new app name"
                )))
            }
            Some(Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::UnknownPartition) => {
                // Also said by a broker that has just started and has not heard of it yet.
                Err(LogError::Unavailable(format!(
                    "{at}: there is no such topic or partition; was it deleted?"
                )))
            }
            Some(Code::TopicAuthorizationFailed) => Err(LogError::Refused(format!(
                "{at}: not authorised; grant this principal READ on the topic"
            ))),
            Some(Code::BadMessage | Code::InvalidMessage) => Err(LogError::Broken(format!(
                "{at}: a record is damaged ({}); read it from another replica, see the broker's log",
                fault::text(e)
            ))),
            // Broker away, leader moving, coordinator of the unused group unknown: librdkafka goes on by itself.
            _ => Ok(()),
        }
    }
}

impl KafkaReader {
    /// The next message, as somebody takes it.
    fn take<T>(&mut self, wait: Duration, take: Take<'_, T>) -> Result<Option<T>, LogError> {
        let before = self.position;
        if let Some(r) = self.poll(Duration::ZERO, take)? {
            return Ok(Some(r));
        }
        let deadline = Instant::now() + wait;
        // Control records move the position without a record: look between ever longer slices, so that a restore is
        // finished within a millisecond of its last marker and not after `wait`.
        let mut slice = Duration::from_millis(1);
        loop {
            self.refresh()?;
            if self.position > before {
                return Ok(None);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            if let Some(r) = self.poll(slice.min(left), take)? {
                return Ok(Some(r));
            }
            slice = (slice * 2).min(Duration::from_millis(20));
        }
    }
}

impl LogReader for KafkaReader {
    fn next(&mut self, wait: Duration) -> Result<Option<Record>, LogError> {
        self.take(wait, &mut record::from_message)
    }

    fn lend(
        &mut self,
        wait: Duration,
        header: &str,
        take: &mut dyn FnMut(Lent<'_>),
    ) -> Result<bool, LogError> {
        let taken = self.take(wait, &mut |message| take(record::lend(message, header)))?;
        Ok(taken.is_some())
    }

    fn position(&mut self) -> Result<i64, LogError> {
        Ok(self.position)
    }
}
