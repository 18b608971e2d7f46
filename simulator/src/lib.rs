//! The lanes of Sakia in one thread, on a simulated Kafka, disk and clock, driven by a seed.
//!
//! What runs is the production code: core, executor, take-over, append, checkpoint, restore, replay. What is simulated
//! is everything around it: [`run`] makes processes that own lanes, crash, stop and wake up again; a Kafka that loses
//! requests and answers, fences, compacts and restarts; clients; and workflows made of random programs. After every
//! event the promises are checked, most of them by a second opinion: the core alone, fed with what the log holds. What the
//! core itself could get wrong is checked at the end, from what the log holds and what the workflows' code saw.
//!
//! ```
//! let report = sakia_simulator::run(1);
//! assert_eq!(report.violation, None);
//! assert_eq!(report.fingerprint, sakia_simulator::run(1).fingerprint);
//! ```
#![expect(clippy::expect_used, reason = "a test program: what fails here fails the test")]

mod broker;
mod chaos;
mod client;
mod disk;
mod host;
mod lanes;
mod log;
mod model;
mod outside;
mod profile;
mod program;
mod run;
mod seen;
mod sweep;
mod task;
mod wire;
mod world;

pub use run::{Report, run};
pub use sakia::core::mutation::{Mutation, mutate};
pub use sweep::{Sweep, sweep, threads};
