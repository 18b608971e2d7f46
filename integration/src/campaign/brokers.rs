//! The brokers of a run: real ones by `integration/kafka`, or the embedded one in a process of its own.

use super::growth::Place;
use super::options::{Kind, Options};
use super::worker::WORKERS;
use crate::kit::{Cluster, until};
use crate::process::{ask_kafka_script, run_kafka_script as script};
use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A killed broker comes back when its session is over: 9 s unless told otherwise.
const SESSION: Duration = Duration::from_secs(6);
/// A lone broker that stands still for longer than its session finds itself fenced when it wakes. Kafka 4.3.1 may then
/// log a transaction as committed without having written the markers to its partitions (SAKIA-L07). That is not what is
/// tested here.
pub const PAUSE_MAX: Duration = Duration::from_secs(4);
const START_DEADLINE: Duration = Duration::from_secs(60);

/// Brokers that can be killed, paused and started again.
pub enum Brokers {
    /// Apache Kafka.
    Real {
        /// The port that names the cluster.
        port: u16,
        /// How many nodes.
        count: u16,
        /// Where they keep everything.
        folder: PathBuf,
    },
    /// One process of `broker_process`.
    Embedded {
        /// That program.
        program: PathBuf,
        /// Its data.
        folder: PathBuf,
        /// Where it listens.
        port: u16,
        /// The process, unless it was killed.
        child: Option<Child>,
    },
}

impl Brokers {
    /// Starts them without any data.
    pub fn start(options: &Options, folder: &Path) -> Result<Self> {
        match options.kafka {
            Kind::Real => Self::start_real(options.port, options.brokers),
            Kind::Embedded => {
                let program = sibling("broker_process")?;
                let folder = folder.join("broker");
                let port = options.port;
                let child = Some(spawn_embedded(&program, &folder, port)?);
                Ok(Brokers::Embedded { program, folder, port, child })
            }
        }
    }

    fn start_real(port: u16, count: u16) -> Result<Self> {
        let (nodes, listeners) = (count.to_string(), WORKERS.to_string());
        let mut arguments = vec!["start", "--fresh", "--fast", "--brokers", &nodes, "--proxied", &listeners];
        let session = format!("broker.session.timeout.ms={}", SESSION.as_millis());
        let settings = [
            session.as_str(),
            "broker.heartbeat.interval.ms=500",
            // A worker whose clock is ahead stamps records with it. By default Kafka refuses more than an hour.
            "log.message.timestamp.after.max.ms=9223372036854775807",
            // Compaction at the pace of a run of minutes.
            "log.cleaner.backoff.ms=2000",
        ];
        for setting in settings {
            arguments.extend(["--set", setting]);
        }
        // The same may happen to one whose controller dies with it.
        if count == 1 {
            arguments.push("--apart");
        }
        script(port, &arguments)?;
        let folder = ask_kafka_script(port, &["folder"])?.into();
        Ok(Brokers::Real { port, count, folder })
    }

    /// As clients see them that go past the proxies.
    pub fn cluster(&self) -> Cluster {
        match self {
            Brokers::Real { port, count, .. } => {
                let addresses: Vec<String> = (0..*count).map(|i| format!("127.0.0.1:{}", port + i)).collect();
                Cluster::new(addresses.join(",")).with_replication(i32::from(*count))
            }
            Brokers::Embedded { port, .. } => Cluster::new(format!("127.0.0.1:{port}")),
        }
    }

    /// How many.
    pub fn count(&self) -> u16 {
        match self {
            Brokers::Real { count, .. } => *count,
            Brokers::Embedded { .. } => 1,
        }
    }

    /// The ports of the proxies of a worker, each with the port that it leads to. None on the embedded broker.
    pub fn proxied(&self, worker: u16) -> Vec<(u16, u16)> {
        match self {
            Brokers::Real { port, count, .. } => (0..*count)
                .map(|node| (port + 40 + 3 * worker + node, port + 20 + 3 * worker + node))
                .collect(),
            Brokers::Embedded { .. } => Vec::new(),
        }
    }

    /// What and which version, for the figures.
    pub fn version(&self) -> String {
        match self {
            Brokers::Real { count, .. } => {
                let version = std::env::var("SAKIA_KAFKA_VERSION").unwrap_or_else(|_| "4.3.1".into());
                format!("Apache Kafka {version}, {count} broker(s)")
            }
            Brokers::Embedded { .. } => format!("sakia-broker {}", env!("CARGO_PKG_VERSION")),
        }
    }

    /// Their processes that run, and their data, for whoever watches what grows.
    pub fn places(&self) -> Vec<(String, Place)> {
        match self {
            Brokers::Real { count, folder, .. } => {
                let brokers =
                    (1..=*count).map(|node| (format!("broker {node}"), folder.join(format!("node-{node}"))));
                let apart =
                    (*count == 1).then(|| ("the controller".to_string(), folder.join("node-controller")));
                brokers.chain(apart).flat_map(|(name, node)| places_of_node(&name, &node)).collect()
            }
            Brokers::Embedded { folder, child, .. } => {
                let process = child.as_ref().map(|child| Place::Kafkas(child.id()));
                let data = Place::Data(folder.clone());
                process.into_iter().chain([data]).map(|place| ("the broker".to_string(), place)).collect()
            }
        }
    }

    /// SIGKILL.
    pub fn kill(&mut self, node: u16) -> Result<()> {
        match self {
            Brokers::Real { port, .. } => script(*port, &["kill", &(node + 1).to_string()]),
            Brokers::Embedded { child, .. } => {
                if let Some(mut child) = child.take() {
                    child.kill()?;
                    child.wait()?;
                }
                Ok(())
            }
        }
    }

    /// Starts a killed one again, and waits until it answers.
    pub fn revive(&mut self, node: u16) -> Result<()> {
        match self {
            Brokers::Real { port, .. } => script(*port, &["revive", &(node + 1).to_string()]),
            Brokers::Embedded { program, folder, port, child } => {
                *child = Some(spawn_embedded(program, folder, *port)?);
                Ok(())
            }
        }
    }

    /// Starts all of them again at once: none of several answers before a majority does.
    pub fn revive_all(&mut self) -> Result<()> {
        match self {
            Brokers::Real { port, count, .. } => std::thread::scope(|scope| {
                let port = *port;
                let revive = |node: u16| scope.spawn(move || script(port, &["revive", &node.to_string()]));
                let revived: Vec<_> = (1..=*count).map(revive).collect();
                revived.into_iter().try_for_each(|node| match node.join() {
                    Ok(result) => result,
                    Err(_) => bail!("a broker's revival panicked"),
                })
            }),
            Brokers::Embedded { .. } => self.revive(0),
        }
    }

    /// SIGSTOP: it holds its connections and answers nobody.
    pub fn pause(&mut self, node: u16) -> Result<()> {
        match self {
            Brokers::Real { port, .. } => script(*port, &["pause", &(node + 1).to_string()]),
            Brokers::Embedded { child, .. } => signal_child(child.as_ref(), Signal::SIGSTOP),
        }
    }

    /// SIGCONT.
    pub fn resume(&mut self, node: u16) -> Result<()> {
        match self {
            Brokers::Real { port, .. } => script(*port, &["resume", &(node + 1).to_string()]),
            Brokers::Embedded { child, .. } => signal_child(child.as_ref(), Signal::SIGCONT),
        }
    }
}

impl Drop for Brokers {
    fn drop(&mut self) {
        match self {
            Brokers::Real { port, .. } => {
                if let Err(error) = script(*port, &["stop", "--discard"]) {
                    eprintln!("the Kafka on port {port} could not be stopped: {error:#}");
                }
            }
            // Already ended is as good as killed.
            Brokers::Embedded { .. } => drop(self.kill(0)),
        }
    }
}

/// `integration/kafka` notes the process of a node while it runs, with its start time behind.
fn places_of_node(name: &str, node: &Path) -> Vec<(String, Place)> {
    let noted = std::fs::read_to_string(node.join("pid")).unwrap_or_default();
    let process = noted.split_ascii_whitespace().next().and_then(|id| id.parse().ok()).map(Place::Kafkas);
    let data = Place::Data(node.join("log"));
    process.into_iter().chain([data]).map(|place| (name.to_string(), place)).collect()
}

fn signal_child(child: Option<&Child>, signal: Signal) -> Result<()> {
    let child = child.context("the broker does not run")?;
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id())?);
    Ok(nix::sys::signal::kill(pid, signal)?)
}

/// A program that was built together with this one.
pub fn sibling(name: &str) -> Result<PathBuf> {
    let path = std::env::current_exe()?.with_file_name(name);
    if !path.exists() {
        bail!("{} is not there: build it with `cargo build -p sakia-integration --bins`", path.display());
    }
    Ok(path)
}

fn spawn_embedded(program: &Path, folder: &Path, port: u16) -> Result<Child> {
    // The port of a killed predecessor is free only when the kernel says so.
    until("the embedded broker starts", START_DEADLINE, || {
        let mut child = Command::new(program)
            .arg(port.to_string())
            .arg(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let output = child.stdout.take().context("the broker process has no output")?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        if line.trim().parse::<u16>().is_ok() {
            return Ok(Some(child));
        }
        // It ends by itself.
        let _ = child.wait();
        Ok(None)
    })
}
