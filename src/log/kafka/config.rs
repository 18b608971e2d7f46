//! Client settings: what we fix, what an operator may add, and why some things may not be touched.

use crate::log::{Isolation, LogError};
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// Broker-side limit of a checkpoint's transaction: it also bounds how long a dead owner's outputs hold back readers.
pub const CHECKPOINT_TRANSACTION_TIMEOUT: Duration = Duration::from_secs(10);
/// The journal's transaction stays open for seconds by design and nobody reads it committed, so it may live longer.
pub const JOURNAL_TRANSACTION_TIMEOUT: Duration = Duration::from_secs(60);
/// Largest record (key, value and headers) that a producer takes.
pub const MESSAGE_MAX_BYTES: usize = 2 * 1024 * 1024;
/// Records that wait in one producer, at most. librdkafka's own default is 1 GiB per producer.
const PRODUCER_QUEUE_KBYTES: usize = 64 * 1024;
/// Fetched ahead per partition. librdkafka applies it per partition queue, not per client (librdkafka #5140).
const FETCH_QUEUE_KBYTES: usize = 16 * 1024;

/// How to reach Kafka.
#[derive(Clone, Default)]
pub struct KafkaConfig {
    /// `host:port`, several separated by commas.
    pub bootstrap: String,
    /// `client.id`, as brokers log it.
    pub client_id: String,
    /// Further librdkafka properties, passed through after [`KafkaConfig::check`].
    pub extra: BTreeMap<String, String>,
}

/// Properties that carry a promise, each with what it would break.
const FIXED: &[(&str, &str)] = &[
    ("bootstrap.servers", "it has a field of its own, `bootstrap`"),
    ("metadata.broker.list", "it has a field of its own, `bootstrap`"),
    ("client.id", "it has a field of its own, `client_id`"),
    ("enable.auto.commit", "offsets are committed with the state they belong to"),
    ("enable.auto.offset.store", "offsets are committed with the state they belong to"),
    ("auto.commit.interval.ms", "offsets are committed with the state they belong to"),
    ("auto.offset.reset", "a lost offset must stop the lane, not skip or repeat records"),
    ("isolation.level", "each reader needs its own level"),
    ("enable.idempotence", "retries would write records twice or out of order"),
    ("acks", "an acknowledged fact must survive the loss of a broker"),
    ("request.required.acks", "an acknowledged fact must survive the loss of a broker"),
    ("max.in.flight", "more than five would break the order of idempotent writes"),
    ("max.in.flight.requests.per.connection", "more than five would break the order of idempotent writes"),
    ("message.send.max.retries", "fewer retries turn a short outage into lost lanes"),
    ("retries", "fewer retries turn a short outage into lost lanes"),
    ("transactional.id", "it is what fences the earlier owner of a lane"),
    ("transaction.timeout.ms", "it is fitted to how often transactions are rolled"),
    ("message.timeout.ms", "it must stay below the transaction timeout"),
    ("delivery.timeout.ms", "it must stay below the transaction timeout"),
    ("partitioner", "records must land on the lane that owns their key"),
    ("group.id", "it is the app's name"),
    ("group.instance.id", "it is set from the app's own configuration"),
    ("session.timeout.ms", "it is set from the app's own configuration"),
    (
        "heartbeat.interval.ms",
        "it follows from the session timeout, and is a part of the pause of every hand-over",
    ),
    ("socket.timeout.ms", "transactions need one below their own timeout"),
    ("queue.buffering.max.kbytes", "a process has several producers for each lane, whose memory is bounded"),
    ("queued.min.messages", "what is read ahead is a part of the memory that restores share"),
    ("fetch.message.max.bytes", "what is read ahead is a part of the memory that restores share"),
    ("max.partition.fetch.bytes", "what is read ahead is a part of the memory that restores share"),
    ("fetch.wait.max.ms", "take-overs wait for the end of a partition as long"),
    ("group.protocol", "membership relies on the classic protocol with static ids"),
    ("partition.assignment.strategy", "lanes must not move when another one does (cooperative-sticky)"),
    ("allow.auto.create.topics", "topics have a fixed number of partitions and are created on purpose"),
    ("enable.partition.eof", "readers set it where they need it"),
    ("check.crcs", "a damaged record must not be applied"),
    ("statistics.interval.ms", "readers use the statistics to find their position"),
    ("enable.gapless.guarantee", "it makes one failed record fatal for the process"),
];

impl KafkaConfig {
    /// A configuration with nothing but the address.
    pub fn new(bootstrap: impl Into<String>) -> Self {
        KafkaConfig { bootstrap: bootstrap.into(), client_id: "sakia".into(), extra: BTreeMap::new() }
    }

    /// Refuses properties that would break a promise, naming key and reason.
    pub fn check(&self) -> Result<(), LogError> {
        if self.bootstrap.trim().is_empty() {
            return Err(LogError::Refused("no Kafka address: set `bootstrap` to host:port".into()));
        }
        for key in self.extra.keys() {
            if let Some((_, why)) = FIXED.iter().find(|(k, _)| k == key) {
                return Err(LogError::Refused(format!(
                    "the Kafka property `{key}` cannot be set: {why}; remove it from the configuration"
                )));
            }
        }
        Ok(())
    }

    /// All addresses are on this machine. librdkafka would try `::1` first and wait for its backoff.
    fn is_loopback(&self) -> bool {
        self.bootstrap.split(',').all(|s| {
            let host = s.trim().rsplit_once(':').map_or(s.trim(), |(h, _)| h);
            host == "localhost" || host.starts_with("127.")
        })
    }

    fn base(&self, own: &[(&str, &str)]) -> ClientConfig {
        let mut c = ClientConfig::new();
        c.set("bootstrap.servers", &self.bootstrap)
            .set("client.id", if self.client_id.is_empty() { "sakia" } else { &self.client_id })
            .set("reconnect.backoff.ms", "50")
            .set("reconnect.backoff.max.ms", "1000")
            .set("socket.keepalive.enable", "true")
            // Past this an unknown topic is an answer. At the default of 30 s a record to a topic that does not exist
            // would run into the message timeout, which looks like a lost writer and not like a wrong name.
            .set("topic.metadata.propagation.max.ms", "5000")
            .set("log.connection.close", "false");
        if self.is_loopback() {
            c.set("broker.address.family", "v4");
        }
        for (k, v) in own {
            c.set(*k, *v);
        }
        for (k, v) in &self.extra {
            c.set(k, v);
        }
        c
    }

    /// What every producer has in common. `linger.ms=0` also wins for transactions of 1000 records; and
    /// `retry.backoff.ms` is what CONCURRENT_TRANSACTIONS costs: p90 103 ms at the default of 100, 3.6 ms at 1.
    fn producer(&self) -> ClientConfig {
        let mut c =
            self.base(&[("linger.ms", "0"), ("retry.backoff.ms", "1"), ("retry.backoff.max.ms", "100")]);
        c.set("enable.idempotence", "true")
            .set("acks", "all")
            .set("partitioner", "murmur2_random")
            .set("queue.buffering.max.kbytes", PRODUCER_QUEUE_KBYTES.to_string());
        if !self.extra.contains_key("message.max.bytes") {
            c.set("message.max.bytes", MESSAGE_MAX_BYTES.to_string());
        }
        c
    }

    /// A producer of transactions. A record gives up before the broker ends the transaction. It logs what happens to
    /// its connections, a few lines for each: by them `Transaction` knows that a request may have been sent twice.
    pub fn transactional_producer(&self, id: &str, timeout: Duration) -> ClientConfig {
        let mut c = self.producer();
        let debug = self.extra.get("debug").map_or("broker".into(), |own| format!("{own},broker"));
        c.set_log_level(RDKafkaLogLevel::Debug)
            .set("debug", debug)
            .set("transactional.id", id)
            .set("transaction.timeout.ms", timeout.as_millis().to_string())
            .set("message.timeout.ms", (timeout.as_millis() * 8 / 10).min(30_000).to_string());
        c
    }

    /// A producer for clients: no transaction, no duplicate by retries.
    pub fn idempotent_producer(&self) -> ClientConfig {
        let mut c = self.producer();
        c.set("message.timeout.ms", "60000");
        c
    }

    /// What every consumer has in common. `fetch.queue.backoff.ms` is 1000 by default: a full local queue would stop
    /// the fetcher for a second (librdkafka #2879).
    fn consumer(&self, isolation: Isolation) -> ClientConfig {
        let kbytes = FETCH_QUEUE_KBYTES.to_string();
        let mut c = self.base(&[
            ("fetch.queue.backoff.ms", "5"),
            ("fetch.error.backoff.ms", "50"),
            ("queued.max.messages.kbytes", &kbytes),
        ]);
        c.set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("allow.auto.create.topics", "false")
            .set("auto.offset.reset", "error")
            .set("check.crcs", "true")
            .set(
                "isolation.level",
                match isolation {
                    Isolation::Committed => "read_committed",
                    Isolation::Uncommitted => "read_uncommitted",
                },
            );
        c
    }

    /// A consumer that only asks for metadata and offsets. ListOffsets follows its isolation level.
    pub fn inquirer(&self, isolation: Isolation) -> ClientConfig {
        self.consumer(isolation)
    }

    /// A reader of one partition. librdkafka demands a `group.id` for `assign()`; the group is never joined and
    /// nothing is committed to it.
    pub fn reader(&self, isolation: Isolation) -> ClientConfig {
        let mut c = self.consumer(isolation);
        c.set("group.id", format!("{}-reader", self.client_id))
            .set("enable.partition.eof", "true")
            // The marker behind the last record is passed by statistics only, in every restore and every replay.
            .set("statistics.interval.ms", "20")
            .set("fetch.wait.max.ms", "100")
            // What a reader holds ahead is some hundred bytes for each record beside the record itself. With 100,000
            // records, librdkafka's default, and fetches of 4 MB, eight lanes that were restored at once took 923 MB of
            // memory.
            .set("fetch.message.max.bytes", "1048576")
            .set("queued.min.messages", "20000");
        c
    }

    /// The consumer of live input for all lanes of the process: committed records only, no group.
    pub fn feed(&self) -> ClientConfig {
        let mut c = self.consumer(Isolation::Committed);
        c.set("group.id", format!("{}-feed", self.client_id)).set("queued.min.messages", "5000");
        c
    }

    /// A member of the group that hands out lanes. It never fetches. The classic protocol: with KIP-848 a static
    /// member that restarts is refused for ever (`UnreleasedInstanceId`).
    pub fn group_member(&self, group: &str, static_id: Option<&str>, session: Duration) -> ClientConfig {
        let session_ms = session.as_millis().max(1000);
        let mut c = self.consumer(Isolation::Committed);
        c.set("group.id", group)
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("session.timeout.ms", session_ms.to_string())
            // A member learns of a rebalance by its next heartbeat, and the group waits for the last one: the interval
            // is a part of the pause of every clean hand-over. At the default session it is the least that we ask of
            // a coordinator.
            .set("heartbeat.interval.ms", (session_ms / 60).clamp(100, 1_000).to_string())
            // Its positions mean nothing; an error for "no committed offset" would only be noise.
            .set("auto.offset.reset", "latest");
        if let Some(id) = static_id {
            c.set("group.instance.id", id);
        }
        c
    }

    /// An administrator.
    pub fn admin(&self) -> ClientConfig {
        self.base(&[])
    }
}

/// A value whose key looks like one of these is never shown.
const SECRET_PARTS: &[&str] = &["password", "secret", "key", "token", "config", "pem"];

impl fmt::Debug for KafkaConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let extra: BTreeMap<&str, &str> = self
            .extra
            .iter()
            .map(|(k, v)| {
                let low = k.to_ascii_lowercase();
                let secret = SECRET_PARTS.iter().any(|p| low.contains(p));
                (k.as_str(), if secret { "<redacted>" } else { v.as_str() })
            })
            .collect();
        f.debug_struct("KafkaConfig")
            .field("bootstrap", &self.bootstrap)
            .field("client_id", &self.client_id)
            .field("extra", &extra)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(key: &str, value: &str) -> KafkaConfig {
        let mut c = KafkaConfig::new("127.0.0.1:9092");
        c.extra.insert(key.into(), value.into());
        c
    }

    #[test]
    fn properties_that_break_a_promise_are_refused_by_name() {
        let keys = [
            "enable.auto.commit",
            "isolation.level",
            "acks",
            "transactional.id",
            "group.id",
            "socket.timeout.ms",
        ];
        for key in keys {
            let text = with(key, "x").check().unwrap_err().to_string();
            assert!(text.contains(key), "{text}");
        }
        with("security.protocol", "ssl").check().unwrap();
        with("compression.type", "zstd").check().unwrap();
        assert!(KafkaConfig::default().check().is_err());
    }

    #[test]
    fn debug_shows_no_secret() {
        for key in
            ["sasl.password", "ssl.key.pem", "sasl.oauthbearer.client.secret", "sasl.oauthbearer.config"]
        {
            assert!(!format!("{:?}", with(key, "hunter2")).contains("hunter2"), "{key}");
        }
        assert!(format!("{:?}", with("sasl.username", "alice")).contains("alice"));
    }

    #[test]
    fn own_settings_may_be_overridden_where_it_is_safe() {
        let c = with("linger.ms", "3").transactional_producer("id", CHECKPOINT_TRANSACTION_TIMEOUT);
        assert_eq!(c.get("linger.ms"), Some("3"));
        assert_eq!(c.get("transaction.timeout.ms"), Some("10000"));
        assert_eq!(c.get("message.timeout.ms"), Some("8000"));
        assert_eq!(c.get("broker.address.family"), Some("v4"));
        let far = KafkaConfig::new("localhost:1,kafka-1.example:9092");
        assert_eq!(far.admin().get("broker.address.family"), None);
    }
}
