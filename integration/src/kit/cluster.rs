//! A broker as its clients see it: an address, and names that no other test uses.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};

/// How long any single request may take before the test gives up on it.
pub(crate) const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);

static NAMES: AtomicU64 = AtomicU64::new(0);

/// Where clients connect to.
#[derive(Clone, Debug)]
pub struct Cluster {
    bootstrap: String,
    replication: i32,
}

impl Cluster {
    /// The broker at `bootstrap` (`host:port`, or several with commas). Topics get one copy.
    pub fn new(bootstrap: impl Into<String>) -> Self {
        Self { bootstrap: bootstrap.into(), replication: 1 }
    }

    /// The same, with this many copies of each topic.
    #[must_use]
    pub fn with_replication(self, replication: i32) -> Self {
        Self { replication, ..self }
    }

    pub(crate) fn replication(&self) -> i32 {
        self.replication
    }

    /// The address for clients.
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// A name that begins with `stem` and is used nowhere else: tests share one broker, and a real Kafka keeps what
    /// earlier runs left.
    pub fn unique(&self, stem: &str) -> String {
        let nanos = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
        format!("{stem}-{:x}-{}", nanos & 0xff_ffff_ffff_ffff, NAMES.fetch_add(1, Ordering::Relaxed))
    }

    /// What every client needs.
    pub fn client_config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.bootstrap).set("broker.address.family", "v4");
        config
    }

    /// A consumer that belongs to no group in earnest: for watermarks, metadata and reading by assignment.
    pub fn observer(&self) -> Result<BaseConsumer> {
        self.client_config()
            .set("group.id", "observer")
            .set("enable.auto.commit", "false")
            .create()
            .context("an observer cannot be made")
    }

    /// Where a reader of that isolation level comes to the end of a partition.
    pub fn last_offset(&self, topic: &str, partition: i32, isolation: super::Isolation) -> Result<i64> {
        let observer: BaseConsumer = self
            .client_config()
            .set("group.id", "observer")
            .set("isolation.level", isolation.setting())
            .create()?;
        Ok(observer.fetch_watermarks(topic, partition, REQUEST_TIMEOUT)?.1)
    }

    /// One past the last record that a committed reader finds; what follows are control records. None is read but those
    /// near the end.
    pub fn read_last(&self, topic: &str, partition: i32) -> Result<i64> {
        let (begin, end) = self.watermarks(topic, partition)?;
        let mut back = 64;
        loop {
            let from = (end - back).max(begin);
            let last = self.read_from(topic, partition, from)?.records.last().map(|r| r.offset + 1);
            if last.is_some() || from == begin {
                return Ok(last.unwrap_or(begin));
            }
            back *= 8;
        }
    }

    /// The first offset of the partition and the one after its last record.
    pub fn watermarks(&self, topic: &str, partition: i32) -> Result<(i64, i64)> {
        Ok(self.observer()?.fetch_watermarks(topic, partition, REQUEST_TIMEOUT)?)
    }

    /// How many partitions the topic has; none if it does not exist.
    pub fn partition_count(&self, topic: &str) -> Result<usize> {
        let metadata = self.observer()?.fetch_metadata(Some(topic), REQUEST_TIMEOUT)?;
        Ok(metadata.topics().first().map_or(0, |topic| topic.partitions().len()))
    }
}
