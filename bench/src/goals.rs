//! What was aimed at, what was measured, and whether that is enough.

use crate::bench::Outcome;
use crate::figures::{Round, Spread, quantile, spread};
use crate::plan::{CLOSED, RESTATE, SAKIA};
use crate::workloads::{lanes, pipeline_killed, recovery, restore};
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
    at_most("step", "p50 of a durable step, from body to body, against a plain produce", 1.3, "×", |o| {
        beside_kafka(o, |r| r.step_to_produce(0.5))
    }),
    at_most("step", "its p99, against p99 of a plain produce", 3.0, "×", |o| {
        beside_kafka(o, |r| r.step_to_produce(0.99))
    }),
    at_most("step", "(ten steps − an empty workflow) / 10, against a plain produce", 1.3, "×", |o| {
        beside_kafka(o, |r| r.step() / quantile(&r.produce, 0.5))
    }),
    at_least("F1", "per second, against Restate", 3.0, "×", |o| beside_restate(o, "F1", "per_second")),
    at_least("F16", "per second, against Restate", 3.0, "×", |o| beside_restate(o, "F16", "per_second")),
    at_least("S64", "per second, against Restate", 3.0, "×", |o| beside_restate(o, "S64", "per_second")),
    at_most("step", "p99 of ten steps / 10, against p99 of a plain produce", 3.0, "×", |o| {
        beside_kafka(o, |r| quantile(&r.chain, 0.99) / 10.0 / quantile(&r.produce, 0.99))
    }),
    at_most("T", "lateness of 10,000 timers, p99", 20.0, "ms", |o| of_sakia(o, "T", "p99_ms")),
    at_most("T", "of them lost or early", 0.0, "", |o| sum_of_sakia(o, "T", ["lost", "early"])),
    at_least("T1M", "a million timers, fired", 20_000.0, "/s", |o| of_sakia(o, "T1M", "fired_per_second")),
    at_most("T1M", "of them lost or early", 0.0, "", |o| sum_of_sakia(o, "T1M", ["lost", "early"])),
    at_most("K", "lost or repeated through a kill", 0.0, "", |o| {
        worst_sum(o, "K", &format!("{SAKIA}, kill -9 and start at half time"), ["lost", "repeated"])
    }),
    at_most("K", "lost or repeated through 24 kills", 0.0, "", |o| {
        sum_of_sakia(o, pipeline_killed::WORKLOAD, ["lost", "repeated"])
    }),
    at_most("R", "take-over after kill -9, slowest lane (session timeout 6 s + 1 s)", 7_000.0, "ms", |o| {
        o.results.value("R", recovery::KILLED, "longest_pause_ms")
    }),
    at_most("R", "restart of a static member, slowest lane", 2_000.0, "ms", |o| {
        o.results.value("R", recovery::RESTARTED, "longest_pause_ms")
    }),
    at_most("R", "clean roll of three processes, slowest lane", 1_000.0, "ms", |o| {
        o.results.value("R", recovery::ROLLED, "longest_pause_ms")
    }),
    at_most("R", "clean roll of three static members, slowest lane", 1_000.0, "ms", |o| {
        o.results.value("R", recovery::ROLLED_STATIC, "longest_pause_ms")
    }),
    at_most("R", "lost or repeated, all four", 0.0, "", |o| {
        let sides = [recovery::KILLED, recovery::RESTARTED, recovery::ROLLED, recovery::ROLLED_STATIC];
        let each: Option<Vec<Spread>> =
            sides.iter().map(|side| worst_sum(o, "R", side, ["lost", "repeated"])).collect();
        Some(spread([each?.iter().map(|s| s.max).sum()]))
    }),
    at_most("M", "memory of the app with a million suspended instances", 300.0, "MB", |o| {
        of_sakia(o, "M", "rss_mb")
    }),
    at_most("M", "start to first command, after a clean end", 5.0, "s", |o| {
        of_sakia(o, "M", "clean_start_s")
    }),
    at_most("M", "wake, p50", 5.0, "ms", |o| of_sakia(o, "M", "wake_p50_ms")),
    at_most(
        "D",
        "restore of ten million rows to the first command, against only reading them",
        1.5,
        "×",
        |o| o.results.ratio("D", [SAKIA, restore::BARE], "seconds"),
    ),
    at_most("L", "step 10,000 against step 10", 1.2, "×", |o| of_sakia(o, "L", "late_to_early")),
    at_most("L", "CPU per step, 10,000 steps against 1,000", 1.05, "×", |o| {
        of_sakia(o, "L", "long_to_short_cpu")
    }),
    at_most("X", "CPU per step, 8 lanes against 1 (512 in flight)", 1.2, "×", |o| {
        eight_lanes_to_one(o, 512)
    }),
    at_most("X", "the same with 64 in flight per lane", 1.2, "×", |o| eight_lanes_to_one(o, 64)),
    at_least("Z", "throughput at the end, against the start", 0.95, "×", |o| {
        quotient(o, "Z", ["last_per_second", "first_per_second"])
    }),
    at_most("Z", "memory at the end, against the start", 1.05, "×", |o| {
        quotient(o, "Z", ["last_rss_mb", "first_rss_mb"])
    }),
    at_most("Z", "the same by the least of each ten seconds", 1.05, "×", |o| {
        quotient(o, "Z", ["last_least_mb", "first_least_mb"])
    }),
];

fn of_sakia(outcome: &Outcome, workload: &str, value: &str) -> Option<Spread> {
    outcome.results.value(workload, SAKIA, value)
}

/// CPU per step of eight lanes with 512 in flight, against one lane with so many.
fn eight_lanes_to_one(outcome: &Outcome, in_flight_of_one: usize) -> Option<Spread> {
    let at = |lanes, load| outcome.results.value("X", &lanes::side(lanes, 1, 1, load), "cpu_us_per_step");
    let (eight, one) = (at(8, 512)?, at(1, in_flight_of_one)?);
    Some(spread([eight.median / one.median]))
}

fn worst_sum(outcome: &Outcome, workload: &str, side: &str, values: [&str; 2]) -> Option<Spread> {
    let [a, b] = values.map(|value| outcome.results.worst(workload, side, value));
    Some(spread([a? + b?]))
}

fn sum_of_sakia(outcome: &Outcome, workload: &str, values: [&str; 2]) -> Option<Spread> {
    worst_sum(outcome, workload, SAKIA, values)
}

fn quotient(outcome: &Outcome, workload: &str, values: [&str; 2]) -> Option<Spread> {
    Some(spread([
        of_sakia(outcome, workload, values[0])?.median / of_sakia(outcome, workload, values[1])?.median
    ]))
}

/// Of a workload that is compared with a peer's.
const FEWEST_ROUNDS: usize = 3;

/// The table of goals.
pub(crate) fn markdown(outcome: &Outcome) -> String {
    let mut text = String::from(
        "\n### Goals\n\n| workload | | goal | median | min | max | |\n|---|---|---|---|---|---|---|\n",
    );
    for goal in GOALS {
        let Some(s) = (goal.measured)(outcome) else {
            if !outcome.results.sides(goal.workload).is_empty() {
                // Writing to a String does not fail.
                let _ = writeln!(text, "| {} | {} | | | | | **not measured** |", goal.workload, goal.what);
            }
            continue;
        };
        let met = if goal.at_least { s.median >= goal.limit } else { s.median <= goal.limit };
        let compared = CLOSED.iter().any(|cell| cell.name == goal.workload) && goal.workload != "E1";
        let verdict = match met {
            _ if compared && outcome.results.doubtful(goal.workload) => "no comparable round",
            true if compared && outcome.results.rounds(goal.workload).0.len() < FEWEST_ROUNDS => {
                "met, in too few rounds"
            }
            true => "met",
            false => "**not met**",
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
        v if v == v.trunc() => format!("{value:.0}"),
        _ => format!("{value:.2}"),
    }
}
