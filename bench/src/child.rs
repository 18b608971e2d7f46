//! Processes that this program starts. None of them outlives it.

use crate::usage::Watched;
use anyhow::{Context as _, Result, bail};
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child as Process, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// How long a process may take to end after it was asked to.
const END: Duration = Duration::from_secs(20);
const LOOK: Duration = Duration::from_millis(20);

/// A running process. It is asked to end when this is dropped, and killed if it does not.
pub(crate) struct Child {
    process: Process,
    name: String,
    log: PathBuf,
    lines: Option<Receiver<String>>,
}

/// Sends a signal to a process, by the name that `kill` has for it.
pub(crate) fn signal(process: u32, name: &str) -> Result<()> {
    let status =
        Command::new("kill").args(["-s", name, &process.to_string()]).stderr(Stdio::null()).status()?;
    if !status.success() {
        bail!("process {process} cannot be sent {name}");
    }
    Ok(())
}

impl Child {
    /// Starts a process; what it writes to stderr goes to a file. With `talks`, its lines can be read with
    /// [`line`](Self::line); otherwise they go to the same file.
    pub(crate) fn start(name: &str, command: &mut Command, log: &Path, talks: bool) -> Result<Self> {
        let file = File::options().create(true).append(true).open(log)?;
        let stdout = if talks { Stdio::piped() } else { Stdio::from(file.try_clone()?) };
        command.stdin(Stdio::null()).stdout(stdout).stderr(Stdio::from(file));
        let mut process = command.spawn().with_context(|| format!("{name} cannot be started"))?;
        note(process.id())?;
        let lines = process.stdout.take().map(|out| {
            let (sender, lines) = channel();
            std::thread::spawn(move || {
                for line in BufReader::new(out).lines().map_while(Result::ok) {
                    if sender.send(line).is_err() {
                        break;
                    }
                }
            });
            lines
        });
        Ok(Child { process, name: name.into(), log: log.into(), lines })
    }

    /// Its id.
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// For measuring what it uses.
    pub(crate) fn watched(&self) -> Watched {
        Watched { role: self.name.clone(), id: self.id() }
    }

    /// Its next line.
    pub(crate) fn line(&self, limit: Duration) -> Result<String> {
        let lines = self.lines.as_ref().context("its lines are not read")?;
        lines
            .recv_timeout(limit)
            .with_context(|| format!("{} says nothing:\n{}", self.name, self.end_of_log()))
    }

    /// The end of what it has logged.
    pub(crate) fn end_of_log(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(15)..].join("\n")
    }

    /// Fails if it has ended.
    pub(crate) fn check(&mut self) -> Result<()> {
        if let Some(status) = self.process.try_wait()? {
            bail!("{} ended with {status}:\n{}", self.name, self.end_of_log());
        }
        Ok(())
    }

    /// Ends it at once, as a power cut would.
    pub(crate) fn kill(mut self) -> Result<()> {
        self.process.kill()?;
        self.process.wait()?;
        Ok(())
    }

    /// Asks it to end and waits until it has.
    pub(crate) fn end(&mut self) -> Result<()> {
        if self.process.try_wait()?.is_some() {
            return Ok(());
        }
        signal(self.id(), "TERM")?;
        let deadline = Instant::now() + END;
        while self.process.try_wait()?.is_none() {
            if Instant::now() > deadline {
                self.process.kill()?;
                self.process.wait()?;
                bail!("{} did not end within {END:?}:\n{}", self.name, self.end_of_log());
            }
            std::thread::sleep(LOOK);
        }
        Ok(())
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            eprintln!("bench: {error:#}");
        }
    }
}

/// Tells `bench/run` what to end if this program is killed, with the start time, as an id alone may be given to a
/// stranger later.
pub(crate) fn note(id: u32) -> Result<()> {
    let Some(file) = std::env::var_os("BENCH_PROCESSES") else { return Ok(()) };
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    let started =
        stat.rsplit(')').next().and_then(|rest| rest.split_ascii_whitespace().nth(19)).unwrap_or("0");
    let mut file = File::options().create(true).append(true).open(file)?;
    std::io::Write::write_all(&mut file, format!("{id} {started}\n").as_bytes())?;
    Ok(())
}
