//! The fault campaign: real processes under real faults, with checkers that read what Kafka holds.
//!
//! [`run::run`] sets a [`stage::Stage`] (brokers, a proxy on every connection of a worker, three workers), keeps a
//! load on it, and plays [`scenarios`] drawn from a seed. Meanwhile one reader gives every committed record to the
//! [`ledger::Ledger`] and every step tells the [`effects`] listener that it ran. The ledger is the judge: it knows what was
//! started, so it knows what is lost, doubled, changed, early or stuck. A [`model::Model`] hears the commands instead, and says
//! what the stores must hold in the end. Nothing in either grows with the length of a run.

pub mod audit;
pub mod brokers;
pub mod commands;
pub mod effects;
pub mod faults;
pub mod growth;
pub mod judgement;
pub mod ledger;
#[cfg(test)]
mod ledger_tests;
pub mod load;
mod lock;
pub mod model;
#[cfg(test)]
mod model_tests;
pub mod options;
pub mod proxy;
pub mod recompute;
pub mod records;
pub mod run;
pub mod scenarios;
pub mod stage;
pub mod verdict;
pub mod window;
pub mod worker;
pub mod workflows;
