//! The log on Apache Kafka. The only place that imports `rdkafka`.
//!
//! Every librdkafka client owns threads, and its calls and its drop block (rdkafka #509, #453: minutes if a
//! coordinator is away). So clients are dropped on threads of their own (`detached`), and nothing here may be called
//! from an async worker unless its documentation says that it returns at once.

pub mod admin;
pub mod checkpoints;
pub mod commands;
pub mod config;
mod connection;
mod context;
mod detached;
mod fault;
mod fence;
pub mod ingress;
mod journal;
pub mod log;
pub mod membership;
pub mod partition;
mod polled;
pub mod producer;
pub mod reader;
mod record;
mod transaction;

pub use admin::Admin;
pub use commands::{CommandFeed, FeedSink, Offer};
pub use config::KafkaConfig;
pub use ingress::IngressWriter;
pub use log::KafkaLog;
pub use membership::{Membership, MembershipEvent, TopicPartition};
pub use partition::partition_for;
pub use producer::IdempotentProducer;
