//! Settings: one typed struct, from code, a file and the environment, checked as a whole.

mod environment;
mod error;
mod load;
mod reach;
pub mod topics;

pub use error::{ConfigError, Problem};
pub use reach::Unreachable;

use crate::log::kafka::KafkaConfig;
use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// Everything that can be set. Each field has a key of the same name in `sakia.toml` and a variable `SAKIA_…` in the
/// environment (`partitions` is `SAKIA_PARTITIONS`); the environment wins over the file, the file over the default.
///
/// ```
/// use sakia::config::Config;
/// let mut config = Config::default();
/// config.brokers = "kafka-1:9092,kafka-2:9092".into();
/// config.commit_interval_ms = 100;
/// assert!(config.check().is_ok());
/// ```
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    /// Kafka: `host:port`, several separated by commas. Default `127.0.0.1:9092`.
    pub brokers: String,
    /// Folder for the local copy of the state; it may be lost, Kafka restores it. Each process needs one of its own.
    /// Default `.sakia/<app>` in the working directory.
    pub state_dir: Option<PathBuf>,
    /// Static membership (`group.instance.id`): a process that comes back under this name within the session timeout
    /// gets its lanes back without a rebalance, however it ended. So lanes of one that ends for good go to others only
    /// after the session timeout. Must differ between processes. Default: none.
    pub instance_id: Option<String>,
    /// How long a process may be silent before its lanes go to others, in milliseconds. Default 6000, which is also
    /// the least that a broker with its own defaults accepts.
    pub session_timeout_ms: u64,
    /// Lanes of the app: partitions of the topics that `topics init` creates. Cannot be changed later. Default 8.
    pub partitions: i32,
    /// Copies of each topic that `topics init` creates; −1 = the broker's default. Default −1.
    pub replication: i32,
    /// Longest time between a change that only the journal holds and its checkpoint, in milliseconds. Anything that
    /// leaves the lane is written at once, whatever this says. Default 200.
    pub commit_interval_ms: u64,
    /// How often the journal's transaction is rolled, in milliseconds. Default 5000.
    pub journal_roll_ms: u64,
    /// Instances kept in memory per lane, in bytes; others are rebuilt by replay when needed. Default 64 MiB.
    pub cache_bytes: usize,
    /// Memory for restores, all lanes of the process together, in bytes: more makes fewer and larger files. 16 MiB of it for
    /// each lane are for what is read ahead, which with very small records takes twice that; a lane needs 18 at least, also
    /// if there are more of them than fit. Default 256 MiB.
    pub restore_bytes: usize,
    /// Largest payload, in bytes, of a start, signal, step result or outgoing record. Default 983040.
    pub payload_limit_bytes: usize,
    /// Where `/metrics`, `/healthz` and `/readyz` are served, for example `127.0.0.1:9464`; port 0 takes any that is free,
    /// and the log says which. Beyond loopback only with `http_insecure`. Default: none, and no port is open.
    pub http_address: Option<SocketAddr>,
    /// Lets `http_address` be one that others can reach, although nobody is asked who he is. Default false.
    pub http_insecure: bool,
    /// How long a client waits for an answer of the app to a question such as `show`, in milliseconds. Default 10000.
    pub answer_timeout_ms: u64,
    /// Further librdkafka properties, such as `security.protocol`; those that would break a promise are refused. In
    /// the environment `SAKIA_KAFKA_SECURITY_PROTOCOL`. Default: none.
    pub kafka: BTreeMap<String, String>,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            brokers: "127.0.0.1:9092".into(),
            state_dir: None,
            instance_id: None,
            session_timeout_ms: 6_000,
            partitions: 8,
            replication: -1,
            commit_interval_ms: 200,
            journal_roll_ms: 5_000,
            cache_bytes: 64 * 1024 * 1024,
            restore_bytes: 256 * 1024 * 1024,
            payload_limit_bytes: crate::core::limits::Limits::default().payload_bytes,
            http_address: None,
            http_insecure: false,
            answer_timeout_ms: 10_000,
            kafka: BTreeMap::new(),
        }
    }
}

impl Config {
    /// From the file that `SAKIA_CONFIG` names (or `sakia.toml`, if there is one) and the environment.
    ///
    /// # Errors
    /// All that is wrong, at once.
    pub fn from_env() -> Result<Self, ConfigError> {
        Self::layered(None)
    }

    /// From this file and the environment.
    ///
    /// # Errors
    /// All that is wrong, at once; also if the file cannot be read.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, ConfigError> {
        Self::layered(Some(path.as_ref()))
    }

    fn layered(path: Option<&Path>) -> Result<Self, ConfigError> {
        load::load(path, std::env::vars_os())
    }

    /// Checks the values together.
    ///
    /// # Errors
    /// All that is wrong, at once.
    pub fn check(&self) -> Result<(), ConfigError> {
        ConfigError::unless_empty(self.problems())
    }

    /// How the app (or a client of it) reaches Kafka.
    pub fn kafka_config(&self, app: &str) -> KafkaConfig {
        KafkaConfig { bootstrap: self.brokers.clone(), client_id: app.to_string(), extra: self.kafka.clone() }
    }

    /// Copies of each topic that is created; `None` = the broker's default.
    pub fn copies(&self) -> Option<i32> {
        Some(self.replication).filter(|copies| *copies > 0)
    }

    /// The folder for the app's state.
    pub fn state_dir(&self, app: &str) -> PathBuf {
        self.state_dir.clone().unwrap_or_else(|| Path::new(".sakia").join(app))
    }

    fn problems(&self) -> Vec<Problem> {
        let mut found = Vec::new();
        let mut demand = |holds: bool, key: &str, what: String| {
            if !holds {
                found.push(Problem::new(key, what));
            }
        };
        for broker in self.brokers.split(',').map(str::trim) {
            let port = broker.rsplit_once(':').filter(|(host, _)| !host.is_empty()).map(|(_, port)| port);
            let good = port.is_some_and(|p| p.parse::<u16>().is_ok_and(|p| p > 0));
            demand(
                good,
                "brokers",
                format!("\"{broker}\" is not host:port; write for example 127.0.0.1:9092"),
            );
        }
        let ms = |at_least: u64, at_most: u64, is: u64| {
            (
                is >= at_least && is <= at_most,
                format!("{is} is not between {at_least} and {at_most} milliseconds"),
            )
        };
        for (key, (holds, what)) in [
            ("session_timeout_ms", ms(1_000, 300_000, self.session_timeout_ms)),
            ("commit_interval_ms", ms(1, 5_000, self.commit_interval_ms)),
            // The journal's transaction times out after 60 s.
            ("journal_roll_ms", ms(100, 20_000, self.journal_roll_ms)),
            ("answer_timeout_ms", ms(100, 600_000, self.answer_timeout_ms)),
        ] {
            demand(holds, key, what);
        }
        let partitions = (1..=10_000).contains(&self.partitions);
        demand(partitions, "partitions", format!("{} is not between 1 and 10000", self.partitions));
        let replication = self.replication == -1 || (1..=100).contains(&self.replication);
        let what = format!("{} is neither −1 (the broker's default) nor between 1 and 100", self.replication);
        demand(replication, "replication", what);
        demand(
            self.cache_bytes >= 1024 * 1024,
            "cache_bytes",
            format!("{} bytes are too few; give at least 1048576 (1 MiB) per lane", self.cache_bytes),
        );
        // Kafka's own limit on a record of ours is 2 MiB; key, headers and framing need room beside the payload.
        const MOST: usize = 1_900_000;
        demand(
            (1024..=MOST).contains(&self.payload_limit_bytes),
            "payload_limit_bytes",
            format!("{} is not between 1024 and {MOST} bytes", self.payload_limit_bytes),
        );
        demand(
            self.http_insecure || self.http_address.is_none_or(|at| at.ip().is_loopback()),
            "http_address",
            "it can be reached from other machines, and nobody is asked who he is; take a loopback address such as \
             127.0.0.1, or set http_insecure if only those whom you trust can reach it"
                .into(),
        );
        let named = self.instance_id.as_deref().is_none_or(|id| !id.is_empty());
        demand(
            named,
            "instance_id",
            "it is empty; give a name that no other process has, or leave it out".into(),
        );
        found.extend(self.kafka_problems());
        found
    }

    /// What librdkafka must not be told.
    fn kafka_problems(&self) -> Vec<Problem> {
        let mut found = Vec::new();
        for (name, value) in &self.kafka {
            let one = KafkaConfig {
                bootstrap: "x:1".into(),
                extra: BTreeMap::from([(name.clone(), value.clone())]),
                ..KafkaConfig::default()
            };
            if let Err(error) = one.check() {
                found.push(Problem::new(&format!("kafka.{name}"), error.to_string()));
            }
        }
        found
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // KafkaConfig knows which of its properties are secrets.
        f.debug_struct("Config")
            .field("kafka", &self.kafka_config("sakia"))
            .field("state_dir", &self.state_dir)
            .field("instance_id", &self.instance_id)
            .field("session_timeout_ms", &self.session_timeout_ms)
            .field("partitions", &self.partitions)
            .field("replication", &self.replication)
            .field("commit_interval_ms", &self.commit_interval_ms)
            .field("journal_roll_ms", &self.journal_roll_ms)
            .field("cache_bytes", &self.cache_bytes)
            .field("restore_bytes", &self.restore_bytes)
            .field("payload_limit_bytes", &self.payload_limit_bytes)
            .field("http_address", &self.http_address)
            .field("http_insecure", &self.http_insecure)
            .field("answer_timeout_ms", &self.answer_timeout_ms)
            .finish()
    }
}

#[cfg(test)]
mod tests;
