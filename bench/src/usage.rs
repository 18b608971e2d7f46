//! CPU time and memory of processes and of the machine, from /proc.

use anyhow::{Context as _, Result};
use serde::Serialize;
use std::time::Instant;

/// Ticks per second of /proc; a constant of Linux' interface to programs.
const TICKS_PER_SECOND: f64 = 100.0;

/// CPU seconds that a process has used, in user and kernel mode.
pub(crate) fn seconds(process: &str) -> Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    // The second field is a name in parentheses that may hold anything.
    let fields: Vec<&str> = stat.rsplit(')').next().context("no fields")?.split_ascii_whitespace().collect();
    let ticks = |index: usize| -> Result<f64> { Ok(fields.get(index).context("too short")?.parse()?) };
    Ok((ticks(11)? + ticks(12)?) / TICKS_PER_SECOND)
}

/// CPU seconds of this process and of the children that it has waited for.
fn own_seconds() -> Result<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<&str> = stat.rsplit(')').next().context("no fields")?.split_ascii_whitespace().collect();
    let ticks = |index: usize| -> Result<f64> { Ok(fields.get(index).context("too short")?.parse()?) };
    Ok((ticks(11)? + ticks(12)? + ticks(13)? + ticks(14)?) / TICKS_PER_SECOND)
}

/// CPU seconds of the whole machine in which something ran.
fn busy_seconds() -> Result<f64> {
    let stat = std::fs::read_to_string("/proc/stat")?;
    let line = stat.lines().next().context("no first line")?;
    let ticks: Vec<f64> = line.split_ascii_whitespace().skip(1).filter_map(|t| t.parse().ok()).collect();
    let at = |index: usize| ticks.get(index).copied().unwrap_or(0.0);
    // user, nice, system, irq, softirq; not idle, not waiting, not stolen by the host
    Ok((at(0) + at(1) + at(2) + at(5) + at(6)) / TICKS_PER_SECOND)
}

fn megabytes(process: u32, file: &str, field: &str) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{process}/{file}")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(field)).unwrap_or_default();
    line.split_ascii_whitespace()
        .next()
        .and_then(|kb| kb.parse::<f64>().ok())
        .map_or(f64::NAN, |kb| kb / 1024.0)
}

/// Memory that a process has resident, in MB.
pub(crate) fn resident_mb(process: u32) -> f64 {
    megabytes(process, "status", "VmRSS:")
}

/// The same, with its share of what it shares with others.
pub(crate) fn proportional_mb(process: u32) -> f64 {
    megabytes(process, "smaps_rollup", "Pss:")
}

/// The most that a process ever had resident, in MB.
pub(crate) fn peak_mb(process: u32) -> f64 {
    megabytes(process, "status", "VmHWM:")
}

/// A process whose use is watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Watched {
    /// What it is.
    pub(crate) role: String,
    /// Its id.
    pub(crate) id: u32,
}

/// What one process used.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ProcessUse {
    /// What it is.
    pub(crate) role: String,
    /// CPU seconds.
    pub(crate) cpu_s: f64,
    /// Resident memory at the end, in MB.
    pub(crate) rss_mb: f64,
    /// Its proportional share of memory at the end, in MB.
    pub(crate) pss_mb: f64,
}

/// What everything used during one measurement.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Use {
    /// The processes under test, and this program as `load`.
    pub(crate) processes: Vec<ProcessUse>,
    /// Share of the machine that others took.
    pub(crate) others_share: f64,
}

/// A measurement that is under way.
pub(crate) struct Meter {
    processes: Vec<(Watched, f64)>,
    own: f64,
    busy: f64,
    began: Instant,
}

impl Meter {
    /// Begins.
    pub(crate) fn start(processes: &[Watched]) -> Result<Self> {
        // A process that is gone has used nothing more; the measurement itself will find that it is gone.
        let used = |p: &Watched| (p.clone(), seconds(&p.id.to_string()).unwrap_or(0.0));
        let processes = processes.iter().map(used).collect();
        Ok(Meter { processes, own: own_seconds()?, busy: busy_seconds()?, began: Instant::now() })
    }

    /// Ends.
    pub(crate) fn stop(self) -> Result<Use> {
        let (wall, own) = (self.began.elapsed().as_secs_f64(), own_seconds()? - self.own);
        let busy = busy_seconds()? - self.busy;
        let mut used: Vec<ProcessUse> = self
            .processes
            .iter()
            .map(|(process, before)| ProcessUse {
                role: process.role.clone(),
                cpu_s: (seconds(&process.id.to_string()).unwrap_or(*before) - before).max(0.0),
                rss_mb: resident_mb(process.id),
                pss_mb: proportional_mb(process.id),
            })
            .collect();
        let id = std::process::id();
        let load = ProcessUse {
            role: "load".into(),
            cpu_s: own,
            rss_mb: resident_mb(id),
            pss_mb: proportional_mb(id),
        };
        used.push(load);
        let ours: f64 = used.iter().map(|p| p.cpu_s).sum();
        let cores = std::thread::available_parallelism().map_or(1.0, |n| n.get() as f64);
        Ok(Use { processes: used, others_share: ((busy - ours) / (wall * cores)).max(0.0) })
    }
}
