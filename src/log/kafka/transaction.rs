//! One transactional id: begin, send, wait until everything is acknowledged, commit or abort.

use super::context::{Events, client_context};
use super::fault;
use super::fence::open_fenced;
use super::polled::PolledProducer;
use super::record;
use crate::log::{Committed, LogError, NewRecord};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::ConsumerGroupMetadata;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{BaseProducer, Producer, ProducerContext};
use rdkafka::topic_partition_list::TopicPartitionList;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long the question may take whether a topic exists.
const QUESTION_WAIT: Duration = Duration::from_secs(5);

/// What the delivery reports of the current transaction say.
#[derive(Default)]
struct Delivered {
    generation: u32,
    /// Reports still to come.
    outstanding: usize,
    acknowledged: usize,
    /// Index of the record whose offset is asked for, and that offset.
    last: usize,
    last_offset: i64,
    /// The first delivery that failed, but rather one whose record was refused: when a transaction fails, librdkafka
    /// purges what it has not sent yet. Of those that are too large it is the largest, as a batch fails as a whole.
    failed: Option<Failed>,
}

/// A delivery that failed.
#[derive(Clone)]
struct Failed {
    index: usize,
    topic: String,
    bytes: usize,
    code: RDKafkaErrorCode,
    text: String,
}

impl Failed {
    fn is_refusal(&self) -> bool {
        fault::is_refusal(self.code)
    }

    fn tells_more_than(&self, other: &Failed) -> bool {
        let same = self.code == other.code && self.topic == other.topic;
        self.is_refusal() && (!other.is_refusal() || (same && self.bytes > other.bytes))
    }
}

/// Why a transaction came to no commit.
enum Trouble {
    /// A delivery failed, and the transaction is aborted: nothing of it was written.
    Aborted(Failed),
    /// The producer is no longer good.
    Lost(LogError),
}

impl From<LogError> for Trouble {
    fn from(error: LogError) -> Self {
        Trouble::Lost(error)
    }
}

pub(crate) struct TransactionContext {
    pub(crate) events: Events,
    delivered: Mutex<Delivered>,
    changed: Condvar,
}

client_context!(TransactionContext);

impl TransactionContext {
    fn delivered(&self) -> MutexGuard<'_, Delivered> {
        self.delivered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ProducerContext for TransactionContext {
    /// Generation in the upper half, index in the lower: reports of an aborted transaction may come during the next.
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, opaque: usize) {
        let mut d = self.delivered();
        if (opaque >> 32) != d.generation as usize {
            return;
        }
        d.outstanding = d.outstanding.saturating_sub(1);
        match result {
            Ok(m) => {
                d.acknowledged += 1;
                if opaque & 0xffff_ffff == d.last {
                    d.last_offset = m.offset();
                }
            }
            Err((e, m)) => {
                let code = e.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown);
                let bytes = m.payload_len() + m.key().map_or(0, <[u8]>::len);
                let text = if fault::is_refusal(code) {
                    fault::refusal_text(m.topic(), Some(m.partition()).filter(|p| *p >= 0), bytes, code)
                } else {
                    format!("topic {} partition {}: {e}", m.topic(), m.partition())
                };
                let (index, topic) = (opaque & 0xffff_ffff, m.topic().to_owned());
                let failed = Failed { index, topic, bytes, code, text };
                if d.failed.as_ref().is_none_or(|first| failed.tells_more_than(first)) {
                    d.failed = Some(failed);
                }
            }
        }
        if d.outstanding == 0 || d.failed.is_some() {
            self.changed.notify_all();
        }
    }
}

/// A transactional producer whose transactions are used one after another.
pub(crate) struct Transaction {
    producer: PolledProducer<TransactionContext>,
    id: String,
    generation: u32,
    /// The broker refused a record: its sequence number is missing, see `produce`.
    skipped: bool,
}

/// Waits until librdkafka's own count is zero as well: the last report is still held for a moment after its callback,
/// and a commit that comes too early sleeps 100 ms (rdkafka 0.39 `commit_transaction` flushes in whole 100 ms polls).
pub(crate) fn settle<C: ProducerContext + 'static>(producer: &BaseProducer<C>, deadline: Instant) -> bool {
    let mut turns = 0_u32;
    while producer.in_flight_count() > 0 {
        if Instant::now() >= deadline {
            return false;
        }
        turns += 1;
        if turns < 1000 {
            std::thread::yield_now();
        } else {
            std::thread::sleep(Duration::from_micros(50));
        }
    }
    true
}

/// Commits, repeating what librdkafka allows to repeat until the deadline. Every other answer, and silence, leaves the
/// outcome open: the caller must take over again (rule A).
pub(crate) fn commit<C: ProducerContext + 'static>(
    producer: &BaseProducer<C>,
    id: &str,
    deadline: Instant,
) -> Result<(), LogError> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match producer.commit_transaction(left.max(Duration::from_millis(1))) {
            Ok(()) => return Ok(()),
            Err(KafkaError::Transaction(e)) if e.is_retriable() && !left.is_zero() => {
                std::thread::sleep(Duration::from_millis(5));
            }
            Err(e) => return Err(LogError::Lost(format!("commit of {id}: {}", fault::text(&e)))),
        }
    }
}

impl Transaction {
    /// Fences every earlier owner of the id, but not before `may_fence` has returned. `topic` is one that will be written.
    pub(crate) fn open(
        config: &ClientConfig,
        id: &str,
        topic: &str,
        wait: Duration,
        may_fence: impl FnOnce() -> Result<(), LogError>,
    ) -> Result<Self, LogError> {
        let context = || TransactionContext {
            events: Events::new(id),
            delivered: Mutex::default(),
            changed: Condvar::new(),
        };
        let producer = open_fenced(config, context, id, topic, wait, may_fence)?;
        Ok(Transaction { producer, id: id.to_owned(), generation: 0, skipped: false })
    }

    fn lost(&self, doing: &str, what: &str) -> LogError {
        let fatal = self
            .producer
            .client()
            .fatal_error()
            .map(|(_, s)| s)
            .or_else(|| self.producer.context().events.fatal());
        LogError::Lost(match fatal {
            Some(fatal) if fatal != what => format!("{doing} on {}: {what} ({fatal})", self.id),
            _ => format!("{doing} on {}: {what}", self.id),
        })
    }

    /// Begins a transaction, sends all records in order and waits until each is acknowledged; returns the offset of the
    /// last one. If a record can never be written, the transaction is aborted and the answer is `RefusedRecord`.
    ///
    /// After a record that the *broker* refused, librdkafka 2.12.1 aborts without bumping the epoch, although a
    /// sequence number was used up: the next transaction on that partition fails with OUT_OF_ORDER_SEQUENCE_NUMBER,
    /// and only its abort bumps. Nothing of it is committed, so it is aborted and sent once more.
    pub(crate) fn produce(&mut self, records: &[NewRecord], deadline: Instant) -> Result<i64, LogError> {
        let skipped = std::mem::take(&mut self.skipped);
        match self.attempt(records, skipped, deadline) {
            Err(Trouble::Aborted(failed)) if skipped && !failed.is_refusal() => {
                tracing::debug!(id = self.id, why = failed.text, "sent again with a new epoch");
                self.attempt(records, false, deadline)
            }
            done => done,
        }
        .map_err(|trouble| self.told(trouble))
    }

    /// The same in the transaction that is open already.
    pub(crate) fn produce_more(&mut self, records: &[NewRecord], deadline: Instant) -> Result<i64, LogError> {
        let sent = self.send_all(records, deadline);
        sent.and_then(|()| self.drain(false, deadline)).map_err(|trouble| self.told(trouble))
    }

    /// One transaction up to its commit.
    fn attempt(&mut self, records: &[NewRecord], skipped: bool, deadline: Instant) -> Result<i64, Trouble> {
        self.producer.begin_transaction().map_err(|e| self.lost("begin", &fault::text(&e)))?;
        self.send_all(records, deadline)?;
        self.drain(skipped, deadline)
    }

    fn send_all(&mut self, records: &[NewRecord], deadline: Instant) -> Result<(), Trouble> {
        if u32::try_from(records.len()).is_err() {
            return Err(LogError::Refused("too many records for one transaction".into()).into());
        }
        self.generation = self.generation.wrapping_add(1);
        *self.producer.context().delivered() = Delivered {
            generation: self.generation,
            outstanding: records.len(),
            last: records.len().saturating_sub(1),
            last_offset: -1,
            ..Delivered::default()
        };
        for (i, r) in records.iter().enumerate() {
            if let Err(code) = self.send(i, r, deadline) {
                self.producer.context().delivered().outstanding -= records.len() - i;
                if fault::is_refusal(code) {
                    let (topic, bytes) = (r.topic.to_string(), record::size(r));
                    let text = fault::refusal_text(&r.topic, r.partition, bytes, code);
                    self.abort(deadline)?;
                    return Err(Trouble::Aborted(Failed { index: i, topic, bytes, code, text }));
                }
                return Err(self.lost("send", &code.to_string()).into());
            }
        }
        Ok(())
    }

    fn send(&self, index: usize, r: &NewRecord, deadline: Instant) -> Result<(), RDKafkaErrorCode> {
        let opaque = (self.generation as usize) << 32 | index;
        let mut base = record::to_base(r, opaque);
        loop {
            match self.producer.send(base) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back))
                    if Instant::now() < deadline =>
                {
                    base = back;
                    std::thread::sleep(Duration::from_millis(1));
                }
                Err((e, _)) => {
                    return Err(e.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::InvalidArgument));
                }
            }
        }
    }

    fn drain(&mut self, skipped: bool, deadline: Instant) -> Result<i64, Trouble> {
        let context = self.producer.context();
        let left = deadline.saturating_duration_since(Instant::now());
        let (offset, outstanding, failed) = {
            let (d, _) = context
                .changed
                .wait_timeout_while(context.delivered(), left, |d| d.outstanding > 0 && d.failed.is_none())
                .unwrap_or_else(PoisonError::into_inner);
            (d.last_offset, d.outstanding, d.failed.clone())
        };
        if let Some(failed) = failed {
            return Err(self.failed(failed, skipped, deadline));
        }
        if outstanding > 0 || !settle(&self.producer, deadline) {
            return Err(self.lost("delivery", "records are unacknowledged past the deadline").into());
        }
        Ok(offset)
    }

    /// Ends a transaction in which a delivery failed, if that can end well.
    fn failed(&mut self, first: Failed, skipped: bool, deadline: Instant) -> Trouble {
        let purged = matches!(first.code, RDKafkaErrorCode::PurgeQueue | RDKafkaErrorCode::PurgeInflight);
        if !first.is_refusal() && !purged && !skipped {
            return self.lost("delivery", &first.text).into();
        }
        // Behind the abort every record has been reported.
        match self.abort(deadline) {
            Ok(()) => Trouble::Aborted(self.producer.context().delivered().failed.clone().unwrap_or(first)),
            Err(lost) => lost.into(),
        }
    }

    fn told(&mut self, trouble: Trouble) -> LogError {
        match trouble {
            Trouble::Aborted(failed) if failed.is_refusal() => {
                self.skipped = true;
                self.refused(failed)
            }
            Trouble::Aborted(failed) => self.lost("delivery", &failed.text),
            Trouble::Lost(error) => error,
        }
    }

    /// A topic that is unknown although it is there was so for a moment only, as brokers start: then the record is good,
    /// and the lane may try again.
    fn refused(&self, failed: Failed) -> LogError {
        if fault::is_unknown_topic(failed.code) && self.knows(&failed.topic) {
            return self.lost("delivery", &failed.text);
        }
        let topic_wide = fault::is_topic_wide(failed.code);
        LogError::RefusedRecord { index: failed.index, topic_wide, text: failed.text }
    }

    fn knows(&self, topic: &str) -> bool {
        let metadata = self.producer.client().fetch_metadata(Some(topic), QUESTION_WAIT);
        metadata.is_ok_and(|m| m.topics().iter().any(|t| t.error().is_none() && !t.partitions().is_empty()))
    }

    /// Does something, and says whether a connection broke meanwhile. Then a request may have been sent twice, and the
    /// first one may still be under way: at the broker it would count for the id's next transaction (KAFKA-17754).
    ///
    /// librdkafka repeats such requests by itself and tells it only in its log, before it connects again. The log is
    /// read by one thread, and a repeated request is answered only after further lines; so once the queue is empty the
    /// line was heard.
    fn unbroken<T>(&self, deadline: Instant, what: impl FnOnce() -> T) -> (T, bool) {
        let events = &self.producer.context().events;
        let before = events.broken_connections();
        let done = what();
        let heard = settle(&self.producer, deadline);
        (done, heard && events.broken_connections() == before)
    }

    fn may_come_late(&self, doing: &str) -> LogError {
        self.lost(
            doing,
            "a connection broke meanwhile, so its request may come once more, to the next transaction",
        )
    }

    /// Adds consumed offsets to the open transaction. Nothing may be in flight: offsets before the drain collide with
    /// the previous transaction's markers far more often.
    pub(crate) fn send_offsets(
        &self,
        offsets: &TopicPartitionList,
        group: &ConsumerGroupMetadata,
        deadline: Instant,
    ) -> Result<(), LogError> {
        let (sent, unbroken) = self.unbroken(deadline, || self.try_offsets(offsets, group, deadline));
        if unbroken { sent } else { sent.and(Err(self.may_come_late("offsets"))) }
    }

    fn try_offsets(
        &self,
        offsets: &TopicPartitionList,
        group: &ConsumerGroupMetadata,
        deadline: Instant,
    ) -> Result<(), LogError> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.producer.send_offsets_to_transaction(offsets, group, left) {
                Ok(()) => return Ok(()),
                Err(KafkaError::Transaction(e)) if e.is_retriable() && !left.is_zero() => {
                    std::thread::sleep(Duration::from_millis(5));
                }
                Err(KafkaError::Transaction(e)) if e.txn_requires_abort() => {
                    let said = format!("offsets on {}: {}; nothing was moved", self.id, e.string());
                    return self.abort(deadline).and(Err(LogError::Unavailable(said)));
                }
                Err(e) => return Err(self.lost("offsets", &fault::text(&e))),
            }
        }
    }

    pub(crate) fn commit(&self, deadline: Instant) -> Result<Committed, LogError> {
        let (done, unbroken) = self.unbroken(deadline, || commit(&self.producer, &self.id, deadline));
        done.map(|()| if unbroken { Committed::Once } else { Committed::MayComeAgain })
    }

    /// Aborts, and fails if the request may come to the broker once more.
    pub(crate) fn abort(&self, deadline: Instant) -> Result<(), LogError> {
        let (aborted, unbroken) = self.unbroken(deadline, || self.try_abort(deadline));
        if unbroken { aborted } else { aborted.and(Err(self.may_come_late("abort"))) }
    }

    /// Aborts, but not before a first record was answered: an abort while AddPartitionsToTxn is under way turns fatal
    /// (librdkafka #4849).
    fn try_abort(&self, deadline: Instant) -> Result<(), LogError> {
        let context = self.producer.context();
        let left = deadline.saturating_duration_since(Instant::now());
        let pending = context
            .changed
            .wait_timeout_while(context.delivered(), left, |d| {
                d.outstanding > 0 && d.acknowledged == 0 && d.failed.is_none()
            })
            .is_ok_and(|(_, r)| r.timed_out());
        if pending {
            return Err(self.lost("abort", "no record was answered in time"));
        }
        loop {
            let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
            match self.producer.abort_transaction(left) {
                Ok(()) => return Ok(()),
                Err(KafkaError::Transaction(e)) if e.is_retriable() && Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(5));
                }
                Err(e) => return Err(self.lost("abort", &fault::text(&e))),
            }
        }
    }
}
