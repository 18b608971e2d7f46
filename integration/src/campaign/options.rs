//! What one run is asked for.

use clap::{Parser, ValueEnum};
use std::path::PathBuf;

/// A run of so many minutes has time for longer outages, and for the scenarios that take ten.
const LONG_RUN_MINUTES: f64 = 20.0;

/// Which broker is attacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// Apache Kafka, from `integration/kafka`, behind proxies.
    Real,
    /// The embedded broker: for a quick trial. Its clients cannot be led through a proxy.
    Embedded,
}

/// Attacks Sakia with faults for a while, and judges what Kafka then holds.
///
/// Exit code 0: nothing was lost, doubled, changed, torn or stuck. 1: something was. 2: nothing was, but a fault that
/// was to happen did not, so that this proves nothing.
#[derive(Debug, Clone, Parser)]
#[command(name = "campaign")]
pub struct Options {
    /// How long faults are made; the start, the scenarios that take minutes and the last checks come on top.
    #[arg(long, default_value_t = 5.0)]
    pub minutes: f64,
    /// Real brokers: 1 or 3.
    #[arg(long, default_value_t = 1)]
    pub brokers: u16,
    /// What the faults and the load are drawn from; the clock's by default. The interleaving of processes is not
    /// repeated by it.
    #[arg(long)]
    pub seed: Option<u64>,
    /// Only these scenarios, in turn.
    #[arg(long)]
    pub scenario: Vec<String>,
    /// Lists the scenarios, and ends.
    #[arg(long)]
    pub list: bool,
    /// The broker.
    #[arg(long, value_enum, default_value_t = Kind::Real)]
    pub kafka: Kind,
    /// First of a hundred ports; as for `integration/kafka`.
    #[arg(long, default_value_t = 19_292)]
    pub port: u16,
    /// Starts per second while there is room.
    #[arg(long, default_value_t = 45)]
    pub rate: u32,
    /// Lanes of the app.
    #[arg(long, default_value_t = 8)]
    pub lanes: i32,
    /// Where logs, state and figures go; a new folder under the cache by default.
    #[arg(long)]
    pub folder: Option<PathBuf>,
}

impl Options {
    /// Whether there is time for what takes minutes.
    pub fn is_long(&self) -> bool {
        self.minutes >= LONG_RUN_MINUTES
    }
}
