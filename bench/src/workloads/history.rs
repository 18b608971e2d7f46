//! L: one instance of many steps. A step must not cost more because many came before it.

use super::{Curves, Ground};
use crate::figures::{median, ms};
use crate::peer::Values;
use crate::plan::SAKIA;
use crate::results::Results;
use crate::sides::measured;
use crate::subject::{Make, Subject};
use anyhow::Result;
use std::time::Duration;

const STEPS: u32 = 10_000;
/// Instances of a round, one after the other: the machine has moods of a second.
const EACH: u32 = 5;
/// Instances that are compared with them have a so many times shorter history, and are so many times more.
const TIMES_SHORTER: u32 = 10;
const SHORT: &str = "short histories";
/// Steps around a step of each, whose middle is taken: a single one says nothing.
const AROUND: usize = 200;
/// Steps per point of the drawing.
const POINT: usize = 250;

pub(super) fn run(ground: &Ground<'_>, results: &mut Results, curves: &mut Curves) -> Result<()> {
    let subject = Subject::start(&ground.places, &ground.broker, Make::of("history"))?;
    let mut client = subject.client()?;
    super::warm_up(&mut client)?;
    for round in 0..ground.options.rounds {
        let short = measured("L", SHORT, round, &subject.watched(), || {
            for _ in 0..EACH * TIMES_SHORTER {
                client.steps_of_one(STEPS / TIMES_SHORTER)?;
            }
            Ok(Values::from([("completed".into(), f64::from(EACH * STEPS))]))
        })?;
        let mut all = Vec::new();
        let mut long = measured("L", SAKIA, round, &subject.watched(), || {
            for _ in 0..EACH {
                all.push(client.steps_of_one(STEPS)?);
            }
            let middle = |part: fn(&[Duration]) -> &[Duration]| {
                median(all.iter().flat_map(|took| part(took)).copied().map(ms))
            };
            let early = middle(|took| &took[10..10 + AROUND]);
            let late = middle(|took| &took[took.len() - AROUND..]);
            Ok(Values::from([
                ("completed".into(), f64::from(EACH * STEPS)),
                ("total_s".into(), all.iter().flatten().sum::<Duration>().as_secs_f64() / f64::from(EACH)),
                ("early_step_ms".into(), early),
                ("late_step_ms".into(), late),
                ("late_to_early".into(), late / early),
            ]))
        })?;
        let [short_us, long_us] = [&short, &long].map(|s| s.cpu_ms_each(|role| role != "load") * 1e3);
        long.values.insert("short_cpu_us".into(), short_us);
        long.values.insert("long_cpu_us".into(), long_us);
        long.values.insert("long_to_short_cpu".into(), long_us / short_us);
        results.add(long);
        let points = (0..all[0].len()).step_by(POINT).map(|from| {
            let part = all.iter().flat_map(|took| &took[from..(from + POINT).min(took.len())]);
            ((from + POINT) as f64, median(part.copied().map(ms)))
        });
        curves.insert(format!("history: round {}", round + 1), points.collect());
    }
    Ok(())
}
