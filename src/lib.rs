//! Durable workflows on Kafka.

pub mod codec;
pub mod core;
pub mod workflow;

#[cfg(feature = "engine")]
pub mod cli;
#[cfg(feature = "engine")]
pub mod client;
#[cfg(feature = "engine")]
pub mod config;
#[cfg(feature = "engine")]
mod ingress;
#[cfg(feature = "engine")]
pub mod lane;
#[cfg(feature = "engine")]
pub mod log;
#[cfg(feature = "engine")]
mod runtime;
#[cfg(feature = "engine")]
pub mod store;

#[cfg(feature = "engine")]
pub use crate::config::Config;
pub use crate::core::retry::Retry;
#[cfg(feature = "engine")]
pub use crate::runtime::{App, Stream};
pub use crate::workflow::{
    Call, Ctx, Error, Permanent, RecordKey, Recv, Result, Run, Signal, Sleep, Topic, Workflow, boxed,
};
#[doc(hidden)]
pub use futures;
