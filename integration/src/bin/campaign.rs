//! Attacks Sakia with faults for a while, and judges what Kafka then holds. See `docs/reliability.md`.

use clap::Parser;
use sakia_integration::campaign::options::Options;
use sakia_integration::campaign::{run, scenarios};
use std::process::ExitCode;

fn main() -> anyhow::Result<ExitCode> {
    let options = Options::parse();
    if options.list {
        for scenario in scenarios::ALL {
            println!("{:<18} {}", scenario.name, scenario.what);
        }
        return Ok(ExitCode::SUCCESS);
    }
    let seed = options.seed.unwrap_or_else(rand::random);
    let verdict = run::run(&options, seed)?;
    println!("{}", verdict.text());
    Ok(verdict.exit_code())
}
