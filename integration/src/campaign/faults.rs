//! What was done to the system and when, and how long it took to go on.

use super::ledger::Wrong;
use super::lock::lock;
use anyhow::{Context, Result};
use hdrhistogram::Histogram;
use serde_json::json;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// Recoveries that are watched at once.
const WATCHED_MAX: usize = 32;
/// Findings that are printed; the log has them all.
const PRINTED_MAX: u64 = 40;
const DAY_MS: u64 = 24 * 3_600 * 1_000;

/// An empty record of lengths up to a day. What is longer counts as a day.
pub(super) fn times_ms() -> Result<Histogram<u64>> {
    Ok(Histogram::new_with_max(DAY_MS, 3)?)
}

/// The fault log `faults.jsonl`, and what is counted from it.
pub struct Faults {
    began: Instant,
    lanes: usize,
    state: Mutex<State>,
}

struct State {
    log: File,
    printed: u64,
    counts: BTreeMap<String, u64>,
    /// What was seen in the workers' logs or elsewhere: the ways back that were taken.
    paths: BTreeMap<String, u64>,
    /// What a scenario has measured.
    measured: BTreeMap<&'static str, String>,
    watched: Vec<Watch>,
    recoveries_ms: BTreeMap<&'static str, Histogram<u64>>,
}

/// A fault after which every lane must end a job that was started later.
struct Watch {
    kind: &'static str,
    since: Instant,
    first_job: u64,
    lanes: Vec<bool>,
}

impl Faults {
    /// Writes to a new file.
    pub fn new(path: &Path, lanes: usize) -> Result<Self> {
        let log = File::create(path).with_context(|| format!("{} cannot be made", path.display()))?;
        let state = State {
            log,
            printed: 0,
            counts: BTreeMap::new(),
            paths: BTreeMap::new(),
            measured: BTreeMap::new(),
            watched: Vec::new(),
            recoveries_ms: BTreeMap::new(),
        };
        Ok(Faults { began: Instant::now(), lanes, state: Mutex::new(state) })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    fn write(&self, state: &mut State, line: &serde_json::Value) {
        // A full disk must not end the run; the counts are kept in memory.
        let _ = writeln!(state.log, "{line}");
    }

    /// Seconds since the run began.
    pub fn at_s(&self) -> f64 {
        (self.began.elapsed().as_secs_f64() * 1e3).round() / 1e3
    }

    /// A fault happened.
    pub fn did(&self, kind: &str, target: &str, length: Duration) {
        let mut state = self.lock();
        *state.counts.entry(kind.into()).or_default() += 1;
        let ms = u64::try_from(length.as_millis()).unwrap_or(u64::MAX);
        let line = json!({"at_s": self.at_s(), "fault": kind, "target": target, "duration_ms": ms});
        self.write(&mut state, &line);
    }

    /// Something worth a line that is no fault.
    pub fn note(&self, what: &str) {
        let mut state = self.lock();
        let line = json!({"at_s": self.at_s(), "note": what});
        self.write(&mut state, &line);
    }

    /// Something is wrong.
    pub fn found(&self, wrong: Wrong, what: &str) {
        let mut state = self.lock();
        state.printed += 1;
        if state.printed <= PRINTED_MAX {
            eprintln!("{:8.1} s  {wrong:?}: {what}", self.at_s());
        }
        let line = json!({"at_s": self.at_s(), "wrong": format!("{wrong:?}"), "what": what});
        self.write(&mut state, &line);
    }

    /// A way back was taken.
    pub fn path(&self, name: &str) {
        *self.lock().paths.entry(name.into()).or_default() += 1;
    }

    /// From now on, until every lane has ended a job from `first_job` on, is the recovery from a fault of that kind.
    pub fn watch(&self, kind: &'static str, first_job: u64) {
        let mut state = self.lock();
        if state.watched.len() < WATCHED_MAX {
            let lanes = vec![false; self.lanes];
            state.watched.push(Watch { kind, since: Instant::now(), first_job, lanes });
        }
    }

    /// A lane has ended a job.
    pub fn progress(&self, lane: i32, job: u64) {
        let mut guard = self.lock();
        let state = &mut *guard;
        let Ok(lane) = usize::try_from(lane) else { return };
        for watch in state.watched.iter_mut().filter(|w| w.first_job <= job) {
            if let Some(done) = watch.lanes.get_mut(lane) {
                *done = true;
            }
        }
        let over = |watch: &mut Watch| watch.lanes.iter().all(|done| *done);
        for watch in state.watched.extract_if(.., over) {
            let ms = u64::try_from(watch.since.elapsed().as_millis()).unwrap_or(u64::MAX);
            if let Ok(empty) = times_ms() {
                state.recoveries_ms.entry(watch.kind).or_insert(empty).saturating_record(ms);
            }
        }
    }

    /// A scenario has measured something; the last word counts.
    pub fn measured(&self, what: &'static str, value: &str) {
        self.note(&format!("{what}: {value}"));
        self.lock().measured.insert(what, value.into());
    }

    /// What scenarios have measured.
    pub fn all_measured(&self) -> BTreeMap<&'static str, String> {
        self.lock().measured.clone()
    }

    /// Faults by kind.
    pub fn counts(&self) -> BTreeMap<String, u64> {
        self.lock().counts.clone()
    }

    /// Ways back, by name.
    pub fn paths(&self) -> BTreeMap<String, u64> {
        self.lock().paths.clone()
    }

    /// Recovery times in milliseconds, by kind of fault.
    pub fn recoveries_ms(&self) -> BTreeMap<&'static str, Histogram<u64>> {
        self.lock().recoveries_ms.clone()
    }
}
