//! Which broker the tests run against.
//!
//! Without any setting: the embedded broker, started in this process. With `SAKIA_TEST_BOOTSTRAP=host:port` a Kafka
//! that is already running (`integration/kafka start`); it is never stopped or killed here.

use std::time::Duration;

use anyhow::{Context, Result};
use sakia_broker::{Broker, BrokerConfig};

use crate::kit::Cluster;

/// Names the running Kafka to test against.
pub const BOOTSTRAP_VARIABLE: &str = "SAKIA_TEST_BOOTSTRAP";
/// Copies of each topic, for a real Kafka of several brokers.
pub const REPLICATION_VARIABLE: &str = "SAKIA_TEST_REPLICATION";

/// A broker that answers for as long as this lives.
pub enum Target {
    /// Started by us, in this process.
    Embedded(Broker),
    /// Somebody else's, at this address.
    Real(String),
}

impl Target {
    /// The broker that the environment asks for.
    pub fn from_env() -> Result<Self> {
        if let Some(bootstrap) = real_bootstrap() {
            return Ok(Self::Real(bootstrap));
        }
        let broker = Broker::start(embedded_config()).context("the embedded broker does not start")?;
        Ok(Self::Embedded(broker))
    }

    /// The broker as its clients see it.
    pub fn cluster(&self) -> Cluster {
        match self {
            Self::Embedded(broker) => Cluster::new(broker.bootstrap()),
            Self::Real(bootstrap) => Cluster::new(bootstrap.clone()).with_replication(replication()),
        }
    }
}

fn replication() -> i32 {
    std::env::var(REPLICATION_VARIABLE).ok().and_then(|text| text.parse().ok()).unwrap_or(1)
}

/// The address of the real Kafka to test against, if the environment names one.
pub fn real_bootstrap() -> Option<String> {
    std::env::var(BOOTSTRAP_VARIABLE).ok().filter(|bootstrap| !bootstrap.is_empty())
}

/// The embedded broker as tests want it: as awkward as a real one where that matters to a client.
pub fn embedded_config() -> BrokerConfig {
    BrokerConfig {
        // A real broker answers EndTxn before the markers are written and refuses the id's next request until they
        // are. A broker that skips this hides the most frequent retry there is.
        concurrent_transactions_window: Duration::from_millis(2),
        // Ten seconds in a real Kafka, where waiting for it is the price of the real thing.
        transaction_sweep: Duration::from_millis(500),
        ..BrokerConfig::default()
    }
}
