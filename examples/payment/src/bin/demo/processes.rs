//! The processes of the demo. Each is known by its process id, writes to a log of its own, and ends with the demo.

use anyhow::{Context, Result, bail};
use std::fs::File;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Names a Kafka to run on instead of the embedded broker. It must have none of the demo's topics yet.
const BROKERS_VARIABLE: &str = "PAYMENT_DEMO_BROKERS";
const PARTITIONS: u16 = 4;
const START_TIMEOUT: Duration = Duration::from_secs(20);
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// Where everything lives: folder, programs, ports.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) dir: PathBuf,
    programs: PathBuf,
    broker: Broker,
    provider_port: u16,
}

/// Where Kafka is.
#[derive(Debug)]
enum Broker {
    /// Ours, on this port.
    Embedded(u16),
    /// Somebody else's, at this address.
    Given(String),
}

impl Stage {
    /// A stage in a folder, with free ports.
    pub(crate) fn set(dir: &Path) -> Result<Self> {
        let programs = std::env::current_exe()?.parent().context("this program has no folder")?.to_path_buf();
        // Both are held until both are known, so that they differ.
        let (a, b) = (TcpListener::bind("127.0.0.1:0")?, TcpListener::bind("127.0.0.1:0")?);
        let (broker_port, provider_port) = (a.local_addr()?.port(), b.local_addr()?.port());
        let broker = match std::env::var(BROKERS_VARIABLE) {
            Ok(brokers) if !brokers.is_empty() => Broker::Given(brokers),
            _ => Broker::Embedded(broker_port),
        };
        Ok(Stage { dir: dir.to_path_buf(), programs, broker, provider_port })
    }

    pub(crate) fn bootstrap(&self) -> String {
        match &self.broker {
            Broker::Embedded(port) => format!("127.0.0.1:{port}"),
            Broker::Given(brokers) => brokers.clone(),
        }
    }

    pub(crate) fn ledger(&self) -> PathBuf {
        self.dir.join("ledger.jsonl")
    }

    /// Starts the embedded broker, unless a Kafka was named.
    pub(crate) async fn start_broker(&self) -> Result<Option<Process>> {
        let Broker::Embedded(port) = self.broker else { return Ok(None) };
        let mut command = self.command("sakia");
        command.arg("dev").args(["--port", &port.to_string()]).arg("--dir").arg(self.dir.join("broker"));
        let mut broker = Process::start("broker", command, &self.dir)?;
        broker.await_port(port).await?;
        Ok(Some(broker))
    }

    pub(crate) async fn start_provider(&self) -> Result<Process> {
        let mut command = self.command("payment-provider");
        command
            .env("PROVIDER_LISTEN", format!("127.0.0.1:{}", self.provider_port))
            .env("PROVIDER_LEDGER", self.ledger());
        let mut provider = Process::start("provider", command, &self.dir)?;
        provider.await_port(self.provider_port).await?;
        Ok(provider)
    }

    /// A process of the app. `name` gives it a state folder of its own, which it finds again after a restart.
    pub(crate) fn start_app(&self, name: &str) -> Result<Process> {
        let mut command = self.app(name);
        command.arg("serve");
        Process::start(name, command, &self.dir)
    }

    /// Creates the topics that the app itself needs.
    pub(crate) fn create_app_topics(&self) -> Result<()> {
        let mut command = self.app("topics");
        command.args(["topics", "init"]);
        let output = command.stdin(Stdio::null()).output().context("payments topics init")?;
        if !output.status.success() {
            bail!("payments topics init: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(())
    }

    fn app(&self, name: &str) -> Command {
        let mut command = self.command("payments");
        command
            .env("SAKIA_BROKERS", self.bootstrap())
            .env("SAKIA_PARTITIONS", PARTITIONS.to_string())
            .env("SAKIA_REPLICATION", "1")
            .env("SAKIA_STATE_DIR", self.dir.join(name))
            .env("PROVIDER_URL", format!("http://127.0.0.1:{}", self.provider_port));
        command
    }

    fn command(&self, program: &str) -> Command {
        Command::new(self.programs.join(program))
    }
}

/// A child process. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    fn start(name: &str, mut command: Command, dir: &Path) -> Result<Self> {
        let log = dir.join(format!("{name}.log"));
        let out = File::options().create(true).append(true).open(&log)?;
        command.stdin(Stdio::null()).stdout(out.try_clone()?).stderr(out);
        let program = command.get_program().to_string_lossy().into_owned();
        let child = command.spawn().with_context(|| format!("starting {program}; was it built?"))?;
        Ok(Process { name: name.to_string(), child, log })
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    async fn await_port(&mut self, port: u16) -> Result<()> {
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let deadline = Instant::now() + START_TIMEOUT;
        while TcpStream::connect(address).is_err() {
            self.check_alive()?;
            if Instant::now() > deadline {
                bail!("{} does not answer on port {port}; its log is {}", self.name, self.log.display());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// Fails if the process has ended by itself, with the end of its log.
    pub(crate) fn check_alive(&mut self) -> Result<()> {
        let Some(status) = self.child.try_wait()? else { return Ok(()) };
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        let last = lines[lines.len().saturating_sub(8)..].join("\n  ");
        bail!(
            "{} ended by itself ({status}); the end of its log {}:\n  {last}",
            self.name,
            self.log.display()
        );
    }

    /// The last errors in its log.
    pub(crate) fn complaints(&self) -> Vec<String> {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let errors: Vec<_> = log.lines().filter(|line| line.contains("ERROR")).collect();
        errors[errors.len().saturating_sub(3)..]
            .iter()
            .map(|line| format!("  {}: {line}", self.name))
            .collect()
    }

    /// `kill -9`: no chance to tidy up.
    pub(crate) fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Asks it to end (SIGTERM) and waits until it has.
    pub(crate) async fn stop(mut self) -> Result<()> {
        // The shell's own `kill`: the program of that name is not on every system.
        Command::new("sh").args(["-c", &format!("kill -TERM {}", self.id())]).status()?;
        let deadline = Instant::now() + STOP_TIMEOUT;
        while self.child.try_wait()?.is_none() {
            if Instant::now() > deadline {
                bail!("{} does not end when it is asked to; its log is {}", self.name, self.log.display());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // An error means that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
