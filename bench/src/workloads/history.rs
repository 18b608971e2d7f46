//! L: one instance of many steps. A step must not cost more because many came before it.

use super::{Curves, Ground};
use crate::client::Work;
use crate::figures::median;
use crate::peer::Values;
use crate::plan::SAKIA;
use crate::results::Results;
use crate::sides::measured;
use crate::subject::{Make, Subject};
use anyhow::{Context as _, Result, ensure};
use std::time::Duration;

const STEPS: u32 = 10_000;
/// Steps around a step whose middle is taken: a single one says nothing.
const AROUND: usize = 200;
const LIMIT: Duration = Duration::from_secs(120);
/// Steps per point of the drawing.
const POINT: usize = 250;

pub(super) fn run(ground: &Ground<'_>, results: &mut Results, curves: &mut Curves) -> Result<()> {
    let subject = Subject::start(&ground.places, &ground.broker, Make::of("history"))?;
    let mut client = subject.client()?;
    super::warm_up(&mut client)?;
    for round in 0..ground.options.rounds {
        let mut took = Vec::new();
        let sample = measured("L", SAKIA, round, &subject.watched(), || {
            let number = client.start(Work::History(STEPS))?;
            let (ended, value) = client.next_result(LIMIT)?.context("it does not end")?;
            ensure!(ended == number, "a reply to something else");
            took = serde_json::from_slice::<Vec<u32>>(&value)?
                .into_iter()
                .map(|us| f64::from(us) / 1e3)
                .collect();
            ensure!(took.len() + 1 == STEPS as usize, "{} steps ran", took.len() + 1);
            let (early, late) =
                (median(took[10..10 + AROUND].to_vec()), median(took[took.len() - AROUND..].to_vec()));
            Ok(Values::from([
                ("completed".into(), 1.0),
                ("total_s".into(), took.iter().sum::<f64>() / 1e3),
                ("early_step_ms".into(), early),
                ("late_step_ms".into(), late),
                ("late_to_early".into(), late / early),
            ]))
        })?;
        results.add(sample);
        let points = took.chunks(POINT).enumerate();
        let curve = points.map(|(n, part)| (((n + 1) * POINT) as f64, median(part.to_vec()))).collect();
        curves.insert(format!("history: instance {}", round + 1), curve);
    }
    Ok(())
}
