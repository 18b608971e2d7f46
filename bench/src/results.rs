//! All that was measured, and which of it counts.

use crate::figures::{LOOP_TOLERANCE, Spread, median, spread};
use crate::peer::Values;
use crate::usage::Use;
use serde::Serialize;
use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// One measurement.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Sample {
    /// What was done.
    pub(crate) workload: String,
    /// By whom.
    pub(crate) side: String,
    /// In which round.
    pub(crate) round: usize,
    /// The fixed loop before and after it, in milliseconds.
    pub(crate) loops: [f64; 2],
    /// Numbers by name.
    pub(crate) values: Values,
    /// CPU and memory.
    pub(crate) used: Use,
}

impl Sample {
    /// CPU milliseconds of some processes for each of what was completed.
    pub(crate) fn cpu_ms_each(&self, role: impl Fn(&str) -> bool) -> f64 {
        let cpu: f64 = self.used.processes.iter().filter(|p| role(&p.role)).map(|p| p.cpu_s).sum();
        cpu * 1e3 / self.values.get("completed").copied().unwrap_or(f64::NAN)
    }
}

/// All measurements of a run.
#[derive(Default)]
pub(crate) struct Results {
    /// In order.
    pub(crate) samples: Vec<Sample>,
    /// What could not be measured, and why.
    pub(crate) failed: Vec<String>,
    /// Every sample is also written here, for whoever wants to look closer.
    pub(crate) log: Option<PathBuf>,
}

impl Results {
    /// Adds a measurement.
    pub(crate) fn add(&mut self, sample: Sample) {
        let values: Vec<String> =
            sample.values.iter().map(|(name, value)| format!("{name} {value:.1}")).collect();
        eprintln!("bench: {} {} #{}: {}", sample.workload, sample.side, sample.round + 1, values.join(", "));
        if let Some(log) = &self.log
            && let Err(error) = append(log, &sample)
        {
            eprintln!("bench: {}: {error}", log.display());
        }
        self.samples.push(sample);
    }

    /// Notes what could not be measured.
    pub(crate) fn fail(&mut self, what: &str, why: &anyhow::Error) {
        eprintln!("bench: {what} failed: {why:#}");
        let line = format!("{why:#}").lines().next().unwrap_or_default().to_owned();
        let line = format!("{what}: {line}");
        if !self.failed.contains(&line) {
            self.failed.push(line);
        }
    }

    /// The machine's speed in this run: the middle of all fixed loops, in milliseconds.
    pub(crate) fn loop_ms(&self) -> f64 {
        median(self.samples.iter().flat_map(|s| s.loops))
    }

    /// Whether all sides of a workload's round met the same machine. One that did not makes the round worthless: its
    /// ratios compare two machines.
    pub(crate) fn counts(&self, workload: &str, round: usize) -> bool {
        let middle = self.loop_ms();
        let of_round = self.samples.iter().filter(|s| s.workload == workload && s.round == round);
        of_round.flat_map(|s| s.loops).all(|ms| (ms - middle).abs() <= LOOP_TOLERANCE * middle)
    }

    /// Rounds of a workload: those that count, and how many do not.
    pub(crate) fn rounds(&self, workload: &str) -> (Vec<usize>, usize) {
        let all: BTreeSet<usize> =
            self.samples.iter().filter(|s| s.workload == workload).map(|s| s.round).collect();
        let (kept, dropped): (Vec<usize>, Vec<usize>) =
            all.into_iter().partition(|r| self.counts(workload, *r));
        // Better a figure with its doubt than none: the report says when nothing was comparable.
        if kept.is_empty() { (dropped, 0) } else { (kept, dropped.len()) }
    }

    /// Whether no round of a workload was comparable.
    pub(crate) fn doubtful(&self, workload: &str) -> bool {
        let mut rounds = self.samples.iter().filter(|s| s.workload == workload).map(|s| s.round);
        !rounds.any(|round| self.counts(workload, round))
    }

    /// The measurements of a side that count.
    pub(crate) fn of<'a>(&'a self, workload: &'a str, side: &'a str) -> impl Iterator<Item = &'a Sample> {
        let rounds = self.rounds(workload).0;
        self.samples
            .iter()
            .filter(move |s| s.workload == workload && s.side == side && rounds.contains(&s.round))
    }

    /// A number over all rounds that count; `None` if it was not measured.
    pub(crate) fn value(&self, workload: &str, side: &str, name: &str) -> Option<Spread> {
        let values: Vec<f64> = self.of(workload, side).filter_map(|s| s.values.get(name).copied()).collect();
        (!values.is_empty()).then(|| spread(values))
    }

    /// The largest that a number ever was, also in rounds that do not count: what is lost is lost on a slow machine too.
    pub(crate) fn worst(&self, workload: &str, side: &str, name: &str) -> Option<f64> {
        let samples = self.samples.iter().filter(|s| s.workload == workload && s.side == side);
        samples.filter_map(|s| s.values.get(name).copied()).reduce(f64::max)
    }

    /// A number of one side divided by that of another, round by round.
    pub(crate) fn ratio(&self, workload: &str, sides: [&str; 2], name: &str) -> Option<Spread> {
        let rounds = self.rounds(workload).0;
        let at = |side: &str, round: usize| {
            let mut samples = self.of(workload, side).filter(|s| s.round == round);
            samples.next().and_then(|s| s.values.get(name).copied())
        };
        let ratios: Vec<f64> =
            rounds.iter().filter_map(|r| Some(at(sides[0], *r)? / at(sides[1], *r)?)).collect();
        (!ratios.is_empty()).then(|| spread(ratios))
    }

    /// Sides that ran a workload, in the order in which they are told.
    pub(crate) fn sides(&self, workload: &str) -> Vec<String> {
        let mut sides: Vec<String> = Vec::new();
        for sample in self.samples.iter().filter(|s| s.workload == workload) {
            if !sides.contains(&sample.side) {
                sides.push(sample.side.clone());
            }
        }
        sides.sort();
        // Sakia first, then the one to beat.
        sides.sort_by_key(|s| (!s.starts_with("sakia"), s != "restate"));
        sides
    }
}

fn append(log: &Path, sample: &Sample) -> anyhow::Result<()> {
    let mut file = std::fs::File::options().create(true).append(true).open(log)?;
    Ok(writeln!(file, "{}", serde_json::to_string(sample)?)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(side: &str, round: usize, loop_ms: f64, per_second: f64) -> Sample {
        Sample {
            workload: "E64".into(),
            side: side.into(),
            round,
            loops: [loop_ms; 2],
            values: Values::from([("per_second".into(), per_second)]),
            used: Use::default(),
        }
    }

    #[test]
    fn a_round_in_which_one_side_met_a_slower_machine_does_not_count() {
        let mut results = Results::default();
        for (round, speeds) in [(0, [20.0, 20.0]), (1, [20.0, 23.0]), (2, [20.5, 19.5])] {
            results.add(sample("sakia", round, speeds[0], 30.0));
            results.add(sample("restate", round, speeds[1], 10.0 + round as f64));
        }
        assert_eq!(results.rounds("E64"), (vec![0, 2], 1));
        let ratio = results.ratio("E64", ["sakia", "restate"], "per_second").unwrap();
        assert_eq!((ratio.min, ratio.max), (2.5, 3.0));
        assert!(!results.doubtful("E64"));
    }

    #[test]
    fn what_no_round_can_compare_is_told_and_marked() {
        let mut results = Results::default();
        for (round, speed) in [10.0, 20.0, 30.0, 40.0].into_iter().enumerate() {
            results.add(sample("sakia", round, speed, 1.0));
        }
        assert_eq!(results.rounds("E64").0.len(), 4);
        assert!(results.doubtful("E64"));
    }
}
