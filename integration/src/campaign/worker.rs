//! One of the worker processes: started, killed, stopped, and given another clock, disk or address.

use super::effects;
use super::faults::Faults;
use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How many.
pub const WORKERS: u16 = 3;
/// A log file is begun anew at this size; the one before is kept.
const LOG_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// A lane runs no longer: its state is torn, or something else is not as it must be.
pub(super) const STOPPED: &str = "lane stopped for an operator";
/// An instance does not fit its history.
pub(super) const PARKED: &str = "instance parked";
/// A thread has ended by a mistake.
pub(super) const PANICKED: &str = "panic";

/// Kafka takes a static member for another one of its name: when the coordinator changes while the member joins, the old
/// and the new one may know it by different ids. Every Kafka client ends then.
pub(super) const FENCED_MEMBER: &str = "Static consumer fenced";

/// Lines of a worker's log that show a way back being taken.
const PATHS: &[(&str, &str)] = &[
    ("lane taken over", "take-over"),
    ("lane lost", "lane lost and taken over again"),
    ("the store is thrown away", "store thrown away and restored"),
    ("begins at", "store behind the changelog's start, rebuilt"),
    ("restoring:", "restore told its progress"),
    ("panicked", PANICKED),
    ("an operator has to look", STOPPED),
    ("parked", PARKED),
    ("fenced", "owner fenced"),
];

/// What every process of the app is told.
#[derive(Clone)]
pub struct Setting {
    /// The `worker` binary.
    pub program: PathBuf,
    /// The app's name.
    pub app: String,
    /// The topic that it writes.
    pub out: String,
    /// Where steps tell that they run.
    pub effects: String,
}

/// A process, or the place of one.
pub struct Worker {
    setting: Setting,
    /// Its name; also its membership, if that is static.
    pub id: String,
    is_static: bool,
    bootstrap: String,
    /// Its state.
    pub state: PathBuf,
    /// Whether bytes of its stores were flipped.
    pub was_flipped: bool,
    log: PathBuf,
    faults: Arc<Faults>,
    child: Option<(Child, ChildStdin)>,
    /// Runs under libfaketime, which reads the offset from this file.
    clock: Option<PathBuf>,
    ended_at: Option<Instant>,
}

impl Worker {
    /// The place of a process that is not started yet.
    pub fn new(
        setting: &Setting,
        id: &str,
        is_static: bool,
        bootstrap: &str,
        folder: &Path,
        faults: &Arc<Faults>,
    ) -> Self {
        Worker {
            setting: setting.clone(),
            id: id.into(),
            is_static,
            bootstrap: bootstrap.into(),
            state: folder.join(format!("{id}.state")),
            was_flipped: false,
            log: folder.join(format!("{id}.log")),
            faults: faults.clone(),
            child: None,
            clock: None,
            ended_at: None,
        }
    }

    /// Starts the process.
    pub fn start(&mut self) -> Result<()> {
        ensure!(self.child.is_none(), "{} runs already", self.id);
        let mut command = Command::new(&self.setting.program);
        command
            .env("SAKIA_BROKERS", &self.bootstrap)
            .env("SAKIA_STATE_DIR", &self.state)
            .env("WORKER_APP", &self.setting.app)
            .env("WORKER_OUT", &self.setting.out)
            .env("WORKER_LEASH", "1")
            .env(effects::VARIABLE, &self.setting.effects)
            .env("NO_COLOR", "1")
            .env("RUST_BACKTRACE", "0");
        if self.is_static {
            command.env("SAKIA_INSTANCE_ID", &self.id);
        }
        if let Some(file) = &self.clock {
            command
                .env("LD_PRELOAD", fake_clock_library().context("libfaketime is not installed")?)
                .env("FAKETIME_TIMESTAMP_FILE", file)
                .env("FAKETIME_CACHE_DURATION", "1")
                // What measures lengths must not jump, as on a real machine.
                .env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        }
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("{} does not start", self.setting.program.display()))?;
        let (input, output) = (child.stdin.take(), child.stderr.take());
        let (input, output) = (input.context("no input")?, output.context("no output")?);
        let (log, faults) = (self.log.clone(), self.faults.clone());
        std::thread::spawn(move || keep_log(BufReader::new(output), &log, &faults));
        self.child = Some((child, input));
        self.ended_at = None;
        Ok(())
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let Some((child, _)) = &self.child else { return Ok(()) };
        Ok(kill(Pid::from_raw(i32::try_from(child.id())?), signal)?)
    }

    /// Its process, while there is one.
    pub fn process(&self) -> Option<u32> {
        self.child.as_ref().map(|(child, _)| child.id())
    }

    /// SIGKILL.
    pub fn kill(&mut self) -> Result<()> {
        if let Some((mut child, _)) = self.child.take() {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    /// SIGSTOP.
    pub fn pause(&self) -> Result<()> {
        self.signal(Signal::SIGSTOP)
    }

    /// SIGCONT.
    pub fn resume(&self) -> Result<()> {
        self.signal(Signal::SIGCONT)
    }

    /// SIGTERM, and waits for the end; after `patience` SIGKILL. One that did not end well is noted.
    pub fn stop(&mut self, patience: Duration) -> Result<()> {
        if !self.ends_well(patience)? {
            self.faults.note(&format!("{} did not end well when told to", self.id));
        }
        Ok(())
    }

    fn ends_well(&mut self, patience: Duration) -> Result<bool> {
        self.signal(Signal::SIGTERM)?;
        let Some((mut child, _input)) = self.child.take() else { return Ok(true) };
        let began = Instant::now();
        while began.elapsed() < patience {
            if let Some(status) = child.try_wait()? {
                return Ok(status.success());
            }
            // Between two looks at a process that has no event for its end.
            std::thread::sleep(Duration::from_millis(5));
        }
        child.kill()?;
        child.wait()?;
        Ok(false)
    }

    /// Runs under a clock of its own from the next start on, or no longer.
    pub fn set_clock(&mut self, file: Option<&Path>) {
        self.clock = file.map(Path::to_path_buf);
    }

    /// As an init system does: a process that ended by itself is started again after `pause`. Why it ended, if it did.
    pub fn revive_if_ended(&mut self, pause: Duration) -> Result<Option<String>> {
        if let Some((child, _)) = &mut self.child {
            let Some(status) = child.try_wait()? else { return Ok(None) };
            let why = format!("{} ended by itself: {status}: {}", self.id, self.last_error());
            self.faults.note(&why);
            self.child = None;
            self.ended_at = Some(Instant::now());
            return Ok(Some(why));
        }
        if self.ended_at.is_some_and(|at| at.elapsed() >= pause) {
            self.start()?;
        }
        Ok(None)
    }

    /// What its `main` returned last.
    fn last_error(&self) -> String {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        log.lines()
            .rfind(|line| line.starts_with("Error: "))
            .unwrap_or("its log does not say why")
            .to_string()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // Already ended is as good as killed.
        let _ = self.kill();
    }
}

/// Where Debian and others put the library.
pub fn fake_clock_library() -> Option<PathBuf> {
    let multiarch = format!("/usr/lib/{}-linux-gnu", std::env::consts::ARCH);
    let folders = [multiarch.as_str(), "/usr/lib", "/usr/lib64"];
    folders.iter().map(|f| Path::new(f).join("faketime/libfaketimeMT.so.1")).find(|p| p.exists())
}

/// Copies a worker's log to files of bounded size, and counts the ways back that it tells of.
fn keep_log(lines: impl BufRead, path: &Path, faults: &Faults) {
    let open = || File::options().create(true).append(true).open(path);
    let (mut file, mut bytes) = (open().ok(), path.metadata().map_or(0, |m| m.len()));
    for line in lines.lines().map_while(std::io::Result::ok) {
        for (mark, name) in PATHS {
            if line.contains(mark) {
                faults.path(name);
                if [STOPPED, PARKED, PANICKED].contains(name) {
                    faults.note(&line);
                }
            }
        }
        if bytes > LOG_BYTES_MAX {
            let _ = std::fs::rename(path, path.with_extension("log.1"));
            (file, bytes) = (open().ok(), 0);
        }
        if let Some(file) = &mut file {
            // The log is for people; a run is not ended by a full disk.
            let _ = writeln!(file, "{line}");
            bytes += line.len() as u64 + 1;
        }
    }
}
