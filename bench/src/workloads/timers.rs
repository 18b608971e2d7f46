//! T: many timers that come due at a steady rate. How late does the code behind them go on?

use super::{Curves, Ground};
use crate::client::{Client, Work};
use crate::figures::quantile;
use crate::kafka::PATIENCE;
use crate::peer::Values;
use crate::plan::{RESTATE, SAKIA};
use crate::results::Results;
use crate::sides::measured;
use crate::subject::{Make, Subject};
use anyhow::Result;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Starts that may be unacknowledged.
const UNACKNOWLEDGED: usize = 20_000;

struct Plan {
    workload: &'static str,
    count: u64,
    /// From the first start to the first due time.
    before_first: Duration,
    /// From the first due time to the last.
    window: Duration,
}

/// Ten thousand, all due within a minute of the first start, here and on Restate.
pub(super) fn ten_thousand(ground: &Ground<'_>, results: &mut Results, _curves: &mut Curves) -> Result<()> {
    let plan = Plan {
        workload: "T",
        count: 10_000,
        before_first: Duration::from_secs(10),
        window: Duration::from_secs(50),
    };
    on_sakia(ground, results, &plan)?;
    if let Some(restate) = &ground.restate {
        let peer = restate.start()?;
        peer.load("empty", 64, 0.0, 5.0)?;
        results.add(measured(plan.workload, RESTATE, 0, &peer.watched(), || {
            peer.load("timers", plan.count, 0.0, plan.window.as_secs_f64())
        })?);
    }
    Ok(())
}

/// A million, which come due faster than the goal's 20,000 per second.
pub(super) fn a_million(ground: &Ground<'_>, results: &mut Results, _curves: &mut Curves) -> Result<()> {
    let plan = Plan {
        workload: "T1M",
        count: 1_000_000,
        before_first: Duration::from_secs(180),
        window: Duration::from_secs(40),
    };
    on_sakia(ground, results, &plan)
}

fn on_sakia(ground: &Ground<'_>, results: &mut Results, plan: &Plan) -> Result<()> {
    let make = Make::of(&format!("timers-{}", plan.count));
    let subject = Subject::start(&ground.places, &ground.broker, make)?;
    let mut client = subject.client()?;
    super::warm_up(&mut client)?;
    results.add(measured(plan.workload, SAKIA, 0, &subject.watched(), || all_fire(&mut client, plan))?);
    Ok(())
}

fn all_fire(client: &mut Client, plan: &Plan) -> Result<Values> {
    let since_1970 = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let first = since_1970() + plan.before_first;
    let mut numbers = Vec::new();
    for n in 0..plan.count {
        let due = first + plan.window.mul_f64(n as f64 / plan.count as f64);
        numbers.push(client.start(Work::Timer(due.as_millis() as u64))?);
        if n % 1000 == 0 {
            client.check()?;
            client.room(UNACKNOWLEDGED)?;
        }
    }
    client.acknowledged()?;
    // Behind the timers: when it is done, they are armed.
    let armed = client.start(Work::Empty)?;
    let (mut lateness, mut early, mut all_armed) = (Vec::new(), 0_u32, f64::NAN);
    let (begin, mut last) = (numbers[0], Duration::ZERO);
    while (lateness.len() as u64) < plan.count {
        let limit = plan.window + PATIENCE + first.saturating_sub(since_1970());
        let Some((number, value)) = client.next_result(limit)? else { break };
        if number == armed {
            all_armed = first.as_secs_f64() - since_1970().as_secs_f64();
            continue;
        }
        let late_us: i64 = std::str::from_utf8(&value)?.parse()?;
        early += u32::from(late_us < 0);
        let late = Duration::from_micros(late_us.max(0).unsigned_abs());
        lateness.push(late);
        let due = plan.window.mul_f64((number - begin) as f64 / plan.count as f64);
        last = last.max(due + late);
    }
    Ok(Values::from([
        ("completed".into(), lateness.len() as f64),
        ("lost".into(), plan.count as f64 - lateness.len() as f64),
        ("early".into(), f64::from(early)),
        ("armed_before_first_due_s".into(), all_armed),
        ("fired_per_second".into(), lateness.len() as f64 / last.as_secs_f64()),
        ("p50_ms".into(), quantile(&lateness, 0.5)),
        ("p99_ms".into(), quantile(&lateness, 0.99)),
        ("max_ms".into(), quantile(&lateness, 1.0)),
    ]))
}
