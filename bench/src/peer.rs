//! Other systems with the same workloads: `bench/peers/<name>/peer` gets, runs and loads each.

use crate::child::{Child, note, signal};
use crate::usage::Watched;
use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// From its start to its first result; a JVM and a schema take their time.
const START: Duration = Duration::from_secs(180);

/// A peer that is there to be started.
#[derive(Clone)]
pub(crate) struct Installed {
    /// Its name, that of its folder.
    pub(crate) name: String,
    script: PathBuf,
    folder: PathBuf,
    port: u16,
    kafka: String,
}

/// What a load came to: numbers by name.
pub(crate) type Values = std::collections::BTreeMap<String, f64>;

impl Installed {
    /// Gets and builds it into a folder of the cache, if it is not there yet.
    pub(crate) fn get(name: &str, peers: &Path, cache: &Path, port: u16, kafka: &str) -> Result<Self> {
        let script = peers.join(name).join("peer");
        ensure!(script.exists(), "there is no peer {name}");
        let folder = cache.join(name);
        std::fs::create_dir_all(&folder)?;
        let this = Installed { name: name.into(), script, folder, port, kafka: kafka.into() };
        eprintln!("bench: getting {name} into {}", this.folder.display());
        let got = this.command("install").output()?;
        if !got.status.success() {
            bail!("{name} cannot be had: {}", String::from_utf8_lossy(&got.stderr));
        }
        Ok(this)
    }

    /// Versions and durability.
    pub(crate) fn about(&self) -> Result<Vec<String>> {
        let said = Command::new(&self.script).arg("about").output()?;
        Ok(String::from_utf8(said.stdout)?.lines().map(str::to_owned).collect())
    }

    fn command(&self, what: &str) -> Command {
        let mut command = Command::new(&self.script);
        command.arg(what).arg(&self.folder).env("PEER_KAFKA", &self.kafka);
        command
    }

    /// Starts it with no data, and waits until it has given a first result.
    pub(crate) fn start(&self) -> Result<Peer> {
        self.serve(&["--fresh"])
    }

    /// The same, and lets it move records from one topic to another. Its supervisor starts again what is killed.
    pub(crate) fn start_pipe(&self, [input, output]: [&str; 2]) -> Result<Peer> {
        self.serve(&["--fresh", "--pipe", input, output])
    }

    fn serve(&self, how: &[&str]) -> Result<Peer> {
        let mut command = self.command("serve");
        command.arg(self.port.to_string()).args(how);
        let script = Child::start(&self.name, &mut command, &self.folder.join("serve.log"), true)?;
        let mut processes = Vec::new();
        loop {
            let line = script.line(START)?;
            if line == "ready" {
                break;
            }
            processes.extend(process(&line)?);
        }
        Ok(Peer { installed: self.clone(), script, processes, shared: Vec::new() })
    }
}

/// What a script says of a process that it has started.
fn process(line: &str) -> Result<Option<Watched>> {
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let ["process", role, id] = words[..] else { return Ok(None) };
    let id = id.parse()?;
    note(id)?;
    Ok(Some(Watched { role: role.into(), id }))
}

/// A peer that runs.
pub(crate) struct Peer {
    installed: Installed,
    script: Child,
    processes: Vec<Watched>,
    /// What it uses and others too, such as a broker.
    shared: Vec<Watched>,
}

impl Peer {
    /// Its name.
    pub(crate) fn name(&self) -> &str {
        &self.installed.name
    }

    /// Says what it uses beside its own processes.
    pub(crate) fn shares(mut self, processes: Vec<Watched>) -> Self {
        self.shared = processes;
        self
    }

    /// All processes that have a part in it.
    pub(crate) fn watched(&self) -> Vec<Watched> {
        self.processes.iter().chain(&self.shared).cloned().collect()
    }

    /// Stops its processes in the middle of what they do, so that they take nothing from others, or lets them go on.
    pub(crate) fn freeze(&self, frozen: bool) -> Result<()> {
        let name = if frozen { "STOP" } else { "CONT" };
        self.processes.iter().try_for_each(|process| signal(process.id, name))
    }

    /// Starts a load; [`finished`] gives what it came to.
    pub(crate) fn begin(
        &self,
        work: &str,
        many: u64,
        warm_up_s: f64,
        length_s: f64,
    ) -> Result<std::process::Child> {
        let mut command = self.installed.command("load");
        command.arg(self.installed.port.to_string()).arg(work);
        command.args([many.to_string(), warm_up_s.to_string(), length_s.to_string()]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let load =
            command.spawn().with_context(|| format!("the load of {} cannot be started", self.name()))?;
        note(load.id())?;
        Ok(load)
    }

    /// A load from start to end.
    pub(crate) fn load(&self, work: &str, many: u64, warm_up_s: f64, length_s: f64) -> Result<Values> {
        finished(self.begin(work, many, warm_up_s, length_s)?)
    }

    /// Kills one of its processes and starts all anew on the same data.
    pub(crate) fn kill_and_restart(mut self, role: &str) -> Result<Peer> {
        let victim = self.processes.iter().find(|p| p.role == role).context("no such process")?;
        signal(victim.id, "KILL")?;
        self.script.end()?;
        self.installed.serve(&[])
    }

    /// Kills one of its processes; returns when its supervisor has started it again.
    pub(crate) fn kill(&mut self, role: &str) -> Result<()> {
        let victim = self.processes.iter_mut().find(|p| p.role == role).context("no such process")?;
        signal(victim.id, "KILL")?;
        loop {
            if let Some(next) = process(&self.script.line(START)?)? {
                *victim = next;
                return Ok(());
            }
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // A frozen process does not hear that it is to end.
        let _ = self.freeze(false);
    }
}

/// What a load came to.
pub(crate) fn finished(load: std::process::Child) -> Result<Values> {
    let out = load.wait_with_output()?;
    let said = String::from_utf8_lossy(&out.stdout);
    ensure!(out.status.success(), "the load failed: {said}{}", String::from_utf8_lossy(&out.stderr));
    let line = said.lines().last().context("the load says nothing")?;
    let Value::Object(values) = serde_json::from_str(line).with_context(|| format!("not JSON: {line}"))?
    else {
        bail!("not an object: {line}")
    };
    let number = |value: &Value| value.as_f64().or_else(|| value.as_bool().map(f64::from));
    Ok(values.iter().filter_map(|(name, value)| Some((name.clone(), number(value)?))).collect())
}
