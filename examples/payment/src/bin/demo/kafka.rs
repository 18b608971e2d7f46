//! Kafka as the shop and an auditor see it: a plain producer, a plain `read_committed` consumer, nothing of Sakia.

use anyhow::{Context, Result, anyhow, bail};
use payment_example::contracts::{CLICKS, ORDERS, PAYMENTS, PaymentEvent};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

const PARTITIONS: i32 = 4;
const PATIENCE: Duration = Duration::from_secs(15);

fn client(bootstrap: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    // librdkafka reports each refused connection while the broker starts; what matters shows as an error here.
    config.set("bootstrap.servers", bootstrap).set("log_level", "0").set("reconnect.backoff.max.ms", "200");
    config
}

/// Creates the topics of the business: orders, clicks and payments.
pub(crate) async fn create_topics(bootstrap: &str) -> Result<()> {
    let admin: AdminClient<DefaultClientContext> = client(bootstrap).create()?;
    let names = [ORDERS.name(), CLICKS.name(), PAYMENTS.name()];
    let topics: Vec<_> = names.map(|name| NewTopic::new(name, PARTITIONS, TopicReplication::Fixed(1))).into();
    let options = AdminOptions::new().operation_timeout(Some(PATIENCE)).request_timeout(Some(PATIENCE));
    for created in admin.create_topics(&topics, &options).await? {
        created.map_err(|(name, code)| anyhow!("topic {name}: {code}"))?;
    }
    Ok(())
}

/// What the shop and the approval page write with.
pub(crate) struct Shop {
    producer: ThreadedProducer<DefaultProducerContext>,
}

impl Shop {
    pub(crate) fn open(bootstrap: &str) -> Result<Self> {
        let producer = client(bootstrap).set("enable.idempotence", "true").set("linger.ms", "2").create()?;
        Ok(Shop { producer })
    }

    /// Produces a plain JSON record: no header, no schema.
    pub(crate) fn put(&self, topic: &str, key: &str, value: &impl Serialize) -> Result<()> {
        let value = serde_json::to_vec(value)?;
        self.producer
            .send(BaseRecord::to(topic).key(key).payload(&value))
            .map_err(|(error, _)| error)
            .with_context(|| format!("producing to {topic}"))
    }

    /// Waits until the broker has everything.
    pub(crate) fn flush(&self) -> Result<()> {
        Ok(self.producer.flush(PATIENCE)?)
    }
}

/// Reads the output topic from its beginning, without a group.
pub(crate) struct Auditor {
    consumer: BaseConsumer,
}

impl Auditor {
    pub(crate) fn open(bootstrap: &str) -> Result<Self> {
        let consumer: BaseConsumer = client(bootstrap)
            // librdkafka wants a name here, but nothing is subscribed and nothing committed.
            .set("group.id", "demo-auditor")
            .set("isolation.level", "read_committed")
            .set("enable.auto.commit", "false")
            .set("enable.partition.eof", "false")
            .create()?;
        let mut everything = TopicPartitionList::new();
        for partition in 0..PARTITIONS {
            everything.add_partition_offset(PAYMENTS.name(), partition, Offset::Beginning)?;
        }
        consumer.assign(&everything)?;
        Ok(Auditor { consumer })
    }

    /// The next event, if one has arrived: the order's id and how it ended.
    pub(crate) fn poll(&self) -> Result<Option<(String, PaymentEvent)>> {
        let message = match self.consumer.poll(Duration::ZERO) {
            None => return Ok(None),
            // The client mends what it reports here; a broker that stays away shows as a deadline.
            Some(Err(_)) => return Ok(None),
            Some(Ok(message)) => message,
        };
        let key = message.key().context("an event without a key")?;
        let event = serde_json::from_slice(message.payload().context("an event without a value")?)?;
        Ok(Some((String::from_utf8(key.to_vec())?, event)))
    }

    /// Everything from the beginning to the end that the topic has now.
    pub(crate) async fn read_all(bootstrap: &str) -> Result<Vec<(String, PaymentEvent)>> {
        let auditor = Auditor::open(bootstrap)?;
        let mut ends = BTreeMap::new();
        for partition in 0..PARTITIONS {
            let (_, end) = auditor.consumer.fetch_watermarks(PAYMENTS.name(), partition, PATIENCE)?;
            ends.insert(partition, end);
        }
        let mut events = Vec::new();
        let deadline = Instant::now() + PATIENCE;
        while !auditor.reached(&ends)? {
            match auditor.poll()? {
                Some(event) => events.push(event),
                None => tokio::time::sleep(Duration::from_millis(10)).await,
            }
            if Instant::now() > deadline {
                bail!("the end of topic {} cannot be reached: a transaction is still open", PAYMENTS.name());
            }
        }
        Ok(events)
    }

    /// Positions move over markers and aborted records too, so they are the only sure sign of the end.
    fn reached(&self, ends: &BTreeMap<i32, i64>) -> Result<bool> {
        let positions = self.consumer.position()?;
        Ok(ends.iter().all(|(partition, end)| {
            let position = positions.find_partition(PAYMENTS.name(), *partition).map(|p| p.offset());
            *end == 0 || matches!(position, Some(Offset::Offset(at)) if at >= *end)
        }))
    }
}
