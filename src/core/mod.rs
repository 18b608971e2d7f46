//! The pure core: decides, performs nothing.
//!
//! It takes one [input] at a time, reads and writes [tables](tables::Tables) and returns
//! [actions](action::Action). It has no clock, no I/O, no thread, no random number and no Kafka: the same inputs in
//! the same order give the same state and the same actions, in production, in the users' tests and in simulation.

pub mod action;
pub mod error;
pub mod executor;
pub mod fact;
pub mod history;
pub mod ids;
pub mod input;
pub mod limits;
pub mod machine;
#[cfg(feature = "mutations")]
pub mod mutation;
#[cfg(not(feature = "mutations"))]
pub(crate) mod mutation;
pub mod retry;
pub mod state;
pub mod tables;
