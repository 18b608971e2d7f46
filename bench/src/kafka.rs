//! Plain Kafka clients, set up as a careful program would set them up by hand.

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::{ClientContext, DefaultClientContext};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::{DeliveryResult, Header, Headers as _, Message as _, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _, ProducerContext};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::cell::Cell;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

/// Past this, something is broken and not slow.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A record, to be written or as it was read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Record {
    /// The key, if it has one.
    pub(crate) key: Option<Vec<u8>>,
    /// The value, if it has one.
    pub(crate) value: Option<Vec<u8>>,
    /// Names and values.
    pub(crate) headers: Vec<(String, Vec<u8>)>,
}

impl Record {
    /// Key, value and headers, in bytes.
    pub(crate) fn size(&self) -> usize {
        let length = |part: &Option<Vec<u8>>| part.as_ref().map_or(0, Vec::len);
        length(&self.key)
            + length(&self.value)
            + self.headers.iter().map(|(k, v)| k.len() + v.len()).sum::<usize>()
    }

    /// The value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&[u8]> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| &value[..])
    }
}

fn base(brokers: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers).set("broker.address.family", "v4");
    config
}

const RECORD_SIZE: (&str, &str) = ("max.message.bytes", "2097152");
/// Settings of an app's replies and dead letters, and of topics of others.
pub(crate) const PLAIN: &[(&str, &str)] = &[RECORD_SIZE];
/// Settings of an app's commands.
const COMMANDS: &[(&str, &str)] = &[("message.timestamp.type", "LogAppendTime"), RECORD_SIZE];
/// Settings of an app's journal.
pub(crate) const JOURNAL: &[(&str, &str)] = &[("retention.ms", "-1"), ("retention.bytes", "-1"), RECORD_SIZE];
/// Settings of an app's changelog.
pub(crate) const CHANGELOG: &[(&str, &str)] = &[
    ("cleanup.policy", "compact"),
    ("min.compaction.lag.ms", "3600000"),
    ("segment.bytes", "67108864"),
    RECORD_SIZE,
];

/// A topic to be made.
pub(crate) struct NewOne {
    /// Its name.
    pub(crate) name: String,
    /// Partitions.
    pub(crate) partitions: i32,
    /// Copies.
    pub(crate) copies: i32,
    /// Its settings.
    pub(crate) settings: &'static [(&'static str, &'static str)],
}

impl NewOne {
    /// With one partition and one copy.
    pub(crate) fn single(name: String, settings: &'static [(&'static str, &'static str)]) -> Self {
        NewOne { name, partitions: 1, copies: 1, settings }
    }
}

/// Makes the topics of an app, as `sakia topics init` would; how long replies and dead letters are kept, nobody here lives to
/// see. Replies have one partition: there is one client.
pub(crate) fn make_app_topics(brokers: &str, app: &str, lanes: i32, copies: i32) -> Result<()> {
    let parts = [
        ("commands", lanes, COMMANDS),
        ("journal", lanes, JOURNAL),
        ("changelog", lanes, CHANGELOG),
        ("replies", 1, PLAIN),
        ("dlq", lanes, PLAIN),
    ];
    let topics: Vec<NewOne> = parts
        .into_iter()
        .map(|(part, partitions, settings)| NewOne {
            name: format!("{app}.{part}"),
            partitions,
            copies,
            settings,
        })
        .collect();
    make_topics(brokers, &topics)
}

/// Makes topics, and waits until all partitions have leaders.
pub(crate) fn make_topics(brokers: &str, topics: &[NewOne]) -> Result<()> {
    let admin: AdminClient<DefaultClientContext> = base(brokers).create()?;
    let new: Vec<NewTopic<'_>> = topics
        .iter()
        .map(|one| {
            let topic = NewTopic::new(&one.name, one.partitions, TopicReplication::Fixed(one.copies));
            one.settings.iter().fold(topic, |topic, (key, value)| topic.set(key, value))
        })
        .collect();
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    for answer in runtime.block_on(admin.create_topics(&new, &AdminOptions::new()))? {
        answer.map_err(|(topic, code)| anyhow!("{topic} cannot be made: {code}"))?;
    }
    let observer: BaseConsumer = base(brokers).set("group.id", "bench").create()?;
    for one in topics {
        let deadline = std::time::Instant::now() + PATIENCE;
        for partition in 0..one.partitions {
            while observer.fetch_watermarks(&one.name, partition, PATIENCE).is_err() {
                ensure!(std::time::Instant::now() < deadline, "{} has no leader", one.name);
                std::thread::sleep(Duration::from_millis(50));
            }
        }
    }
    Ok(())
}

/// Deletes all topics but Kafka's own.
pub(crate) fn delete_topics(brokers: &str) -> Result<()> {
    let admin: AdminClient<DefaultClientContext> = base(brokers).create()?;
    let known = admin.inner().fetch_metadata(None, PATIENCE)?;
    let names: Vec<&str> = known.topics().iter().map(|t| t.name()).filter(|n| !n.starts_with("__")).collect();
    if names.is_empty() {
        return Ok(());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    for answer in runtime.block_on(admin.delete_topics(&names, &AdminOptions::new()))? {
        answer.map_err(|(topic, code)| anyhow!("{topic} cannot be deleted: {code}"))?;
    }
    Ok(())
}

struct Reports(Sender<Result<(), String>>);

impl ClientContext for Reports {}

impl ProducerContext for Reports {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, _: ()) {
        // The producer may be gone.
        let _ = self.0.send(result.as_ref().map(drop).map_err(|(error, _)| error.to_string()));
    }
}

/// How long a producer's thread serves it before it looks whether anybody still has it. Fractions of a millisecond make a
/// `BaseProducer` spin at the end, as rdkafka's `ThreadedProducer` does in each 100 ms; with 50 µs on top of whole ones the
/// time is over when it wakes. (The library does the same; the load generator takes nothing from what it measures.)
const SERVED_FOR: Duration = Duration::from_micros(200_050);

/// An idempotent producer, of transactions if it has an id. No lingering: one record at a time is what is measured.
pub(crate) struct Producer {
    inner: Arc<BaseProducer<Reports>>,
    reports: Receiver<Result<(), String>>,
    /// Records whose report was not taken yet.
    unreported: Cell<usize>,
}

impl Producer {
    /// A producer; with an id it has fenced its predecessor when this returns.
    pub(crate) fn open(brokers: &str, id: Option<&str>) -> Result<Self> {
        Self::with_linger(brokers, id, "0")
    }

    /// One that fills a topic: it waits until there is enough for a batch.
    pub(crate) fn bulk(brokers: &str, id: &str) -> Result<Self> {
        Self::with_linger(brokers, Some(id), "5")
    }

    fn with_linger(brokers: &str, id: Option<&str>, linger_ms: &str) -> Result<Self> {
        let (sender, reports) = channel();
        let mut config = base(brokers);
        config
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("linger.ms", linger_ms)
            // The lane of a key, as every client of Kafka's computes it.
            .set("partitioner", "murmur2_random")
            .set("queue.buffering.max.messages", "1000000")
            .set("retry.backoff.ms", "1")
            .set("retry.backoff.max.ms", "100");
        if let Some(id) = id {
            config.set("transactional.id", id).set("transaction.timeout.ms", "60000");
        }
        let inner: Arc<BaseProducer<Reports>> = Arc::new(config.create_with_context(Reports(sender))?);
        let served = Arc::clone(&inner);
        std::thread::spawn(move || {
            while Arc::strong_count(&served) > 1 {
                served.poll(SERVED_FOR);
            }
        });
        if id.is_some() {
            inner.init_transactions(PATIENCE)?;
        }
        Ok(Producer { inner, reports, unreported: Cell::new(0) })
    }

    /// Queues a record, for the partition of its key; without a key for partition 0.
    pub(crate) fn send(&self, topic: &str, record: &Record) -> Result<()> {
        self.send_to(topic, record.key.is_none().then_some(0), record)
    }

    /// The same for a certain partition, if one is named.
    pub(crate) fn send_to(&self, topic: &str, partition: Option<i32>, record: &Record) -> Result<()> {
        let mut base: BaseRecord<'_, [u8], [u8], ()> = BaseRecord::to(topic);
        base.partition = partition;
        base.key = record.key.as_deref();
        base.payload = record.value.as_deref();
        if !record.headers.is_empty() {
            let none = OwnedHeaders::new_with_capacity(record.headers.len());
            base.headers = Some(
                record
                    .headers
                    .iter()
                    .fold(none, |all, (key, value)| all.insert(Header { key, value: Some(value) })),
            );
        }
        self.inner.send(base).map_err(|(error, _)| error)?;
        self.unreported.set(self.unreported.get() + 1);
        Ok(())
    }

    /// Waits until every record that was sent is acknowledged.
    pub(crate) fn acknowledged(&self) -> Result<()> {
        self.room(0)
    }

    /// Takes the acknowledgements that are there.
    pub(crate) fn check(&self) -> Result<()> {
        self.reports.try_iter().try_for_each(|report| self.take(report))
    }

    fn take(&self, report: Result<(), String>) -> Result<()> {
        self.unreported.set(self.unreported.get() - 1);
        report.map_err(anyhow::Error::msg)
    }

    /// Waits until at most so many records have no acknowledgement.
    pub(crate) fn room(&self, unacknowledged: usize) -> Result<()> {
        while self.unreported.get() > unacknowledged {
            let report = self.reports.recv_timeout(PATIENCE)?;
            self.take(report)?;
        }
        Ok(())
    }

    /// Begins a transaction.
    pub(crate) fn begin(&self) -> Result<()> {
        Ok(self.inner.begin_transaction()?)
    }

    /// Commits. All records must be acknowledged; librdkafka's own count follows a moment after the last report, and
    /// a commit before that sleeps 100 ms.
    pub(crate) fn commit(&self) -> Result<()> {
        while self.inner.in_flight_count() > 0 {
            std::thread::yield_now();
        }
        Ok(self.inner.commit_transaction(PATIENCE)?)
    }
}

/// What a reader sees.
#[derive(Clone, Copy)]
pub(crate) enum Isolation {
    /// Records of committed transactions.
    Committed,
    /// Every record.
    Uncommitted,
}

/// Reads a topic.
pub(crate) struct Reader {
    consumer: BaseConsumer,
    topic: String,
}

impl Reader {
    /// Reads what is written from now on.
    pub(crate) fn at_end(brokers: &str, topic: &str, isolation: Isolation) -> Result<Self> {
        let level = match isolation {
            Isolation::Committed => "read_committed",
            Isolation::Uncommitted => "read_uncommitted",
        };
        let consumer: BaseConsumer = base(brokers)
            .set("group.id", "bench")
            .set("enable.auto.commit", "false")
            .set("isolation.level", level)
            .set("fetch.queue.backoff.ms", "5")
            .create()?;
        let known = consumer.fetch_metadata(Some(topic), PATIENCE)?;
        let mut list = TopicPartitionList::new();
        for partition in known.topics().iter().flat_map(|one| one.partitions()) {
            let end = consumer.fetch_watermarks(topic, partition.id(), PATIENCE)?.1;
            list.add_partition_offset(topic, partition.id(), Offset::Offset(end))?;
        }
        consumer.assign(&list)?;
        // The first fetch finds out where the leader is; that is nobody's latency.
        let reader = Reader { consumer, topic: topic.to_owned() };
        ensure!(
            reader.next(Duration::from_millis(300))?.is_none(),
            "{topic} is being written by somebody else"
        );
        Ok(reader)
    }

    /// The next record, or `None` when the time is over.
    pub(crate) fn next(&self, limit: Duration) -> Result<Option<Record>> {
        match self.consumer.poll(limit) {
            None => Ok(None),
            Some(Err(error)) => bail!("{}: {error}", self.topic),
            Some(Ok(message)) => Ok(Some(Record {
                key: message.key().map(<[u8]>::to_vec),
                value: message.payload().map(<[u8]>::to_vec),
                headers: message.headers().map_or_else(Vec::new, |all| {
                    all.iter().map(|h| (h.key.to_owned(), h.value.unwrap_or_default().to_vec())).collect()
                }),
            })),
        }
    }

    /// The next record, which must come.
    pub(crate) fn expect(&self) -> Result<Record> {
        self.next(PATIENCE)?.with_context(|| format!("nothing comes on {}", self.topic))
    }
}

/// Reads so many partitions from their beginning to their end, committed, looks at nothing and returns how many records there
/// were: a plain consumer in its defaults but for one. Whenever librdkafka has 100,000 records in its queue, it asks for no more for a second; whether that
/// happens depends on which of two threads is faster today, and makes a read four times as long.
pub(crate) fn read_through(brokers: &str, topic: &str, partitions: i32) -> Result<u64> {
    let consumer: BaseConsumer = base(brokers)
        .set("group.id", "bench")
        .set("enable.auto.commit", "false")
        .set("isolation.level", "read_committed")
        .set("enable.partition.eof", "true")
        .set("fetch.queue.backoff.ms", "5")
        .create()?;
    let mut list = TopicPartitionList::new();
    for partition in 0..partitions {
        list.add_partition_offset(topic, partition, Offset::Beginning)?;
    }
    consumer.assign(&list)?;
    let mut records = 0;
    let mut left = partitions;
    while left > 0 {
        match consumer.poll(PATIENCE) {
            None => bail!("nothing more comes on {topic}"),
            // Nobody writes meanwhile, so this is the end.
            Some(Err(KafkaError::PartitionEOF(_))) => left -= 1,
            Some(Err(error)) => bail!("{topic}: {error}"),
            Some(Ok(_)) => records += 1,
        }
    }
    Ok(records)
}
