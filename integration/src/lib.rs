//! The test kit for Sakia as a black box: a broker to test against, and an independent Kafka client to look at it with.
//!
//! [`target`] says which broker: the embedded one, or a real Kafka. [`process`] gives brokers and group members that
//! live in processes of their own, so that they can be killed. [`kit`] is the client: it uses rdkafka directly and
//! shares no code with the engine, so a mistake in the engine's client cannot hide itself here.

pub mod app;
pub mod campaign;
pub mod jobs;
pub mod kit;
pub mod process;
pub mod target;
