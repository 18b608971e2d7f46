//! The app under test: its topics and its processes, on one broker or another.

use crate::child::Child;
use crate::client::Client;
use crate::cluster::Broker;
use crate::kafka::{self, Isolation};
use crate::usage::Watched;
use anyhow::{Context as _, Result};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where things are.
#[derive(Clone)]
pub(crate) struct Places {
    /// The app under test.
    pub(crate) app: PathBuf,
    /// The `sakia` command.
    pub(crate) sakia: PathBuf,
    /// `integration/kafka`.
    pub(crate) kafka: PathBuf,
    /// The folder of the peers' scripts.
    pub(crate) peers: PathBuf,
    /// Where peers are installed.
    pub(crate) cache: PathBuf,
    /// For state and logs of this run; thrown away after it.
    pub(crate) folder: PathBuf,
    /// First of the ports that may be used.
    pub(crate) port: u16,
}

/// How an app is made.
#[derive(Clone)]
pub(crate) struct Make {
    /// Its name, and that of its topics and folders.
    pub(crate) name: String,
    /// Lanes.
    pub(crate) lanes: i32,
    /// Copies of each topic.
    pub(crate) copies: i32,
    /// Processes.
    pub(crate) processes: usize,
    /// Further `SAKIA_…` and `BENCH_…` variables.
    pub(crate) variables: Vec<(String, String)>,
}

impl Make {
    /// One lane in one process, one copy of each topic.
    pub(crate) fn of(name: &str) -> Self {
        Make { name: name.into(), lanes: 1, copies: 1, processes: 1, variables: Vec::new() }
    }
}

/// An app that runs.
pub(crate) struct Subject {
    make: Make,
    places: Places,
    brokers: String,
    broker_processes: Vec<Watched>,
    /// By number; `None` while one is down.
    processes: Vec<Option<Child>>,
}

impl Subject {
    /// Makes its topics and starts its processes; they may still be taking their lanes over.
    pub(crate) fn start(places: &Places, broker: &Broker, make: Make) -> Result<Self> {
        let mut subject = Self::down(places, broker, make)?;
        for number in 0..subject.make.processes {
            subject.revive(number)?;
        }
        Ok(subject)
    }

    /// Makes its topics, and starts nothing yet.
    pub(crate) fn down(places: &Places, broker: &Broker, make: Make) -> Result<Self> {
        kafka::make_app_topics(broker.bootstrap(), &make.name, make.lanes, make.copies)?;
        Ok(Subject {
            places: places.clone(),
            brokers: broker.bootstrap().into(),
            broker_processes: broker.watched(),
            processes: (0..make.processes).map(|_| None).collect(),
            make,
        })
    }

    /// Its name.
    pub(crate) fn name(&self) -> &str {
        &self.make.name
    }

    /// Its brokers' address.
    pub(crate) fn brokers(&self) -> &str {
        &self.brokers
    }

    /// The folder with the state of one of its processes.
    pub(crate) fn state(&self, number: usize) -> PathBuf {
        self.folder().join(format!("state-{number}"))
    }

    fn folder(&self) -> PathBuf {
        self.places.folder.join(&self.make.name)
    }

    /// A client of it; waits until it answers.
    pub(crate) fn client(&self) -> Result<Client> {
        self.client_that_reads(Isolation::Committed)
    }

    /// A client that also reads what is not committed yet.
    pub(crate) fn client_that_reads(&self, isolation: Isolation) -> Result<Client> {
        let client = Client::connect(&self.brokers, &self.make.name, self.make.lanes, isolation);
        client.with_context(|| self.end_of_logs())
    }

    /// A client for which the app need not run yet.
    pub(crate) fn client_in_advance(&self) -> Result<Client> {
        Client::in_advance(&self.brokers, &self.make.name, self.make.lanes, Isolation::Committed)
    }

    fn end_of_logs(&self) -> String {
        let logs = self.processes.iter().flatten().map(Child::end_of_log);
        format!("{}, whose log ends with:\n{}", self.make.name, logs.collect::<Vec<_>>().join("\n"))
    }

    /// All processes that have a part in it.
    pub(crate) fn watched(&self) -> Vec<Watched> {
        let mut all = self.broker_processes.clone();
        all.extend(self.processes.iter().flatten().map(Child::watched));
        all
    }

    /// The id of one of its processes.
    pub(crate) fn process(&self, number: usize) -> Result<u32> {
        let process = self.processes.get(number).and_then(Option::as_ref);
        Ok(process.context("that process is down")?.id())
    }

    /// Starts a process that is down, on what it left.
    pub(crate) fn revive(&mut self, number: usize) -> Result<()> {
        let folder = self.folder();
        std::fs::create_dir_all(&folder)?;
        let mut command = Command::new(&self.places.app);
        command
            .env("BENCH_APP", &self.make.name)
            .env("SAKIA_BROKERS", &self.brokers)
            .env("SAKIA_STATE_DIR", self.state(number))
            .env("NO_COLOR", "1")
            // Behind a backtrace the cause would not be in the end of its log, which is what is shown.
            .env("RUST_BACKTRACE", "0");
        for (name, value) in &self.make.variables {
            command.env(name, value.replace("{process}", &number.to_string()));
        }
        let role = if self.make.processes == 1 { "app".into() } else { format!("app {}", number + 1) };
        let child = Child::start(&role, &mut command, &folder.join(format!("{number}.log")), false)?;
        *self.processes.get_mut(number).context("no such process")? = Some(child);
        Ok(())
    }

    /// Ends a process: at once, as a power cut would, or cleanly. Returns when it is gone.
    pub(crate) fn end(&mut self, number: usize, at_once: bool) -> Result<()> {
        let mut child =
            self.processes.get_mut(number).and_then(Option::take).context("that process is down")?;
        if at_once { child.kill() } else { child.end() }
    }

    /// Fails if one of its processes has ended by itself.
    pub(crate) fn check(&mut self) -> Result<()> {
        self.processes.iter_mut().flatten().try_for_each(Child::check)
    }
}

/// Bytes that a folder holds on disk, in MB.
pub(crate) fn folder_mb(folder: &Path) -> f64 {
    let out = Command::new("du").arg("-sk").arg(folder).output();
    let said = out.map(|out| String::from_utf8_lossy(&out.stdout).into_owned()).unwrap_or_default();
    let kb = said.split_ascii_whitespace().next().and_then(|kb| kb.parse::<f64>().ok());
    kb.map_or(f64::NAN, |kb| kb / 1024.0)
}
