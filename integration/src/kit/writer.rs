//! Producers whose every delivery is counted.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Result, anyhow, bail, ensure};
use rdkafka::client::ClientContext;
use rdkafka::consumer::ConsumerGroupMetadata;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, Message, OwnedHeaders, Timestamp};
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};

use super::cluster::{Cluster, REQUEST_TIMEOUT};
use super::group::offset_list;
use super::wait::until;

const DELIVERY_DEADLINE: Duration = Duration::from_secs(60);

/// What became of the records so far.
#[derive(Clone, Debug, Default)]
pub struct Deliveries {
    /// Records that the broker acknowledged.
    pub acknowledged: u64,
    /// One error for each record that was refused or given up.
    pub refused: Vec<KafkaError>,
    /// Partition and offset of the last record acknowledged.
    pub last: Option<(i32, i64)>,
    /// Time of the last record acknowledged, and who gave it.
    pub last_time: Option<Timestamp>,
}

impl Deliveries {
    fn answered(&self) -> u64 {
        self.acknowledged + self.refused.len() as u64
    }
}

#[derive(Clone, Default)]
struct Counter(Arc<(Mutex<Deliveries>, Condvar)>);

impl Counter {
    fn lock(&self) -> MutexGuard<'_, Deliveries> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientContext for Counter {}

impl ProducerContext for Counter {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let mut deliveries = self.lock();
        match result {
            Ok(message) => {
                deliveries.acknowledged += 1;
                deliveries.last = Some((message.partition(), message.offset()));
                deliveries.last_time = Some(message.timestamp());
            }
            Err((error, _)) => deliveries.refused.push(error.clone()),
        }
        self.0.1.notify_all();
    }
}

/// A producer, transactional or not.
pub struct Writer {
    producer: ThreadedProducer<Counter>,
    counter: Counter,
    sent: u64,
}

impl Cluster {
    /// An idempotent producer that waits for all replicas, with these settings on top.
    pub fn writer(&self, settings: &[(&str, &str)]) -> Result<Writer> {
        let mut config = self.client_config();
        config
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("linger.ms", "0")
            .set("message.timeout.ms", "30000");
        for (key, value) in settings {
            config.set(*key, *value);
        }
        let counter = Counter::default();
        Ok(Writer { producer: config.create_with_context(counter.clone())?, counter, sent: 0 })
    }

    /// A producer for transactions under `id`, not yet the owner of that id.
    pub fn transactional_writer(&self, id: &str) -> Result<Writer> {
        self.writer(&[
            ("transactional.id", id),
            ("transaction.timeout.ms", "60000"),
            ("message.timeout.ms", "20000"),
            // The default of 100 is paid in full whenever the previous transaction's markers are still under way.
            ("retry.backoff.ms", "1"),
            ("retry.backoff.max.ms", "50"),
        ])
    }

    /// A producer that has taken `id` over: older ones are fenced, their open transaction is aborted.
    pub fn owner_of(&self, id: &str) -> Result<Writer> {
        let writer = self.transactional_writer(id)?;
        writer.init()?;
        Ok(writer)
    }
}

impl Writer {
    /// Hands one record over for sending.
    pub fn put(&mut self, topic: &str, partition: i32, key: &str, value: &str) -> Result<()> {
        self.send(BaseRecord::to(topic).partition(partition).key(key).payload(value))
    }

    /// Hands a record without a value over for sending: it deletes the key in a compacted topic.
    pub fn put_tombstone(&mut self, topic: &str, partition: i32, key: &str) -> Result<()> {
        self.send(BaseRecord::to(topic).partition(partition).key(key))
    }

    /// Hands a record over for sending whose partition follows from its key, as the `partitioner` says.
    pub fn put_keyed(&mut self, topic: &str, key: &str, value: &str, headers: &[(&str, &str)]) -> Result<()> {
        let headers = headers.iter().fold(OwnedHeaders::new(), |all, (key, value)| {
            all.insert(Header { key, value: Some(value.as_bytes()) })
        });
        self.send(BaseRecord::to(topic).key(key).payload(value).headers(headers))
    }

    /// Hands a record with a timestamp and headers over for sending.
    pub fn put_stamped(&mut self, topic: &str, timestamp_ms: i64, headers: OwnedHeaders) -> Result<()> {
        let record = BaseRecord::to(topic).partition(0).key("key").payload("value");
        self.send(record.timestamp(timestamp_ms).headers(headers))
    }

    fn send(&mut self, mut record: BaseRecord<'_, str, str>) -> Result<()> {
        loop {
            match self.producer.send(record) {
                Ok(()) => {
                    self.sent += 1;
                    return Ok(());
                }
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), returned)) => {
                    record = returned;
                    self.await_room()?;
                }
                Err((error, _)) => bail!("produce: {}", describe(&error)),
            }
        }
    }

    fn await_room(&self) -> Result<()> {
        let before = self.deliveries().answered();
        self.await_deliveries("room in the queue", |now| now.answered() > before)
    }

    fn await_deliveries(&self, what: &str, reached: impl Fn(&Deliveries) -> bool) -> Result<()> {
        let guard = self.counter.lock();
        let (_guard, waited) = self
            .counter
            .0
            .1
            .wait_timeout_while(guard, DELIVERY_DEADLINE, |now| !reached(now))
            .unwrap_or_else(PoisonError::into_inner);
        ensure!(!waited.timed_out(), "{what}: not within {} s", DELIVERY_DEADLINE.as_secs());
        Ok(())
    }

    /// Waits until every record has its answer, whatever it is.
    ///
    /// Not `flush`: that polls in whole 100 ms steps, and `commit_transaction` calls it. The last report arrives a
    /// moment before librdkafka lowers its own count, so that count is waited for too.
    pub fn settle(&self) -> Result<Deliveries> {
        let sent = self.sent;
        self.await_deliveries("an answer for every record", |now| now.answered() >= sent)?;
        until("nothing in flight", DELIVERY_DEADLINE, || {
            Ok((self.producer.in_flight_count() == 0).then_some(()))
        })?;
        Ok(self.deliveries())
    }

    /// Waits until every record is acknowledged, and tells how many are.
    pub fn drain(&self) -> Result<u64> {
        let deliveries = self.settle()?;
        match deliveries.refused.first() {
            None => Ok(deliveries.acknowledged),
            Some(error) => bail!("{} records refused, first: {error}", deliveries.refused.len()),
        }
    }

    /// What became of the records so far.
    pub fn deliveries(&self) -> Deliveries {
        self.counter.lock().clone()
    }

    /// The error that ended this producer for good, if any.
    pub fn fatal_error(&self) -> Option<RDKafkaErrorCode> {
        self.producer.client().fatal_error().map(|(code, _)| code)
    }

    /// Takes the transactional id over.
    pub fn init(&self) -> Result<()> {
        self.producer.init_transactions(REQUEST_TIMEOUT).map_err(|error| named("init", &error))
    }

    /// Opens a transaction.
    pub fn begin(&self) -> Result<()> {
        self.producer.begin_transaction().map_err(|error| named("begin", &error))
    }

    /// Waits for every record, then commits.
    pub fn commit(&self) -> Result<()> {
        self.drain()?;
        self.commit_now().map_err(|error| named("commit", &error))
    }

    /// Commits without a look at the deliveries.
    pub fn commit_now(&self) -> Result<(), KafkaError> {
        self.producer.commit_transaction(REQUEST_TIMEOUT)
    }

    /// Waits for every record, then aborts: an abort while a partition is still being registered is a race.
    pub fn abort(&self) -> Result<()> {
        self.settle()?;
        self.producer.abort_transaction(REQUEST_TIMEOUT).map_err(|error| named("abort", &error))
    }

    /// Adds the next offset to read of partition 0 to the transaction.
    pub fn send_offset(
        &self,
        topic: &str,
        offset: i64,
        group: &ConsumerGroupMetadata,
    ) -> Result<(), KafkaError> {
        self.producer.send_offsets_to_transaction(&offset_list(topic, 0, offset)?, group, REQUEST_TIMEOUT)
    }
}

fn named(call: &str, error: &KafkaError) -> anyhow::Error {
    anyhow!("{call}: {}", describe(error))
}

/// The error with what a transactional caller must know of it.
pub fn describe(error: &KafkaError) -> String {
    let KafkaError::Transaction(inner) = error else {
        return error.to_string();
    };
    let mut text = format!("{} ({:?})", inner.string(), inner.code());
    for (holds, word) in [
        (inner.is_fatal(), "fatal"),
        (inner.is_retriable(), "retriable"),
        (inner.txn_requires_abort(), "abortable"),
    ] {
        if holds {
            text.push_str(", ");
            text.push_str(word);
        }
    }
    text
}
