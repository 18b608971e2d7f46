//! An independent Kafka client for tests: topics, producers, readers, groups, and waiting with a deadline.

mod admin;
mod cluster;
mod group;
mod raw;
mod reader;
mod wait;
mod writer;

pub use cluster::Cluster;
pub use group::{Consumer, joined};
pub use raw::set_topic_config;
pub use reader::{Isolation, Reading, Record};
pub use wait::{holds_for, until};
pub use writer::{Deliveries, Writer, describe};
