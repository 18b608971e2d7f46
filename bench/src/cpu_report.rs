//! Where the CPU time of a closed loop goes: by process and thread.

use crate::plan::{CLOSED, Closed, SAKIA};
use crate::results::{Results, Sample};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Workloads that are shown: one and many in flight, of an empty workflow and of steps.
const SHOWN: &[&str] = &["E64", "C64", "C512"];
/// Threads that take less than this share of all are put together.
const SMALL: f64 = 0.01;

/// What threads do, by their names as Linux keeps them.
const KNOWN: &[(&str, &str)] = &[
    ("lane", "the lanes: replay of inputs, workflows, appends, checkpoints"),
    ("tokio-rt-worker", "bodies of steps"),
    ("command-feed", "hands commands to the lanes"),
    ("producer-events", "acknowledgements, from librdkafka to the lanes"),
    ("rdk:broker", "librdkafka: one thread per client and broker, protocol and sockets"),
    ("rdk:main", "librdkafka: one thread per client, transactions and timers"),
    ("data-plane-kafk", "Kafka: network and request threads"),
    ("rocksdb:low", "RocksDB: compaction"),
    ("rocksdb:high", "RocksDB: flush of memtables"),
    ("TxnMarkerSender", "Kafka: sends commit markers"),
];

/// A line: a process, its kind of thread, and CPU seconds in user mode and in the kernel.
type Line = (String, String, [f64; 2]);

/// A table per workload that was measured.
pub(crate) fn markdown(results: &Results) -> String {
    let mut text = String::new();
    for cell in CLOSED.iter().filter(|cell| SHOWN.contains(&cell.name)) {
        let samples: Vec<&Sample> = results.of(cell.name, SAKIA).collect();
        let completed: f64 = samples.iter().filter_map(|s| s.values.get("completed")).sum();
        if !samples.is_empty() {
            write(&mut text, cell, &lines(&samples), completed);
        }
    }
    text
}

/// Of all samples together, the largest first.
fn lines(samples: &[&Sample]) -> Vec<Line> {
    let mut sums: BTreeMap<(&str, &str), [f64; 2]> = BTreeMap::new();
    for process in samples.iter().flat_map(|sample| &sample.used.processes) {
        let all: f64 = process.threads.values().flatten().sum();
        let mut add = |name, [user, kernel]: [f64; 2]| {
            let sum = sums.entry((process.role.as_str(), name)).or_default();
            *sum = [sum[0] + user, sum[1] + kernel];
        };
        process.threads.iter().for_each(|(name, used)| add(name, *used));
        // What is not told by thread is that of threads which came or went meanwhile, and of the load.
        add("", [(process.cpu_s - all).max(0.0), 0.0]);
    }
    let mut lines: Vec<Line> =
        sums.into_iter().map(|((role, name), used)| (role.to_owned(), name.to_owned(), used)).collect();
    let whole = whole(&lines);
    let (mut large, small): (Vec<Line>, Vec<Line>) =
        lines.drain(..).partition(|(_, _, used)| used.iter().sum::<f64>() >= SMALL * whole);
    large.sort_by(|a, b| b.2.iter().sum::<f64>().total_cmp(&a.2.iter().sum()));
    let rest = |mode: usize| small.iter().map(|(_, _, used)| used[mode]).sum();
    large.push(("all others".into(), String::new(), [rest(0), rest(1)]));
    large
}

fn whole(lines: &[Line]) -> f64 {
    lines.iter().flat_map(|(_, _, used)| used).sum()
}

fn write(text: &mut String, cell: &Closed, lines: &[Line], completed: f64) {
    let whole = whole(lines);
    // Writing to a String does not fail.
    let _ = write!(
        text,
        "\n### Where the CPU time goes: {}, {}\n\n\
         | process | threads | | µs each: user | kernel | share |\n|---|---|---|---|---|---|\n",
        cell.name, cell.about
    );
    for (role, name, [user, kernel]) in lines {
        let about = KNOWN.iter().find(|(known, _)| known == name).map_or("", |(_, about)| about);
        let name = if name.is_empty() { String::new() } else { format!("`{name}`") };
        let each = |seconds: &f64| seconds * 1e6 / completed;
        let _ = writeln!(
            text,
            "| {role} | {name} | {about} | {:.1} | {:.1} | {:.0} % |",
            each(user),
            each(kernel),
            (user + kernel) / whole * 100.0
        );
    }
}
