//! Measures Sakia on a real Kafka, beside bare Kafka clients and beside other systems with the same workloads.
//!
//! A client in a process of its own that knows nothing but the public contract of the topics. `bench/run` builds what
//! it needs and starts it.

mod bare;
mod bench;
mod child;
mod client;
mod cluster;
mod cpu_report;
mod drawings;
mod figures;
mod floor;
mod floor_report;
mod goals;
mod kafka;
mod page;
mod peer;
mod plan;
mod results;
mod sides;
mod subject;
mod timeline;
mod usage;
mod workloads;

use crate::subject::Places;
use anyhow::{Result, ensure};
use clap::Parser;
use std::path::PathBuf;

/// Measures Sakia beside bare Kafka and beside its peers.
#[derive(Parser)]
pub(crate) struct Options {
    /// Only these workloads, separated by commas: E1 E64 E512 C1 C64 C512 F1 F16 S64 step T K R L X, and with --long
    /// M D T1M Z.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Beside these peers, separated by commas: restate temporal kafka-streams, or none.
    #[arg(long, value_delimiter = ',', default_value = "restate,temporal,kafka-streams")]
    peers: Vec<String>,
    /// Rounds of what is measured in turn. Rounds in which the machine changed its speed are repeated, twice at most.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Also the workloads that take long: M, D, T1M and Z.
    #[arg(long)]
    long: bool,
    /// Seconds of load before the first round. A JVM is slow until it has compiled what it does often.
    #[arg(long, default_value_t = 40)]
    warm_up_s: u64,
    /// Minutes of Z.
    #[arg(long, default_value_t = 30)]
    soak_minutes: u64,
    /// First of the ports that may be used; 400 are.
    #[arg(long, default_value_t = 29300)]
    port: u16,
    /// A line about versions or settings, for the report; may be repeated.
    #[arg(long)]
    about: Vec<String>,
    /// Folder of the executables.
    #[arg(long)]
    programs: PathBuf,
    /// Folder of the sources.
    #[arg(long)]
    sources: PathBuf,
    /// Folder for what is fetched.
    #[arg(long)]
    cache: PathBuf,
    /// Folder for state and logs of this run.
    #[arg(long)]
    folder: PathBuf,
    /// File for the tables.
    #[arg(long)]
    out: PathBuf,
    /// Folder for the drawings.
    #[arg(long)]
    drawings: PathBuf,
}

impl Options {
    fn places(&self) -> Places {
        Places {
            app: self.programs.join("sakia-bench-app"),
            sakia: self.programs.join("sakia"),
            kafka: self.sources.join("integration/kafka"),
            peers: self.sources.join("bench/peers"),
            cache: self.cache.clone(),
            folder: self.folder.clone(),
            port: self.port,
        }
    }

    /// Whether a workload is to be measured.
    fn wants(&self, workload: &str) -> bool {
        let long = plan::OTHERS.iter().any(|(name, long)| *name == workload && *long);
        if self.only.is_empty() { self.long || !long } else { self.only.iter().any(|name| name == workload) }
    }

    fn check(&self) -> Result<()> {
        let known = |name: &str| {
            plan::CLOSED.iter().any(|cell| cell.name == name)
                || plan::OTHERS.iter().any(|(other, _)| *other == name)
        };
        for name in &self.only {
            ensure!(known(name), "there is no workload {name}");
        }
        for peer in &self.peers {
            ensure!(peer == "none" || plan::PEERS.contains(&peer.as_str()), "there is no peer {peer}");
        }
        ensure!(self.rounds > 0, "no rounds");
        Ok(())
    }
}

fn main() -> Result<()> {
    let options = Options::parse();
    options.check()?;
    let outcome = bench::run(&options)?;
    let drawings = drawings::draw(&outcome, &options.drawings)?;
    std::fs::write(&options.out, page::markdown(&outcome, &drawings))?;
    Ok(())
}
