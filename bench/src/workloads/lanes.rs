//! X: more lanes in one process and in several, and three copies of each topic.

use super::{Curves, Ground, JVMS_WARM_UP, bare_lanes};
use crate::client::Work;
use crate::cluster::{Broker, Kafka, Shape};
use crate::figures::quantile;
use crate::peer::Values;
use crate::plan::STEPS;
use crate::results::{Results, Sample};
use crate::sides::measured;
use crate::subject::{Make, Subject};
use anyhow::Result;
use std::time::Duration;

/// Lanes and processes on one broker.
const SHAPES: &[(i32, usize)] = &[(1, 1), (2, 1), (4, 1), (8, 1), (16, 1), (8, 2), (8, 4)];
/// The same with three brokers and three copies.
const COPIED: &[(i32, usize)] = &[(1, 1), (8, 1)];
/// What the goal compares, in each of so many rounds, and beside it lanes that only write.
const COMPARED: &[i32] = &[1, 8];
const COMPARED_IN_FLIGHT: usize = 512;
const ROUNDS: usize = 3;
const IN_FLIGHT: &[usize] = &[64, 512];
const RAMP: Duration = Duration::from_millis(1500);
const LENGTH: Duration = Duration::from_secs(3);
/// Ports from the first, for the cluster of three.
const PORT: u16 = 200;

pub(super) fn run(ground: &Ground<'_>, results: &mut Results, curves: &mut Curves) -> Result<()> {
    for (lanes, processes) in SHAPES {
        one(ground, &ground.broker, (*lanes, *processes, 1), 0, results, curves)?;
    }
    for round in 0..ROUNDS {
        for lanes in COMPARED {
            // The first is in the table above.
            if round > 0 {
                one(ground, &ground.broker, (*lanes, 1, 1), round, results, curves)?;
            }
            let shape = (usize::try_from(*lanes)?, COMPARED_IN_FLIGHT, round);
            bare_lanes::run(ground, shape, (RAMP, LENGTH), results)?;
        }
    }
    let shape = Shape { port: ground.places.port + PORT, brokers: 3, settings: &[] };
    let broker = Broker::Kafka(Kafka::start(&ground.places.kafka, shape)?);
    super::warm_brokers(ground, &broker, 3, JVMS_WARM_UP)?;
    for (lanes, processes) in COPIED {
        one(ground, &broker, (*lanes, *processes, 3), 0, results, curves)?;
    }
    Ok(())
}

fn one(
    ground: &Ground<'_>,
    broker: &Broker,
    (lanes, processes, copies): (i32, usize, i32),
    round: usize,
    results: &mut Results,
    curves: &mut Curves,
) -> Result<()> {
    let name = format!("lanes-{lanes}-{processes}-{copies}-{round}");
    let make = Make { lanes, processes, copies, ..Make::of(&name) };
    let subject = Subject::start(&ground.places, broker, make)?;
    let mut client = subject.client()?;
    super::warm_up(&mut client)?;
    for in_flight in IN_FLIGHT {
        let side = side(lanes, processes, copies, *in_flight);
        let mut sample = measured("X", &side, round, &subject.watched(), || {
            let load = client.closed_loop(Work::Chain(STEPS), *in_flight, RAMP, LENGTH)?;
            Ok(Values::from([
                ("per_second".into(), load.per_second),
                ("steps_per_second".into(), load.per_second * f64::from(STEPS)),
                ("p50_ms".into(), quantile(&load.latencies, 0.5)),
                ("p99_ms".into(), quantile(&load.latencies, 0.99)),
                ("completed".into(), load.completed as f64),
            ]))
        })?;
        let cpu_us = note_cpu(&mut sample, "app", f64::from(STEPS));
        if processes == 1 && copies == 1 && round == 0 {
            let point = |value: f64| (f64::from(lanes), value);
            let rate = sample.values["steps_per_second"];
            let line = format!("{in_flight} in flight");
            curves.entry(format!("lanes rate: {line}")).or_default().push(point(rate));
            curves.entry(format!("lanes cpu: {line}")).or_default().push(point(cpu_us));
        }
        results.add(sample);
    }
    Ok(())
}

/// Notes the CPU time of a step, by the processes of that role and by the brokers; returns the sum, in microseconds.
pub(super) fn note_cpu(sample: &mut Sample, role: &str, steps_each: f64) -> f64 {
    let per_step_us = |role: &str| sample.cpu_ms_each(|each| each.starts_with(role)) * 1e3 / steps_each;
    let (app, broker) = (per_step_us(role), per_step_us("broker"));
    sample.values.insert("app_cpu_us_per_step".into(), app);
    sample.values.insert("broker_cpu_us_per_step".into(), broker);
    sample.values.insert("cpu_us_per_step".into(), app + broker);
    app + broker
}

/// What the report calls it.
pub(crate) fn side(lanes: i32, processes: usize, copies: i32, in_flight: usize) -> String {
    let plural = |n: i32, what: &str| if n == 1 { format!("{n} {what}") } else { format!("{n} {what}s") };
    let copies = if copies == 1 { String::new() } else { format!(", {copies} brokers and copies") };
    let processes = if processes == 1 { "1 process".into() } else { format!("{processes} processes") };
    format!("{}, {processes}{copies}, {in_flight} in flight", plural(lanes, "lane"))
}
