//! Measures Sakia on a real Kafka, side by side with bare Kafka clients that write the same records.
//!
//! A client in a process of its own that knows nothing but the public contract of the topics. `bench/run` starts
//! what it needs and writes its tables into `docs/performance.md`.

mod bare;
mod client;
mod cpu;
mod figures;
mod kafka;
mod report;
mod timeline;

use crate::bare::{Bare, Shape};
use crate::client::{Client, Work};
use crate::figures::{Round, comparable, fixed_loop};
use anyhow::{Result, ensure};
use clap::{Parser, Subcommand};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Steps of a chain.
pub(crate) const STEPS: u32 = 10;
const CHAIN: Work = Work::Chain(STEPS);
const IN_FLIGHT: usize = 64;
/// One measurement of one thing; each is made twice per round.
const SLICE: Duration = Duration::from_millis(1500);
/// One measurement with many in flight.
const LOAD: Duration = Duration::from_secs(4);
const TIMELINE: Duration = Duration::from_secs(6);

const RECORD_SIZE: (&str, &str) = ("max.message.bytes", "2097152");
/// Settings of an app's commands, replies and other topics.
pub(crate) const PLAIN: &[(&str, &str)] = &[("message.timestamp.type", "LogAppendTime"), RECORD_SIZE];
/// Settings of an app's journal.
pub(crate) const JOURNAL: &[(&str, &str)] = &[("retention.ms", "-1"), ("retention.bytes", "-1"), RECORD_SIZE];
/// Settings of an app's changelog.
pub(crate) const CHANGELOG: &[(&str, &str)] =
    &[("cleanup.policy", "compact"), ("min.compaction.lag.ms", "3600000"), RECORD_SIZE];

/// Measures Sakia against bare Kafka.
#[derive(Parser)]
struct Arguments {
    /// Kafka, host:port.
    #[arg(long)]
    brokers: String,
    /// Name of the app under test.
    #[arg(long)]
    app: String,
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Makes the app's topics, with one partition each.
    Topics,
    /// Warms up, measures, and writes the tables.
    Measure(Measure),
}

#[derive(clap::Args)]
struct Measure {
    /// Seconds of load before the first round. A JVM is slow until it has compiled what it does often.
    #[arg(long, default_value_t = 45)]
    warm_up_s: u64,
    /// Rounds.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Process of the broker, for its CPU time.
    #[arg(long)]
    broker_process: String,
    /// Process of the app.
    #[arg(long)]
    app_process: String,
    /// A line about versions or settings, for the report; may be repeated.
    #[arg(long)]
    about: Vec<String>,
    /// File for the tables.
    #[arg(long)]
    out: PathBuf,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    match &arguments.what {
        What::Topics => {
            let topic = |part: &str| format!("{}.{part}", arguments.app);
            let topics = [
                (topic("commands"), PLAIN),
                (topic("journal"), JOURNAL),
                (topic("changelog"), CHANGELOG),
                (topic("events"), PLAIN),
                (topic("replies"), PLAIN),
                (topic("dlq"), PLAIN),
            ];
            kafka::make_topics(&arguments.brokers, &topics)
        }
        What::Measure(measure) => run(&arguments, measure),
    }
}

fn run(arguments: &Arguments, measure: &Measure) -> Result<()> {
    let Arguments { brokers, app, .. } = arguments;
    ensure!(measure.rounds >= 3, "three rounds at least");
    let mut client = Client::connect(brokers, app)?;
    let shape = Shape::observe(brokers, app, &mut client)?;
    let mut bare = Bare::connect(brokers, &format!("{app}-bare"), shape)?;
    let end = Instant::now() + Duration::from_secs(measure.warm_up_s);
    eprintln!("warming up for {} s", measure.warm_up_s);
    while Instant::now() < end {
        let mut ignored = Round::default();
        client.closed_loop(CHAIN, IN_FLIGHT, LOAD)?;
        slices(&mut client, &mut bare, &mut ignored, false)?;
    }
    let mut rounds = Vec::new();
    for number in 0..measure.rounds {
        let mut round = Round::default();
        slices(&mut client, &mut bare, &mut round, number % 2 == 1)?;
        many(&mut client, measure, &mut round)?;
        slices(&mut client, &mut bare, &mut round, number % 2 == 0)?;
        eprintln!(
            "round {}: produce {:.2}, transaction {:.2}, empty {:.2}, a step {:.2} ms; ten steps p99 {:.0} ms; loop {:.1} ms",
            number + 1,
            figures::quantile(&round.produce, 0.5),
            figures::quantile(&round.bare.committed, 0.5),
            figures::quantile(&round.empty, 0.5),
            round.step(),
            figures::quantile(&round.chain, 0.99),
            round.fixed_loop()
        );
        rounds.push(round);
    }
    let (rounds, dropped) = comparable(rounds);
    let mut about = vec![format!("librdkafka {}", rdkafka::util::get_rdkafka_version().1)];
    about.extend(measure.about.iter().cloned());
    let empty = timeline::watch(brokers, app, &mut client, Work::Empty, TIMELINE)?;
    let chain = timeline::watch(brokers, app, &mut client, CHAIN, TIMELINE)?;
    let shape = bare.shape();
    let report =
        report::Report { rounds: &rounds, dropped, shape, empty: &empty, chain: &chain, about: &about };
    std::fs::write(&measure.out, report.markdown())?;
    Ok(())
}

/// Everything that is measured one at a time, in one order or the other: what comes first has no advantage.
fn slices(client: &mut Client, bare: &mut Bare, round: &mut Round, backwards: bool) -> Result<()> {
    let mut order = [0, 1, 2, 3, 4];
    if backwards {
        order.reverse();
    }
    for what in order {
        round.loops.push(fixed_loop());
        match what {
            0 => round.produce.extend(bare.produces(SLICE)?),
            1 => round.chain.extend(client.one_at_a_time(CHAIN, SLICE)?),
            2 => round.append.extend(bare.appends(SLICE)?),
            3 => round.empty.extend(client.one_at_a_time(Work::Empty, SLICE)?),
            _ => {
                let more = bare.transactions(SLICE)?;
                round.bare.written.extend(more.written);
                round.bare.committed.extend(more.committed);
                round.bare.seen.extend(more.seen);
            }
        }
    }
    Ok(())
}

fn many(client: &mut Client, measure: &Measure, round: &mut Round) -> Result<()> {
    round.empty_many = Some(client.closed_loop(Work::Empty, IN_FLIGHT, LOAD)?);
    round.loops.push(fixed_loop());
    let processes = [measure.broker_process.as_str(), measure.app_process.as_str(), "self"];
    let spent = || -> Result<[f64; 3]> {
        let [broker, app, own] = processes.map(cpu::seconds);
        Ok([broker?, app?, own?])
    };
    let (before, started) = (spent()?, client.started());
    round.chain_many = Some(client.closed_loop(CHAIN, IN_FLIGHT, LOAD)?);
    let (after, done) = (spent()?, (client.started() - started).max(1) as f64);
    round.cpu = Some([0, 1, 2].map(|part| (after[part] - before[part]) * 1e3 / done));
    round.loops.push(fixed_loop());
    Ok(())
}
