//! Durable workflows on Kafka.

pub mod codec;
pub mod core;
pub mod workflow;
#[cfg(feature = "engine")]
pub mod lane;
#[cfg(feature = "engine")]
pub mod log;
#[cfg(feature = "engine")]
pub mod store;

pub use crate::core::retry::Retry;
pub use crate::workflow::{Call, Ctx, Error, Permanent, RecordKey, Recv, Result, Run, Signal, Sleep, Topic, Workflow, boxed};
#[doc(hidden)]
pub use futures;
