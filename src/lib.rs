//! Durable workflows on Kafka, with no server and no database beside it.
//!
//! A workflow is a plain `async fn`. Commands and events flow through partitioned topics; whoever owns a partition keeps
//! its state in a local RocksDB that is restored from a changelog topic; one Kafka transaction commits state, consumed
//! position and every outgoing record. So a workflow survives crashes, deploys and month-long waits.
//!
//! It is not a job queue for work that nobody waits for, and not a server: a service links this crate, is started as
//! ordinary processes, and joins a Kafka consumer group.
//!
//! ```no_run
//! use sakia::{App, Ctx, Result, Retry, Signal, Workflow};
//! use std::time::Duration;
//!
//! const PAYMENT: Workflow<u64, String> = Workflow::new("payment");
//! const APPROVAL: Signal<bool> = Signal::new("approval");
//!
//! async fn payment(ctx: Ctx<()>, cents: u64) -> Result<String> {
//!     let hold = ctx.run("authorize", async || Ok(format!("hold of {cents}"))).retry(Retry::times(3)).await?;
//!     match ctx.recv(APPROVAL).timeout(Duration::from_secs(3 * 86_400)).await? {
//!         Some(true) => ctx.run("capture", async || Ok(format!("captured {hold}"))).await,
//!         _ => Ok("refused".into()),
//!     }
//! }
//!
//! #[tokio::main]
//! async fn main() -> std::process::ExitCode {
//!     let mut app = App::new("payments", ());
//!     app.workflow(PAYMENT, payment);
//!     app.main().await
//! }
//! ```

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
mod http;
#[cfg(feature = "engine")]
mod ingress;
#[cfg(feature = "lane")]
pub mod lane;
#[cfg(feature = "lane")]
pub mod log;
#[cfg(feature = "engine")]
mod runtime;
#[cfg(feature = "lane")]
pub mod store;
#[cfg(feature = "lane")]
pub mod telemetry;

#[cfg(feature = "engine")]
pub use crate::client::{Client, Handle};
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
