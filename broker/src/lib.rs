//! An embedded, single-node broker that speaks the Kafka protocol, for development and tests.
//!
//! It exists because a stream processor's exactly-once can only be tried against a broker with working
//! transactions, and Apache Kafka needs a Java runtime. It serves librdkafka: idempotent and transactional
//! producers, `read_committed`, classic consumer groups with static members, compaction and retention.
//!
//! What it is **not**: no replication, no TLS, SASL, ACLs or quotas, no KIP-848 groups, 127.0.0.1 only.
//! Apache Kafka is the reference: where the two differ, Kafka is right.
//!
//! ```
//! use sakia_broker::{Broker, BrokerConfig};
//!
//! let mut broker = Broker::start(BrokerConfig::default())?;
//! println!("bootstrap.servers={}", broker.bootstrap());
//! broker.stop();
//! # Ok::<(), sakia_broker::BrokerError>(())
//! ```
//!
//! Everything acknowledged survives the end of the process, `kill -9` included, when a data folder is given.
//! Membership of groups does not: members join again after a restart, as after a move of the coordinator.
#![forbid(unsafe_code)]

mod api;
mod clock;
mod compaction;
mod config;
mod error;
mod faults;
mod group;
mod log;
mod mistake;
mod node;
mod patience;
mod retention;
mod server;
mod state;
mod store;
mod time;
mod topic_config;
mod txn;
mod wait;

#[cfg(test)]
mod tests;

pub use api::Api;
pub use config::BrokerConfig;
pub use error::BrokerError;
pub use faults::Faults;

use clock::Clock;
use node::{HOST, Node};
use server::Server;
use std::sync::Arc;

/// A running broker. Dropping it stops it.
pub struct Broker {
    // Dropped in this order: threads first, then the last handle to the store, which frees the data folder.
    running: Option<(Server, Clock, Arc<Node>)>,
    port: u16,
    faults: Faults,
}

impl Broker {
    /// Starts a broker on threads of its own; it takes connections when this returns.
    ///
    /// # Errors
    /// When the port or the data folder cannot be had; see [`BrokerError`].
    pub fn start(config: BrokerConfig) -> Result<Self, BrokerError> {
        let listener = server::listen(config.port)?;
        let listen_error = |source| BrokerError::Listen { port: config.port, source };
        let port = listener.local_addr().map_err(listen_error)?.port();
        let node = Arc::new(Node::open(config, port)?);
        let faults = node.faults.clone();
        let clock = Clock::start(node.clone())?;
        let server = Server::start(node.clone(), listener)?;
        tracing::info!(port, "embedded broker is ready");
        Ok(Self { running: Some((server, clock, node)), port, faults })
    }

    /// Value for `bootstrap.servers`.
    #[must_use]
    pub fn bootstrap(&self) -> String {
        format!("{HOST}:{}", self.port)
    }

    /// The port that it listens on.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Faults that can be switched on while it runs.
    #[must_use]
    pub fn faults(&self) -> Faults {
        self.faults.clone()
    }

    /// Closes the listener and every connection, joins all threads and lets go of the data folder: a broker on
    /// the same port and folder can be started at once. Does nothing the second time.
    pub fn stop(&mut self) {
        let Some((mut server, mut clock, node)) = self.running.take() else { return };
        node.stop();
        server.stop();
        clock.stop();
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.stop();
    }
}

impl std::fmt::Debug for Broker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Broker").field("port", &self.port).finish_non_exhaustive()
    }
}
