//! What came of a run: exit code, figures for people, and the same as Markdown for docs/reliability.md.

use super::ledger::{EVERY_WRONG, Wrong};
use super::lock::lock;
use super::recompute::Compared;
use super::scenarios::Scenario;
use super::stage::Stage;
use crate::process::home;
use hdrhistogram::Histogram;
use std::fmt::Write as _;
use std::process::{Command, ExitCode};
use std::sync::atomic::Ordering;
use std::time::Duration;

/// A run of all scenarios that takes so long must have at least this to say anything. Alarms are no workflows here: one scenario
/// alone starts a million of them.
const WHOLE_MINUTES: f64 = 30.0;
const WHOLE_LEAST: [(u64, &str); 3] = [(250, "faults"), (12, "kinds of faults"), (50_000, "workflows")];
/// And these ways back must have been taken; the first one in any run.
const WHOLE_PATHS: &[&str] = &[
    "take-over",
    "lane lost and taken over again",
    "owner fenced",
    "store thrown away and restored",
    "lane's journal trimmed",
    "lane's commands trimmed",
];

/// How a run ended.
pub(super) struct Ended {
    pub(super) length: Duration,
    /// Records that were read twice.
    pub(super) audited: u64,
    pub(super) compared: Compared,
    /// Why it proves nothing.
    pub(super) skipped: Vec<String>,
    pub(super) cut_short: Option<anyhow::Error>,
}

/// What came of a run.
pub struct Verdict {
    wrong: bool,
    inconclusive: Vec<String>,
    figures: Vec<(String, String)>,
}

impl Verdict {
    /// Counts everything together.
    pub(super) fn of(stage: &Stage, seed: u64, chosen: &[&Scenario], ended: Ended) -> Self {
        let Ended { length, audited, compared, skipped, cut_short } = ended;
        let ledger = lock(&stage.ledger);
        let (counts, paths) = (stage.faults.counts(), stage.faults.paths());
        let wrong = !ledger.is_clean();
        let mut inconclusive = skipped;
        inconclusive.extend(cut_short.map(|error| format!("cut short: {error:#}")));
        inconclusive.extend(what_is_missing(stage, chosen, ledger.workflows()));
        let mut figures = Vec::new();
        let mut add = |what: &str, value: String| figures.push((what.to_string(), value));
        add("broker", stage.brokers.version());
        add(
            "seed, commit, length",
            format!("{seed}, {}, {:.1} min", stage.commit, length.as_secs_f64() / 60.0),
        );
        add("workflows ended", ledger.workflows().to_string());
        add("alarms fired", ledger.alarms_fired().to_string());
        add("steps called; again under the same key", format!("{}; {}", ledger.calls, ledger.repeated_calls));
        add("records read during the run and again after", audited.to_string());
        add(
            "commands given to the model; sent from lane to lane",
            format!("{}; {}", compared.commands, compared.between_lanes),
        );
        add(
            "instances recomputed; rows of restored stores compared",
            format!("{}; {}", compared.instances, compared.rows),
        );
        add("signals that the load's own producer wrote twice", ledger.doubled_inputs.to_string());
        let traffic = &stage.traffic;
        let (commits, aborts) =
            (traffic.commits.load(Ordering::Relaxed), traffic.aborts.load(Ordering::Relaxed));
        if !stage.links.iter().all(Vec::is_empty) {
            add("transactions asked to commit; to abort", format!("{commits}; {aborts}"));
        }
        let faults: u64 = counts.values().sum();
        add("faults; kinds", format!("{faults}; {}", counts.len()));
        for (kind, count) in &counts {
            add(&format!("– {kind}"), count.to_string());
        }
        for (path, count) in &paths {
            add(&format!("seen: {path}"), count.to_string());
        }
        for (kind, times) in stage.faults.recoveries_ms() {
            add(&format!("recovery, {kind}"), spread(&times));
        }
        if !ledger.lateness_ms.is_empty() {
            add("alarms late, outages included", spread(&ledger.lateness_ms));
        }
        for (what, value) in stage.faults.all_measured() {
            add(what, value);
        }
        for (what, value) in stage.growth.thirds() {
            add(&what, value);
        }
        let wrongs: Vec<String> =
            EVERY_WRONG.iter().map(|w| format!("{} = {}", name(*w), ledger.count(*w))).collect();
        add("**wrong**", format!("**{}**", wrongs.join(", ")));
        Verdict { wrong, inconclusive, figures }
    }

    /// 0 clean, 1 wrong, 2 inconclusive.
    pub fn exit_code(&self) -> ExitCode {
        match (self.wrong, self.inconclusive.is_empty()) {
            (true, _) => ExitCode::from(1),
            (false, false) => ExitCode::from(2),
            (false, true) => ExitCode::SUCCESS,
        }
    }

    fn word(&self) -> String {
        match (self.wrong, self.inconclusive.is_empty()) {
            (true, _) => "WRONG".into(),
            (false, false) => format!("inconclusive: {}", self.inconclusive.join("; ")),
            (false, true) => "clean".into(),
        }
    }

    /// The figures, one a line.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for (what, value) in &self.figures {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "  {:<60} {}", what.replace('*', ""), value.replace('*', ""));
        }
        format!("{text}campaign: {}", self.word())
    }

    /// The figures as a table.
    pub fn markdown(&self) -> String {
        let rows: String =
            self.figures.iter().map(|(what, value)| format!("| {what} | {value} |\n")).collect();
        format!("| what | result |\n|---|---|\n{rows}| verdict | {} |\n", self.word())
    }
}

/// Why a run proves nothing, or too little: what did not happen, and what grew.
fn what_is_missing(stage: &Stage, chosen: &[&Scenario], workflows: u64) -> Vec<String> {
    let (counts, paths) = (stage.faults.counts(), stage.faults.paths());
    let kinds = chosen.iter().flat_map(|s| s.kinds).filter(|kind| !counts.contains_key(**kind));
    let mut missing: Vec<String> = kinds.map(|kind| format!("it never happened: {kind}")).collect();
    missing.extend(stage.growth.outgrown());
    let whole = stage.options.scenario.is_empty() && stage.options.minutes >= WHOLE_MINUTES;
    let wanted = if whole { WHOLE_PATHS } else { &WHOLE_PATHS[..1] };
    let unseen = wanted.iter().filter(|path| !paths.contains_key(**path));
    missing.extend(unseen.map(|path| format!("it was never seen: {path}")));
    if whole {
        let had = [counts.values().sum(), counts.len() as u64, workflows];
        let few = WHOLE_LEAST.iter().zip(had).filter(|((least, _), had)| had < least);
        missing.extend(few.map(|((least, what), had)| format!("{had} {what}, fewer than {least}")));
        if !stage.growth.is_judged() {
            missing.push("too short after the first deck to see whether anything grows".into());
        }
    }
    missing
}

fn name(wrong: Wrong) -> &'static str {
    match wrong {
        Wrong::Lost => "lost",
        Wrong::Duplicate => "duplicate",
        Wrong::Changed => "changed",
        Wrong::Effect => "effects changed",
        Wrong::Early => "timers early",
        Wrong::Torn => "torn",
        Wrong::Stuck => "stuck",
    }
}

fn spread(times: &Histogram<u64>) -> String {
    let at = |q| Duration::from_millis(times.value_at_quantile(q)).as_secs_f64();
    let max = Duration::from_millis(times.max()).as_secs_f64();
    format!("p50 {:.2} s, p99 {:.2} s, max {max:.2} s ({} times)", at(0.5), at(0.99), times.len())
}

/// The commit of the working copy: asked when a run begins, for it may go on while the run does.
pub(super) fn commit() -> String {
    let output = Command::new("git").args(["describe", "--always", "--dirty"]).current_dir(home()).output();
    let said = output
        .ok()
        .filter(|o| o.status.success())
        .map(|o| String::from_utf8_lossy(&o.stdout).trim().to_string());
    said.unwrap_or_else(|| "unknown".into())
}
