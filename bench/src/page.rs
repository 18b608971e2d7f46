//! The measured part of docs/performance.md.

use crate::bench::Outcome;
use crate::cpu_report;
use crate::drawings::Drawing;
use crate::figures::{median, spread};
use crate::floor_report::FloorReport;
use crate::goals::{self, number};
use crate::plan::CLOSED;
use crate::results::Results;
use crate::workloads::pipeline_killed;
use std::fmt::Write as _;

/// All of it.
pub(crate) fn markdown(outcome: &Outcome, drawings: &[Drawing]) -> String {
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
    for section in SECTIONS {
        section.write(&mut text, results);
    }
    if !drawings.is_empty() {
        text.push_str("\n### Drawings\n");
    }
    for drawing in drawings {
        let _ = write!(text, "\n![{}](performance/{})\n", drawing.title, drawing.file);
    }
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
    text.push_str(&cpu_report::markdown(results));
    text
}

/// A table of what is not a closed loop.
struct Section {
    workload: &'static str,
    title: &'static str,
    about: &'static str,
    /// Names of values, and what heads their columns.
    columns: &'static [(&'static str, &'static str)],
}

const SECTIONS: &[Section] = &[
    Section {
        workload: "K",
        title: "from topic to topic",
        about: "In from a user's topic, three steps, out to another, read committed, 1,000 records per second. A record's time is when it was due to be sent, so a pause is not hidden. Kafka Streams makes each step a record through a topic.",
        columns: &[
            ("p50_ms", "p50 ms"),
            ("p99_ms", "p99 ms"),
            ("max_ms", "max ms"),
            ("completed", "records"),
            ("lost", "lost"),
            ("repeated", "repeated"),
        ],
    },
    Section {
        workload: pipeline_killed::WORKLOAD,
        title: "from topic to topic, the process that runs the steps killed 24 times",
        about: pipeline_killed::ABOUT,
        columns: &[
            ("per_second", "sent/s"),
            ("kills", "kills"),
            ("in", "in"),
            ("completed", "out"),
            ("repeated", "duplicates"),
            ("lost", "lost"),
        ],
    },
    Section {
        workload: "T",
        title: "10,000 timers due within a minute",
        about: "Lateness: from the due time until the code behind the sleep goes on.",
        columns: &[
            ("p50_ms", "p50 ms"),
            ("p99_ms", "p99 ms"),
            ("max_ms", "max ms"),
            ("completed", "fired"),
            ("lost", "lost"),
            ("early", "early"),
        ],
    },
    Section {
        workload: "T1M",
        title: "1,000,000 timers due within 40 seconds",
        about: "25,000 come due per second. Armed: how long before the first due time the last one was in place; below zero, the rest came due while others were still being started.",
        columns: &[
            ("fired_per_second", "fired/s"),
            ("p50_ms", "p50 ms"),
            ("p99_ms", "p99 ms"),
            ("max_ms", "max ms"),
            ("lost", "lost"),
            ("early", "early"),
            ("armed_before_first_due_s", "armed s"),
        ],
    },
    Section {
        workload: "R",
        title: "faults under load",
        about: "Six lanes with 64 workflows of ten steps in flight, the same number on each lane. A lane's pause is the longest time in which it completed nothing, a client's the longest in which it was told of nothing: it reads only what is committed, and an open transaction of a dead process holds back what others commit behind it until it is fenced.",
        columns: &[
            ("longest_pause_ms", "slowest lane ms"),
            ("shortest_pause_ms", "fastest lane ms"),
            ("client_pause_ms", "client ms"),
            ("completed", "completed"),
            ("lost", "lost"),
            ("repeated", "repeated"),
            ("aborted_replies", "aborted replies"),
        ],
    },
    Section {
        workload: "L",
        title: "one instance of 10,000 steps",
        about: "The middle of 200 steps from step 10 on and of the last 200, of five instances in each round; and the CPU time per step of app and broker over these five, beside that of fifty instances of a tenth of the steps.",
        columns: &[
            ("early_step_ms", "early step ms"),
            ("late_step_ms", "late step ms"),
            ("late_to_early", "late / early"),
            ("short_cpu_us", "CPU µs/step, short"),
            ("long_cpu_us", "CPU µs/step, long"),
            ("long_to_short_cpu", "long / short"),
            ("total_s", "all s"),
        ],
    },
    Section {
        workload: "X",
        title: "lanes, processes and copies",
        about: "Ten-step workflows. CPU is that of all app processes and all brokers. A bare lane has no store, no workflows and no commands: it only writes the like of what the others write, by the same clients. What more of them cost, Kafka costs.",
        columns: &[
            ("steps_per_second", "steps/s"),
            ("p50_ms", "p50 ms"),
            ("p99_ms", "p99 ms"),
            ("app_cpu_us_per_step", "app CPU µs/step"),
            ("broker_cpu_us_per_step", "broker CPU µs/step"),
            ("cpu_us_per_step", "CPU µs/step"),
        ],
    },
    Section {
        workload: "M",
        title: "1,000,000 suspended instances",
        about: "Each waits for a signal. Memory and disk are those of the app; its caches have their default sizes.",
        columns: &[
            ("rss_mb", "RSS MB"),
            ("pss_mb", "PSS MB"),
            ("empty_rss_mb", "before MB"),
            ("restarted_rss_mb", "after a restart MB"),
            ("disk_mb", "disk MB"),
            ("filled_s", "all started s"),
            ("wake_p50_ms", "wake p50 ms"),
            ("wake_p99_ms", "wake p99 ms"),
            ("clean_start_s", "start after a clean end s"),
            ("killed_start_s", "after a kill s"),
            ("wake_after_restart_p50_ms", "wake p50 then ms"),
        ],
    },
    Section {
        workload: "D",
        title: "a lane of 10,000,000 rows whose disk is gone",
        about: "Ten million instances that wait for a signal, a row each, in checkpoints of 10,000 rows. Bare: a plain consumer reads the changelog, committed, and looks at nothing; its defaults, but `fetch.queue.backoff.ms` is 5. Sakia: from the start of the process with an empty state folder to the result of its first command. In turn.",
        columns: RESTORE,
    },
    Section {
        workload: "D8",
        title: "eight lanes with as many rows",
        about: "The same rows, an eighth on each lane: all are restored at once, within one budget of memory, until each has answered its first command. Bare: one consumer reads all partitions.",
        columns: RESTORE,
    },
    Section {
        workload: "Z",
        title: "a long time at 80 % of the maximum",
        about: "Ten-step workflows started at a steady rate, 80 % of the maximum, which is the best of 64 and 512 in flight. Due and started are what was to be started and what the load generator did start. First and last are the first and the last tenth; p99 is from the moment at which a start was due. RSS is the mean of the looks of ten seconds, least RSS the least of them.",
        columns: &[
            ("minutes", "minutes"),
            ("max_per_second", "maximum /s"),
            ("max_in_flight", "in flight at it"),
            ("due_per_second", "due /s"),
            ("started_per_second", "started /s"),
            ("first_per_second", "first /s"),
            ("last_per_second", "last /s"),
            ("first_p99_ms", "first p99 ms"),
            ("last_p99_ms", "last p99 ms"),
            ("first_rss_mb", "first RSS MB"),
            ("last_rss_mb", "last RSS MB"),
            ("first_least_mb", "first least RSS MB"),
            ("last_least_mb", "last least RSS MB"),
            ("state_mb", "state MB"),
        ],
    },
];

/// Of D and D8.
const RESTORE: &[(&str, &str)] = &[
    ("seconds", "s"),
    ("records_per_second", "records/s"),
    ("mb_per_second", "MB/s"),
    ("cpu_s", "CPU s"),
    ("rss_mb", "RSS MB"),
    ("peak_mb", "peak RSS MB"),
    ("disk_mb", "disk MB"),
];

impl Section {
    fn write(&self, text: &mut String, results: &Results) {
        // Each side here is a variant of its own, in the order in which they ran.
        let mut sides: Vec<&str> = Vec::new();
        for sample in results.samples.iter().filter(|s| s.workload == self.workload) {
            if !sides.contains(&sample.side.as_str()) {
                sides.push(&sample.side);
            }
        }
        if sides.is_empty() {
            return;
        }
        let heads: Vec<&str> = self.columns.iter().map(|(_, head)| *head).collect();
        let _ = write!(
            text,
            "\n### {}: {}\n\n{}\n\n| | {} |\n|---|{}\n",
            self.workload,
            self.title,
            self.about,
            heads.join(" | "),
            "---|".repeat(heads.len())
        );
        for side in sides {
            let cell = |name: &str| match results.value(self.workload, side, name) {
                Some(s) if (s.max - s.min).abs() < f64::EPSILON => number(s.median),
                Some(s) => format!("{} ({}–{})", number(s.median), number(s.min), number(s.max)),
                // Better a figure with its doubt than none.
                None => results.worst(self.workload, side, name).map_or("–".into(), number),
            };
            let doubt =
                if results.of(self.workload, side).next().is_none() { " (no comparable round)" } else { "" };
            let cells: Vec<String> = self.columns.iter().map(|(name, _)| cell(name)).collect();
            let _ = writeln!(text, "| {side}{doubt} | {} |", cells.join(" | "));
        }
    }
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
             | | per second: median | min | max | p50 ms | p99 ms | CPU ms each | of it | memory MB (RSS / PSS) |\n\
             |---|---|---|---|---|---|---|---|---|\n",
            cell.name,
            cell.about,
            kept.len()
        );
        for side in &sides {
            let at = |name: &str| results.value(cell.name, side, name).unwrap_or(spread([]));
            let rate = at("per_second");
            let cpu = |role: Option<&str>| {
                let wanted = |each: &str| role.is_none_or(|role| role == each);
                median(results.of(cell.name, side).map(|s| s.cpu_ms_each(wanted)))
            };
            let roles = results.of(cell.name, side).last().map_or(&[][..], |s| &s.used.processes);
            let each: Vec<String> =
                roles.iter().map(|p| format!("{} {}", p.role, number(cpu(Some(&p.role))))).collect();
            let _ = writeln!(
                text,
                "| {side} | **{}** | {} | {} | {} | {} | {} | {} | {} |",
                number(rate.median),
                number(rate.min),
                number(rate.max),
                number(at("p50_ms").median),
                number(at("p99_ms").median),
                number(cpu(None)),
                each.join(", "),
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
