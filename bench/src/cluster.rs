//! Brokers: a real Apache Kafka from `integration/kafka`, or Sakia's embedded one.

use crate::child::Child;
use crate::usage::Watched;
use anyhow::{Context as _, Result, ensure};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// Kafka Streams keeps its partitions while it is frozen; and the files of a topic that is deleted are gone at once, not a
/// minute later in the middle of the next measurement.
pub(crate) const SETTINGS: &[&str] =
    &["group.max.session.timeout.ms=3600000", "log.segment.delete.delay.ms=1000"];
/// Heap of each real broker.
pub(crate) const HEAP: &str = "1g";
const EMBEDDED_START: Duration = Duration::from_secs(10);

/// What keeps the log.
pub(crate) enum Broker {
    /// Apache Kafka.
    Kafka(Kafka),
    /// `sakia dev`.
    Embedded(Child, String),
}

impl Broker {
    /// Where clients connect.
    pub(crate) fn bootstrap(&self) -> &str {
        match self {
            Broker::Kafka(kafka) => &kafka.bootstrap,
            Broker::Embedded(_, bootstrap) => bootstrap,
        }
    }

    /// Its processes.
    pub(crate) fn watched(&self) -> Vec<Watched> {
        match self {
            Broker::Kafka(kafka) => kafka.nodes.clone(),
            Broker::Embedded(child, _) => vec![child.watched()],
        }
    }
}

/// A cluster, which is stopped and thrown away when this is dropped.
pub(crate) struct Kafka {
    script: PathBuf,
    port: u16,
    bootstrap: String,
    nodes: Vec<Watched>,
}

/// A kind of cluster.
#[derive(Clone, Copy)]
pub(crate) struct Shape<'a> {
    /// Its first port.
    pub(crate) port: u16,
    /// 1 or 3.
    pub(crate) brokers: u16,
    /// Settings beyond those of `integration/kafka`.
    pub(crate) settings: &'a [&'a str],
}

impl Kafka {
    /// Starts one with no data.
    pub(crate) fn start(script: &Path, shape: Shape<'_>) -> Result<Self> {
        let (port, brokers) = (shape.port.to_string(), shape.brokers.to_string());
        let mut start = Command::new(script);
        start.args(["start", "--fresh", "--heap", HEAP, "--port", &port, "--brokers", &brokers]);
        for setting in shape.settings {
            start.args(["--set", setting]);
        }
        let out = start.output()?;
        ensure!(out.status.success(), "Kafka does not start: {}", String::from_utf8_lossy(&out.stderr));
        let said = String::from_utf8(out.stdout)?;
        let bootstrap =
            said.lines().find_map(|l| l.strip_prefix("BOOTSTRAP_SERVERS=")).context("no address")?;
        let mut kafka =
            Kafka { script: script.into(), port: shape.port, bootstrap: bootstrap.into(), nodes: Vec::new() };
        let status = Command::new(script).args(["status", "--port", &port]).output()?;
        let status = String::from_utf8(status.stdout)?;
        for (number, line) in status.lines().enumerate() {
            let id = line.split("process ").nth(1).and_then(|rest| rest.split(',').next());
            let id = id.context("a broker without a process")?.parse()?;
            let role = if shape.brokers == 1 { "broker".into() } else { format!("broker {}", number + 1) };
            kafka.nodes.push(Watched { role, id });
        }
        ensure!(kafka.nodes.len() == usize::from(shape.brokers), "not all brokers run: {status}");
        Ok(kafka)
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        let stop =
            Command::new(&self.script).args(["stop", "--discard", "--port", &self.port.to_string()]).output();
        if let Err(error) = stop {
            eprintln!("bench: Kafka on port {} was not stopped: {error}", self.port);
        }
    }
}

/// Starts the embedded broker of a `sakia` command.
pub(crate) fn start_embedded(sakia: &Path, port: u16, folder: &Path) -> Result<Broker> {
    let mut command = Command::new(sakia);
    command.arg("dev").args(["--port", &port.to_string()]).arg("--dir").arg(folder.join("dev-broker"));
    let mut child = Child::start("broker", &mut command, &folder.join("dev-broker.log"), false)?;
    let deadline = Instant::now() + EMBEDDED_START;
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        child.check()?;
        ensure!(Instant::now() < deadline, "the embedded broker does not listen:\n{}", child.end_of_log());
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(Broker::Embedded(child, format!("127.0.0.1:{port}")))
}
