//! The lanes of Sakia in one thread, on a simulated Kafka, disk and clock, driven by a seed.
#![expect(clippy::expect_used, reason = "a test program: what fails here fails the test")]

mod broker;
mod chaos;
mod client;
mod disk;
mod host;
mod lanes;
mod log;
mod model;
mod profile;
mod program;
mod run;
mod seen;
mod task;
mod wire;
mod world;

pub use run::{Report, run};
