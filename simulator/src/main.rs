//! Runs simulations by hand: one with its event log, or many.

use clap::Parser;
use sakia_simulator::{Mutation, Report, mutate, run, sweep, threads};
use std::process::ExitCode;
use std::time::Instant;

/// Lanes on a simulated Kafka, driven by seeds.
#[derive(Parser)]
#[command(name = "sakia-sim")]
struct Args {
    /// Run this seed and print what happens.
    #[arg(long, conflicts_with_all = ["seeds", "from"])]
    seed: Option<u64>,
    /// Run so many seeds.
    #[arg(long, default_value_t = 10_000)]
    seeds: u64,
    /// Begin with this one.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Stop after so many that break a promise.
    #[arg(long, default_value_t = 10)]
    most: usize,
    /// Make this mistake in every lane, by the name that `src/core/mutation.rs` has for it.
    #[arg(long)]
    mutation: Option<String>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let mutation = match args.mutation.as_deref().map(Mutation::named) {
        Some(None) => {
            eprintln!("there is no such mutation; these are: {:?}", Mutation::ALL);
            return ExitCode::from(2);
        }
        Some(found) => found,
        None => None,
    };
    let held = match args.seed {
        Some(seed) => {
            mutate(mutation);
            one(&run(seed))
        }
        None => many(&args, mutation),
    };
    if held { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn one(report: &Report) -> bool {
    for line in &report.events {
        println!("{line}");
    }
    match &report.violation {
        Some(what) => println!("\nseed {} broke a promise: {what}", report.seed),
        None => println!("\nseed {} kept every promise", report.seed),
    }
    report.violation.is_none()
}

fn many(args: &Args, mutation: Option<Mutation>) -> bool {
    let began = Instant::now();
    let sum = sweep(args.from..args.from + args.seeds, threads(), mutation, args.most);
    println!(
        "{} seeds in {:.0} s: {} checkpoints, {} appends, {} broke a promise",
        sum.seeds,
        began.elapsed().as_secs_f64(),
        sum.checkpoints,
        sum.appends,
        sum.broken.len()
    );
    let with = mutation.map_or_else(String::new, |m| format!(" --mutation {m:?}"));
    for report in &sum.broken {
        let what = report.violation.as_deref().unwrap_or_default();
        println!("{what:.300}\n  again: cargo run -q -p sakia-simulator -- --seed {}{with}", report.seed);
    }
    sum.broken.is_empty()
}
