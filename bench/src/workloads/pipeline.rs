//! K: a record comes in from a user's topic, goes through three steps, and leaves on another, at a steady rate. Once
//! undisturbed, once with the process killed and started again.

use super::{Curves, Ground, pipeline_killed};
use crate::figures::quantile;
use crate::kafka::{self, Isolation, NewOne, Producer, Reader, Record};
use crate::peer::Values;
use crate::plan::{SAKIA, STREAMS};
use crate::results::Results;
use crate::sides::measured;
use crate::subject::{Make, Subject};
use anyhow::{Context as _, Result, anyhow};
use std::collections::HashSet;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const IN: &str = "bench-in";
const OUT: &str = "bench-out";
const PER_SECOND: u64 = 1_000;
/// The first part is not measured.
const RAMP: Duration = Duration::from_secs(3);
const LENGTH: Duration = Duration::from_secs(10);
/// For the last record to come out, also after a kill.
const PATIENCE: Duration = Duration::from_secs(20);

pub(super) fn run(ground: &Ground<'_>, results: &mut Results, _curves: &mut Curves) -> Result<()> {
    let topic = |name: &str| NewOne::single(name.into(), kafka::PLAIN);
    kafka::make_topics(ground.broker.bootstrap(), &[topic(IN), topic(OUT)])?;
    let variables =
        vec![("BENCH_PIPE".into(), "yes".into()), ("SAKIA_INSTANCE_ID".into(), "process-{process}".into())];
    let make = Make { variables, ..Make::of("pipeline") };
    let mut subject = Subject::start(&ground.places, &ground.broker, make)?;
    let mut client = subject.client()?;
    super::warm_up(&mut client)?;
    // The first pass finds the ingress lane warming up too.
    flow(subject.brokers(), 0)?;
    let watched = subject.watched();
    for round in 0..ground.options.rounds {
        let brokers = subject.brokers().to_owned();
        results.add(measured("K", SAKIA, round, &watched, || flow(&brokers, round as u64 + 1))?);
    }
    let brokers = subject.brokers().to_owned();
    let killed = format!("{SAKIA}, kill -9 and start at half time");
    results.add(measured("K", &killed, 0, &watched, || {
        std::thread::scope(|scope| {
            let fault = scope.spawn(|| {
                // The schedule of the fault, not a wait for anything.
                std::thread::sleep(RAMP + LENGTH / 2);
                subject.end(0, true)?;
                subject.revive(0)
            });
            let values = flow(&brokers, 1000);
            fault.join().map_err(|_| anyhow!("the fault panicked"))??;
            values
        })
    })?);
    if let Some(streams) = &ground.streams {
        let peer = streams.start()?.shares(ground.broker.watched());
        let watched = peer.watched();
        let (ramp, length) = (RAMP.as_secs_f64(), LENGTH.as_secs_f64());
        peer.load("pipe", PER_SECOND, ramp, ramp)?;
        results.add(measured("K", STREAMS, 0, &watched, || peer.load("pipe", PER_SECOND, ramp, length))?);
    }
    pipeline_killed::run(ground, results, &mut subject, [IN, OUT])
}

fn now_us() -> Result<u64> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_micros() as u64)
}

/// Writes at the rate, whatever comes out; the time of a record is when it was due, so that a pause is not hidden.
fn write(brokers: &str, pass: u64, total: u64, begin: Instant, begin_us: u64) -> Result<()> {
    let producer = Producer::open(brokers, None)?;
    let mut sent = 0;
    while sent < total {
        let due = (begin.elapsed().as_secs_f64() * PER_SECOND as f64) as u64;
        while sent < due.min(total) {
            let due_us = begin_us + sent * 1_000_000 / PER_SECOND;
            let record = Record {
                key: Some(format!("p-{pass}-{sent}").into_bytes()),
                value: Some(due_us.to_string().into_bytes()),
                headers: Vec::new(),
            };
            producer.send(IN, &record)?;
            sent += 1;
        }
        producer.check()?;
        // The rate of the load: what is owed by now is sent in the next turn.
        std::thread::sleep(Duration::from_micros(500));
    }
    producer.acknowledged()
}

fn flow(brokers: &str, pass: u64) -> Result<Values> {
    let reader = Reader::at_end(brokers, OUT, Isolation::Committed)?;
    let total = (RAMP + LENGTH).as_secs() * PER_SECOND;
    let (begin, begin_us) = (Instant::now(), now_us()?);
    let (mut seen, mut took, mut repeated) = (HashSet::new(), Vec::new(), 0_u32);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| write(brokers, pass, total, begin, begin_us));
        while (seen.len() as u64) < total {
            let Some(record) = reader.next(PATIENCE)? else { break };
            let now = now_us()?;
            let sent_us: u64 = std::str::from_utf8(record.value.as_deref().context("no value")?)?.parse()?;
            if !seen.insert(record.key.context("no key")?) {
                repeated += 1;
            } else if sent_us >= begin_us + RAMP.as_micros() as u64 {
                took.push(Duration::from_micros(now.saturating_sub(sent_us)));
            }
        }
        // A record that comes out twice may do so after the last.
        while let Some(record) = reader.next(Duration::from_secs(1))? {
            repeated += u32::from(!seen.insert(record.key.context("no key")?));
        }
        writer.join().map_err(|_| anyhow!("the writer panicked"))?
    })?;
    Ok(Values::from([
        ("completed".into(), seen.len() as f64),
        ("lost".into(), total as f64 - seen.len() as f64),
        ("repeated".into(), f64::from(repeated)),
        ("p50_ms".into(), quantile(&took, 0.5)),
        ("p99_ms".into(), quantile(&took, 0.99)),
        ("max_ms".into(), quantile(&took, 1.0)),
    ]))
}
