//! What users write against: names, [`Ctx`] and one file per operation, and the executor that runs the code.

mod call;
mod cell;
mod combine;
mod ctx;
mod error;
pub mod executor;
mod names;
mod panics;
pub mod payload;
mod pending;
mod random;
mod recv;
pub mod registry;
mod run;
mod send;
mod sleep;
mod wake;

pub use call::Call;
pub use combine::boxed;
pub use ctx::Ctx;
pub use error::{Error, Permanent, Result};
pub use names::{Signal, Topic, Workflow};
pub use payload::RecordKey;
pub use recv::{Recv, RecvTimeout};
pub use run::Run;
pub use sleep::Sleep;
pub use wake::ReadyQueue;
