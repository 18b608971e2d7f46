//! CPU time and memory of processes, of their threads and of the machine, from /proc.

use anyhow::Result;
use procfs::process::{Process, Stat};
use procfs::{CurrentSI as _, KernelStats};
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Instant;

fn process(id: u32) -> Result<Process> {
    Ok(Process::new(i32::try_from(id)?)?)
}

/// CPU seconds in user mode and in the kernel.
fn modes(stat: &Stat) -> [f64; 2] {
    let ticks = procfs::ticks_per_second() as f64;
    [stat.utime as f64 / ticks, stat.stime as f64 / ticks]
}

/// CPU seconds that a process has used, in user and kernel mode.
pub(crate) fn seconds(id: u32) -> Result<f64> {
    Ok(modes(&process(id)?.stat()?).iter().sum())
}

/// The same of this process, with the children that it has waited for.
fn own_seconds() -> Result<f64> {
    let stat = Process::myself()?.stat()?;
    let children = (stat.cutime + stat.cstime) as f64 / procfs::ticks_per_second() as f64;
    Ok(modes(&stat).iter().sum::<f64>() + children)
}

/// CPU seconds of the whole machine in which something ran: not idle, not waiting, not stolen by the host.
fn busy_seconds() -> Result<f64> {
    let all = KernelStats::current()?.total;
    let interrupts = all.irq.unwrap_or(0) + all.softirq.unwrap_or(0);
    Ok((all.user + all.nice + all.system + interrupts) as f64 / procfs::ticks_per_second() as f64)
}

/// CPU seconds in user mode and in the kernel of each living thread of a process, by the thread's id, with its name.
fn threads(id: u32) -> Result<BTreeMap<i32, (String, [f64; 2])>> {
    // A thread that ends meanwhile is left out.
    let stats = process(id)?.tasks()?.flatten().filter_map(|task| Some((task.tid, task.stat().ok()?)));
    Ok(stats.map(|(tid, stat)| (tid, (kind(&stat.comm), modes(&stat)))).collect())
}

/// A thread's name without its number. Linux keeps 15 bytes of it.
fn kind(name: &str) -> String {
    name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '-' || c == '#').to_owned()
}

fn megabytes(kilobytes: Option<u64>) -> f64 {
    kilobytes.map_or(f64::NAN, |kb| kb as f64 / 1024.0)
}

/// Memory that a process has resident, in MB.
pub(crate) fn resident_mb(id: u32) -> f64 {
    megabytes(process(id).and_then(|p| Ok(p.status()?)).ok().and_then(|status| status.vmrss))
}

/// The most that a process ever had resident, in MB.
pub(crate) fn peak_mb(id: u32) -> f64 {
    megabytes(process(id).and_then(|p| Ok(p.status()?)).ok().and_then(|status| status.vmhwm))
}

/// Memory that a process has resident with its share of what it shares with others, in MB.
pub(crate) fn proportional_mb(id: u32) -> f64 {
    let rollup = process(id).and_then(|p| Ok(p.smaps_rollup()?)).ok();
    let bytes = rollup.and_then(|r| r.memory_map_rollup.0.first()?.extension.map.get("Pss").copied());
    megabytes(bytes.map(|bytes| bytes / 1024))
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
    /// CPU seconds in user mode and in the kernel of its threads that lived all the time, by name.
    pub(crate) threads: BTreeMap<String, [f64; 2]>,
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

/// What a process had used when a measurement began.
struct Before {
    process: Watched,
    cpu_s: f64,
    threads: BTreeMap<i32, (String, [f64; 2])>,
}

impl Before {
    fn now(process: &Watched) -> Self {
        // A process that is gone has used nothing more; the measurement itself will find that it is gone.
        Before {
            process: process.clone(),
            cpu_s: seconds(process.id).unwrap_or(0.0),
            threads: threads(process.id).unwrap_or_default(),
        }
    }

    fn until_now(self) -> ProcessUse {
        let Watched { role, id } = self.process;
        let mut by_name: BTreeMap<String, [f64; 2]> = BTreeMap::new();
        for (tid, (name, after)) in threads(id).unwrap_or_default() {
            if let Some((_, before)) = self.threads.get(&tid) {
                let sum = by_name.entry(name).or_default();
                *sum = [sum[0] + after[0] - before[0], sum[1] + after[1] - before[1]];
            }
        }
        ProcessUse {
            role,
            cpu_s: (seconds(id).unwrap_or(self.cpu_s) - self.cpu_s).max(0.0),
            threads: by_name,
            rss_mb: resident_mb(id),
            pss_mb: proportional_mb(id),
        }
    }
}

/// A measurement that is under way.
pub(crate) struct Meter {
    processes: Vec<Before>,
    own: f64,
    busy: f64,
    began: Instant,
}

impl Meter {
    /// Begins.
    pub(crate) fn start(processes: &[Watched]) -> Result<Self> {
        let processes = processes.iter().map(Before::now).collect();
        Ok(Meter { processes, own: own_seconds()?, busy: busy_seconds()?, began: Instant::now() })
    }

    /// Ends.
    pub(crate) fn stop(self) -> Result<Use> {
        let (wall, own) = (self.began.elapsed().as_secs_f64(), own_seconds()? - self.own);
        let busy = busy_seconds()? - self.busy;
        let mut used: Vec<ProcessUse> = self.processes.into_iter().map(Before::until_now).collect();
        let id = std::process::id();
        let load = ProcessUse {
            role: "load".into(),
            cpu_s: own,
            threads: BTreeMap::new(),
            rss_mb: resident_mb(id),
            pss_mb: proportional_mb(id),
        };
        used.push(load);
        let ours: f64 = used.iter().map(|p| p.cpu_s).sum();
        let cores = std::thread::available_parallelism().map_or(1.0, |n| n.get() as f64);
        Ok(Use { processes: used, others_share: ((busy - ours) / (wall * cores)).max(0.0) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_works_is_told_by_its_name() {
        let me = Watched { role: "me".into(), id: std::process::id() };
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let (done, finished) = std::sync::mpsc::channel::<()>();
        let work = move || {
            wait.recv().unwrap();
            crate::figures::fixed_loop();
            done.send(()).unwrap();
            // Lives until it was looked at.
            let _ = wait.recv();
        };
        let worker = std::thread::Builder::new().name("worker-7".into()).spawn(work).unwrap();
        let before = Before::now(&me);
        go.send(()).unwrap();
        finished.recv().unwrap();
        let used = before.until_now();
        drop(go);
        worker.join().unwrap();
        let [user, kernel] = used.threads["worker"];
        assert!(user + kernel > 0.0 && user + kernel <= used.cpu_s + 0.1, "{used:?}");
        assert!(used.rss_mb > 1.0 && used.pss_mb > 0.5 && peak_mb(me.id) >= used.rss_mb, "{used:?}");
    }
}
