//! The measured part of docs/performance.md.

use crate::Options;
use crate::bench::Outcome;
use crate::figures::{median, spread};
use crate::floor_report::FloorReport;
use crate::goals::{self, number};
use crate::plan::CLOSED;
use crate::results::Results;
use anyhow::Result;
use std::fmt::Write as _;

/// All of it.
pub(crate) fn markdown(_options: &Options, outcome: &Outcome) -> Result<String> {
    let mut text = String::new();
    // Writing to a String does not fail.
    let _ = writeln!(text, "- librdkafka {}", rdkafka::util::get_rdkafka_version().1);
    for line in &outcome.about {
        let _ = writeln!(text, "- {line}");
    }
    let results = &outcome.results;
    let others = median(results.samples.iter().map(|s| s.used.others_share));
    let _ = writeln!(
        text,
        "- fixed loop {:.1} ms at the median; a round in which it was more than 10 % off for one side does not count for any; processes outside of a measurement took {:.0} % of the machine at the median",
        results.loop_ms(),
        others * 100.0
    );
    for failure in &results.failed {
        let _ = writeln!(text, "- **not measured**: {failure}");
    }
    text.push_str(&goals::markdown(outcome));
    beside_peers(&mut text, results);
    if let Some(floor) = &outcome.floor {
        let report = FloorReport {
            rounds: &floor.rounds,
            dropped: floor.dropped,
            shape: floor.bare.shape(),
            empty: &floor.empty,
            chain: &floor.chain,
        };
        text.push_str("\n### Beside bare Kafka\n\n");
        text.push_str(&report.markdown());
    }
    Ok(text)
}

/// A table per closed loop.
fn beside_peers(text: &mut String, results: &Results) {
    for cell in CLOSED {
        let sides = results.sides(cell.name);
        if sides.is_empty() {
            continue;
        }
        let (kept, dropped) = results.rounds(cell.name);
        let doubt = if results.doubtful(cell.name) { "; **no round was comparable**" } else { "" };
        let _ = write!(
            text,
            "\n### {}: {}\n\n{} rounds count, {dropped} dropped{doubt}.\n\n\
             | | per second: median | min | max | p50 ms | p99 ms | CPU ms each | of it load | memory MB (RSS / PSS) |\n\
             |---|---|---|---|---|---|---|---|---|\n",
            cell.name,
            cell.about,
            kept.len()
        );
        for side in &sides {
            let at = |name: &str| results.value(cell.name, side, name).unwrap_or(spread([]));
            let rate = at("per_second");
            let cpu = |all: bool| {
                median(results.of(cell.name, side).map(|s| s.cpu_ms_each(|role| all || role == "load")))
            };
            let _ = writeln!(
                text,
                "| {side} | **{}** | {} | {} | {} | {} | {} | {} | {} |",
                number(rate.median),
                number(rate.min),
                number(rate.max),
                number(at("p50_ms").median),
                number(at("p99_ms").median),
                number(cpu(true)),
                number(cpu(false)),
                memory(results, cell.name, side)
            );
        }
    }
}

/// What each process held at the end of the last measurement.
fn memory(results: &Results, workload: &str, side: &str) -> String {
    let Some(sample) = results.of(workload, side).last() else { return String::new() };
    let processes = sample.used.processes.iter().filter(|p| p.role != "load");
    let each = processes.map(|p| format!("{} {:.0} / {:.0}", p.role, p.rss_mb, p.pss_mb));
    each.collect::<Vec<_>>().join(", ")
}
