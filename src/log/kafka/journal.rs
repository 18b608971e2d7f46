//! The fenced append: records produced inside a transaction that stays open, each acknowledged on its own.
//!
//! The commit means nothing here, as the journal is read uncommitted; the transactional id's epoch is the fence.

use super::context::{Events, client_context};
use super::fault;
use super::polled::PolledProducer;
use super::transaction::{commit, settle};
use crate::log::{Appended, Journal, JournalAcks, LogError};
use bytes::Bytes;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{BaseRecord, Producer, ProducerContext};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How long an append waits for room in librdkafka's queue before it says so.
const ROOM_WAIT: Duration = Duration::from_millis(100);
/// How long the commit of a roll may be repeated.
const ROLL_WAIT: Duration = Duration::from_secs(15);
/// How long `close` waits for what is in flight.
const CLOSE_WAIT: Duration = Duration::from_secs(5);

/// Counts answers and passes them on until the first failure; after it the order of acknowledgements has a hole, and
/// after the drop nobody may hear of purged records.
pub(crate) struct JournalContext {
    events: Events,
    acks: Arc<dyn JournalAcks>,
    answered: AtomicU64,
    lost: AtomicBool,
}

client_context!(JournalContext);

impl JournalContext {
    pub(crate) fn new(id: &str, acks: Arc<dyn JournalAcks>) -> Self {
        JournalContext {
            events: Events::new(id),
            acks,
            answered: AtomicU64::new(0),
            lost: AtomicBool::new(false),
        }
    }
}

impl ProducerContext for JournalContext {
    /// The sequence number itself: a `Box` would cost an allocation per append.
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, seq: usize) {
        // First, as the lane may roll as soon as it is told.
        self.answered.fetch_add(1, Ordering::SeqCst);
        match result {
            Ok(m) if !self.lost.load(Ordering::SeqCst) => {
                self.acks.appended(Appended::Durable { seq: seq as u64, offset: m.offset() });
            }
            Ok(_) => {}
            Err((e, m)) => {
                if !self.lost.swap(true, Ordering::SeqCst) {
                    let fatal = self.events.fatal().map_or_else(String::new, |f| format!(" ({f})"));
                    self.acks.appended(Appended::Lost(format!(
                        "append {seq} to topic {} partition {}: {e}{fatal}",
                        m.topic(),
                        m.partition()
                    )));
                }
            }
        }
    }
}

/// The journal of one lane.
pub(crate) struct KafkaJournal {
    producer: PolledProducer<JournalContext>,
    id: String,
    topic: Arc<str>,
    partition: i32,
    sent: u64,
    /// Records since the transaction began; an empty one need not be rolled.
    in_transaction: u64,
    closed: bool,
}

impl KafkaJournal {
    /// Takes a producer that has fenced the id, and begins its transaction.
    pub(crate) fn begin(
        producer: PolledProducer<JournalContext>,
        id: String,
        topic: Arc<str>,
        partition: i32,
    ) -> Result<Self, LogError> {
        let journal =
            KafkaJournal { producer, id, topic, partition, sent: 0, in_transaction: 0, closed: false };
        journal.producer.begin_transaction().map_err(|e| journal.lost("begin", &fault::text(&e)))?;
        Ok(journal)
    }

    fn lost(&self, doing: &str, what: &str) -> LogError {
        let fatal = self.producer.client().fatal_error().map_or_else(String::new, |(_, s)| format!(" ({s})"));
        LogError::Lost(format!("{doing} on {}: {what}{fatal}", self.id))
    }

    fn check(&self, doing: &str) -> Result<(), LogError> {
        if self.closed {
            return Err(self.lost(doing, "the journal was closed"));
        }
        if self.producer.context().lost.load(Ordering::SeqCst) {
            return Err(self.lost(doing, "an earlier append failed"));
        }
        Ok(())
    }

    fn unanswered(&self) -> u64 {
        self.sent - self.producer.context().answered.load(Ordering::SeqCst)
    }

    fn end_transaction(&mut self, deadline: Instant) -> Result<(), LogError> {
        if !settle(&self.producer, deadline.min(Instant::now() + Duration::from_millis(200))) {
            return Err(LogError::Unavailable(format!("{} has events in flight; roll it later", self.id)));
        }
        commit(&self.producer, &self.id, deadline)?;
        self.in_transaction = 0;
        Ok(())
    }
}

impl Journal for KafkaJournal {
    fn append(&mut self, seq: u64, record: Bytes) -> Result<(), LogError> {
        self.check("append")?;
        let opaque = usize::try_from(seq).map_err(|_| {
            LogError::Refused(format!("append {seq}: the sequence does not fit this machine"))
        })?;
        let deadline = Instant::now() + ROOM_WAIT;
        let mut base = BaseRecord::<[u8], [u8], usize>::with_opaque_to(&self.topic, opaque)
            .partition(self.partition)
            .payload(&record);
        loop {
            match self.producer.send(base) {
                Ok(()) => break,
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    if Instant::now() >= deadline {
                        return Err(LogError::Unavailable(format!(
                            "topic {} partition {}: the producer's queue is full",
                            self.topic, self.partition
                        )));
                    }
                    base = back;
                    std::thread::sleep(Duration::from_millis(1));
                }
                Err((e, _)) => {
                    return Err(match e.rdkafka_error_code() {
                        Some(code) if fault::is_refusal(code) => {
                            fault::refusal(&self.topic, Some(self.partition), record.len(), code)
                        }
                        _ => self.lost("append", &fault::text(&e)),
                    });
                }
            }
        }
        self.sent += 1;
        self.in_transaction += 1;
        Ok(())
    }

    fn roll(&mut self) -> Result<(), LogError> {
        self.check("roll")?;
        if self.in_transaction == 0 {
            return Ok(());
        }
        let n = self.unanswered();
        if n > 0 {
            return Err(LogError::Unavailable(format!(
                "{} has {n} appends in flight; roll it later",
                self.id
            )));
        }
        self.end_transaction(Instant::now() + ROLL_WAIT)?;
        self.producer.begin_transaction().map_err(|e| self.lost("begin", &fault::text(&e)))
    }

    fn close(&mut self) -> Result<(), LogError> {
        self.check("close")?;
        let deadline = Instant::now() + CLOSE_WAIT;
        while self.unanswered() > 0 && Instant::now() < deadline {
            std::thread::sleep(Duration::from_micros(200));
        }
        self.check("close")?;
        self.closed = true;
        self.end_transaction(deadline)
    }
}

impl Drop for KafkaJournal {
    fn drop(&mut self) {
        // Dropping the producer purges its queue and reports every record as failed; the lane must not take that for
        // news about its next writer.
        self.producer.context().lost.store(true, Ordering::SeqCst);
    }
}
