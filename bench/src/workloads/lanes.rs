//! X: more lanes in one process and in several, and three copies of each topic.

use super::{Curves, Ground};
use crate::client::Work;
use crate::cluster::{Broker, Kafka, Shape};
use crate::figures::quantile;
use crate::peer::Values;
use crate::plan::STEPS;
use crate::results::Results;
use crate::sides::measured;
use crate::subject::{Make, Subject};
use anyhow::Result;
use std::time::Duration;

/// Lanes and processes on one broker.
const SHAPES: &[(i32, usize)] = &[(1, 1), (2, 1), (4, 1), (8, 1), (16, 1), (8, 2), (8, 4)];
/// The same with three brokers and three copies.
const COPIED: &[(i32, usize)] = &[(1, 1), (8, 1)];
const IN_FLIGHT: &[usize] = &[64, 512];
const RAMP: Duration = Duration::from_millis(1500);
const LENGTH: Duration = Duration::from_secs(3);
/// Ports from the first, for the cluster of three.
const PORT: u16 = 200;

pub(super) fn run(ground: &Ground<'_>, results: &mut Results, curves: &mut Curves) -> Result<()> {
    for (lanes, processes) in SHAPES {
        one(ground, &ground.broker, (*lanes, *processes, 1), results, curves)?;
    }
    let shape = Shape { port: ground.places.port + PORT, brokers: 3, settings: &[] };
    let broker = Broker::Kafka(Kafka::start(&ground.places.kafka, shape)?);
    for (lanes, processes) in COPIED {
        one(ground, &broker, (*lanes, *processes, 3), results, curves)?;
    }
    Ok(())
}

fn one(
    ground: &Ground<'_>,
    broker: &Broker,
    (lanes, processes, copies): (i32, usize, i32),
    results: &mut Results,
    curves: &mut Curves,
) -> Result<()> {
    let name = format!("lanes-{lanes}-{processes}-{copies}");
    let make = Make { lanes, processes, copies, ..Make::of(&name) };
    let subject = Subject::start(&ground.places, broker, make)?;
    let mut client = subject.client()?;
    super::warm_up(&mut client)?;
    for in_flight in IN_FLIGHT {
        let side = side(lanes, processes, copies, *in_flight);
        let mut sample = measured("X", &side, 0, &subject.watched(), || {
            let load = client.closed_loop(Work::Chain(STEPS), *in_flight, RAMP, LENGTH)?;
            Ok(Values::from([
                ("per_second".into(), load.per_second),
                ("steps_per_second".into(), load.per_second * f64::from(STEPS)),
                ("p50_ms".into(), quantile(&load.latencies, 0.5)),
                ("p99_ms".into(), quantile(&load.latencies, 0.99)),
                ("completed".into(), load.completed as f64),
            ]))
        })?;
        let per_step_us =
            |part: &str| sample.cpu_ms_each(|role| role.starts_with(part)) * 1e3 / f64::from(STEPS);
        let (app, broker) = (per_step_us("app"), per_step_us("broker"));
        sample.values.insert("app_cpu_us_per_step".into(), app);
        sample.values.insert("broker_cpu_us_per_step".into(), broker);
        sample.values.insert("cpu_us_per_step".into(), app + broker);
        if processes == 1 && copies == 1 {
            let point = |value: f64| (f64::from(lanes), value);
            let rate = sample.values["steps_per_second"];
            let line = format!("{in_flight} in flight");
            curves.entry(format!("lanes rate: {line}")).or_default().push(point(rate));
            curves.entry(format!("lanes cpu: {line}")).or_default().push(point(app + broker));
        }
        results.add(sample);
    }
    Ok(())
}

/// What the report calls it.
pub(crate) fn side(lanes: i32, processes: usize, copies: i32, in_flight: usize) -> String {
    let plural = |n: i32, what: &str| if n == 1 { format!("{n} {what}") } else { format!("{n} {what}s") };
    let copies = if copies == 1 { String::new() } else { format!(", {copies} brokers and copies") };
    let processes = if processes == 1 { "1 process".into() } else { format!("{processes} processes") };
    format!("{}, {processes}{copies}, {in_flight} in flight", plural(lanes, "lane"))
}
