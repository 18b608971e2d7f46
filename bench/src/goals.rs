//! What was aimed at, what was measured, and whether that is enough.

use crate::bench::Outcome;
use crate::figures::{Round, Spread, quantile, spread};
use crate::plan::{RESTATE, SAKIA};
use std::fmt::Write as _;

/// A goal.
struct Goal {
    workload: &'static str,
    what: &'static str,
    measured: fn(&Outcome) -> Option<Spread>,
    /// The largest value that is good; with `at_least`, the smallest.
    limit: f64,
    at_least: bool,
    unit: &'static str,
}

const fn at_most(
    workload: &'static str,
    what: &'static str,
    limit: f64,
    unit: &'static str,
    measured: fn(&Outcome) -> Option<Spread>,
) -> Goal {
    Goal { workload, what, measured, limit, at_least: false, unit }
}

const fn at_least(
    workload: &'static str,
    what: &'static str,
    limit: f64,
    unit: &'static str,
    measured: fn(&Outcome) -> Option<Spread>,
) -> Goal {
    Goal { workload, what, measured, limit, at_least: true, unit }
}

fn beside_restate(outcome: &Outcome, workload: &str, value: &str) -> Option<Spread> {
    outcome.results.ratio(workload, [SAKIA, RESTATE], value)
}

fn beside_kafka(outcome: &Outcome, value: impl Fn(&Round) -> f64) -> Option<Spread> {
    let floor = outcome.floor.as_ref()?;
    (!floor.rounds.is_empty()).then(|| spread(floor.rounds.iter().map(value)))
}

const GOALS: &[Goal] = &[
    at_least("E64", "per second, against Restate", 3.0, "×", |o| beside_restate(o, "E64", "per_second")),
    at_most("E1", "p50, against produce + bare transaction + fetch beside it", 1.3, "×", |o| {
        beside_kafka(o, |r| {
            quantile(&r.empty, 0.5) / (quantile(&r.produce, 0.5) + quantile(&r.bare.seen, 0.5))
        })
    }),
    at_most("C1", "p50, against Restate", 0.6, "×", |o| beside_restate(o, "C1", "p50_ms")),
    at_least("C64", "per second, against Restate", 5.0, "×", |o| beside_restate(o, "C64", "per_second")),
    at_least("C512", "per second, against Restate", 20.0, "×", |o| beside_restate(o, "C512", "per_second")),
    at_most("step", "p50 of a durable step, against a plain produce", 1.3, "×", |o| {
        beside_kafka(o, |r| r.step() / quantile(&r.produce, 0.5))
    }),
    at_least("F1", "per second, against Restate", 3.0, "×", |o| beside_restate(o, "F1", "per_second")),
    at_least("F16", "per second, against Restate", 3.0, "×", |o| beside_restate(o, "F16", "per_second")),
    at_least("S64", "per second, against Restate", 3.0, "×", |o| beside_restate(o, "S64", "per_second")),
];

/// The table of goals.
pub(crate) fn markdown(outcome: &Outcome) -> String {
    let mut text = String::from(
        "\n### Goals\n\n| workload | | goal | median | min | max | |\n|---|---|---|---|---|---|---|\n",
    );
    for goal in GOALS {
        let Some(s) = (goal.measured)(outcome) else { continue };
        let met = if goal.at_least { s.median >= goal.limit } else { s.median <= goal.limit };
        let verdict = match (met, outcome.results.doubtful(goal.workload) && goal.workload != "step") {
            (_, true) => "no comparable round",
            (true, _) => "met",
            (false, _) => "**not met**",
        };
        let sign = if goal.at_least { "≥" } else { "≤" };
        let Goal { workload, what, limit, unit, .. } = goal;
        // Writing to a String does not fail.
        let _ = writeln!(
            text,
            "| {workload} | {what} | {sign} {limit} {unit} | **{}** | {} | {} | {verdict} |",
            number(s.median),
            number(s.min),
            number(s.max)
        );
    }
    text
}

/// With as many digits as say something.
pub(crate) fn number(value: f64) -> String {
    match value.abs() {
        v if v.is_nan() => "–".into(),
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}
