//! The log on Kafka: opens lanes and readers, asks for offsets.

use super::admin::Admin;
use super::checkpoints::KafkaCheckpoints;
use super::config::{CHECKPOINT_TRANSACTION_TIMEOUT, JOURNAL_TRANSACTION_TIMEOUT, KafkaConfig};
use super::connection::{CONNECT_WAIT, connect};
use super::context::PlainContext;
use super::detached::Detached;
use super::fault;
use super::fence::open_fenced;
use super::journal::{JournalContext, KafkaJournal};
use super::reader::KafkaReader;
use super::transaction::Transaction;
use crate::log::{
    Checkpoints, Isolation, JournalAcks, LaneNames, LaneWriter, Log, LogError, LogReader, OffsetRange,
};
use crossbeam_channel::bounded;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How long a question to the leader of a partition may take in all.
const QUESTION_WAIT: Duration = Duration::from_secs(15);
/// How long a topic may be unknown: metadata of a fresh topic takes a moment to reach every broker.
const UNKNOWN_WAIT: Duration = Duration::from_secs(2);
/// Before it is asked for again: each time costs a client.
const UNKNOWN_PAUSE: Duration = Duration::from_millis(250);
/// Before a leader is asked again.
const PAUSE: Duration = Duration::from_millis(50);

/// [`Log`] on Apache Kafka.
pub struct KafkaLog {
    config: KafkaConfig,
    committed: Inquirer,
    uncommitted: Inquirer,
    admin: Admin,
}

impl KafkaLog {
    /// Checks the configuration. Connects lazily.
    pub fn new(config: KafkaConfig) -> Result<KafkaLog, LogError> {
        config.check()?;
        Ok(KafkaLog {
            committed: Inquirer::new(&config, Isolation::Committed)?,
            uncommitted: Inquirer::new(&config, Isolation::Uncommitted)?,
            admin: Admin::new(&config)?,
            config,
        })
    }

    /// The administrator that belongs to this log.
    pub fn admin(&self) -> &Admin {
        &self.admin
    }

    /// Connects the clients that ask for offsets; otherwise the first question does, while a lane stands still. Blocks, for
    /// a second each if Kafka is away.
    pub fn connect(&self, topic: &str) {
        for inquirer in [&self.committed, &self.uncommitted] {
            connect(inquirer.consumer().client(), topic, CONNECT_WAIT);
        }
    }

    /// How this log reaches Kafka.
    pub fn config(&self) -> &KafkaConfig {
        &self.config
    }
}

impl Log for KafkaLog {
    fn open_lane(
        &self,
        names: &LaneNames,
        acks: Arc<dyn JournalAcks>,
        wait: Duration,
    ) -> Result<LaneWriter, LogError> {
        let id = |role: &str| format!("{}-{}-{role}", names.app, names.partition);
        let (tell, journal_fenced) = bounded(2);
        let checkpoint = |role: &str| {
            let id = id(role);
            let c = self.config.transactional_producer(&id, CHECKPOINT_TRANSACTION_TIMEOUT);
            // Without the journal there is nothing to fence for.
            let may_fence =
                || journal_fenced.recv().map_err(|_| LogError::Unavailable(format!("{id} is not needed")));
            Transaction::open(&c, &id, &names.changelog, wait, may_fence)
        };
        let journal_id = id("journal");
        let c = self.config.transactional_producer(&journal_id, JOURNAL_TRANSACTION_TIMEOUT);
        let context = || JournalContext::new(&journal_id, Arc::clone(&acks));
        let (journal, a, b) = thread::scope(|s| {
            let a = s.spawn(|| checkpoint("a"));
            let b = s.spawn(|| checkpoint("b"));
            let journal = open_fenced(&c, context, &journal_id, &names.journal, wait, || Ok(()));
            if journal.is_ok() {
                // There is room for both.
                let _ = (tell.send(()), tell.send(()));
            }
            drop(tell);
            (journal, a.join(), b.join())
        });
        let journal = journal?;
        let panicked = |_| LogError::Unavailable("a thread that opened the lane panicked".into());
        let (a, b) = (a.map_err(panicked)??, b.map_err(panicked)??);
        let checkpoints = [a, b].map(|id| -> Box<dyn Checkpoints> { Box::new(KafkaCheckpoints::new(id)) });
        let journal = KafkaJournal::begin(journal, journal_id, Arc::clone(&names.journal), names.partition)?;
        Ok(LaneWriter { journal: Box::new(journal), checkpoints })
    }

    fn offsets(&self, topic: &str, partition: i32, isolation: Isolation) -> Result<OffsetRange, LogError> {
        match isolation {
            Isolation::Committed => self.committed.offsets(topic, partition),
            Isolation::Uncommitted => self.uncommitted.offsets(topic, partition),
        }
    }

    fn read(
        &self,
        topic: &str,
        partition: i32,
        from: i64,
        isolation: Isolation,
    ) -> Result<Box<dyn LogReader>, LogError> {
        Ok(Box::new(KafkaReader::open(&self.config, topic, partition, from, isolation)?))
    }

    fn trim(&self, topic: &str, partition: i32, before: i64) -> Result<(), LogError> {
        self.admin.delete_records(topic, partition, before)
    }
}

/// Asks for offsets. `rd_kafka_query_watermark_offsets` sends ListOffsets with the client's `isolation.level`, so the
/// end is the last stable offset for committed readers and the high watermark otherwise (read in librdkafka 2.12.1
/// and checked on Kafka 4.3.1 with a transaction open).
pub(crate) struct Inquirer {
    config: KafkaConfig,
    isolation: Isolation,
    consumer: Mutex<Arc<InquiringConsumer>>,
}

type InquiringConsumer = Detached<BaseConsumer<PlainContext>>;

impl Inquirer {
    pub(crate) fn new(config: &KafkaConfig, isolation: Isolation) -> Result<Inquirer, LogError> {
        let consumer = Mutex::new(Arc::new(inquiring_consumer(config, isolation)?));
        Ok(Inquirer { config: config.clone(), isolation, consumer })
    }

    fn consumer(&self) -> Arc<InquiringConsumer> {
        Arc::clone(&self.consumer.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn offsets(&self, topic: &str, partition: i32) -> Result<OffsetRange, LogError> {
        let began = Instant::now();
        loop {
            // Not with the lock held: one partition without a leader must not hold up the questions of other lanes.
            let consumer = self.consumer();
            // Nobody else polls this client, and its log lines wait in its queue.
            while consumer.poll(Duration::ZERO).is_some() {}
            let e = match consumer.fetch_watermarks(topic, partition, Duration::from_secs(5)) {
                Ok((start, end)) => return Ok(OffsetRange { start, end }),
                Err(e) => e,
            };
            let code = e.rdkafka_error_code();
            let unknown =
                code.is_some_and(|c| fault::is_unknown_topic(c) || c == RDKafkaErrorCode::UnknownPartition);
            let patience = match code {
                _ if unknown => UNKNOWN_WAIT,
                Some(code) if fault::is_passing(code) => QUESTION_WAIT,
                _ => Duration::ZERO,
            };
            if began.elapsed() >= patience {
                return Err(fault::question(&format!("offsets of topic {topic} partition {partition}"), &e));
            }
            // Between two questions: a broker does not tell when it has learned of a topic or has got a leader.
            if unknown {
                thread::sleep(UNKNOWN_PAUSE);
                self.replace(&consumer)?;
            } else {
                thread::sleep(PAUSE);
            }
        }
    }

    /// A client that has heard that a topic is unknown believes it from then on, for minutes; another one asks the
    /// brokers. Unless somebody else has replaced it already.
    fn replace(&self, believer: &Arc<InquiringConsumer>) -> Result<(), LogError> {
        let mut consumer = self.consumer.lock().unwrap_or_else(PoisonError::into_inner);
        if Arc::ptr_eq(&consumer, believer) {
            *consumer = Arc::new(inquiring_consumer(&self.config, self.isolation)?);
        }
        Ok(())
    }
}

fn inquiring_consumer(config: &KafkaConfig, isolation: Isolation) -> Result<InquiringConsumer, LogError> {
    let consumer = config.inquirer(isolation).create_with_context(PlainContext::new("offsets"));
    consumer.map(Detached::new).map_err(|e| fault::creation("offsets", &e))
}
