//! Brokers and group members in processes of their own, so that a test can kill them.
//!
//! Every child ends when its standard input closes, so none outlives a test run that is itself killed.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;

use crate::kit::{Cluster, until};
use crate::target::real_bootstrap;

const START_DEADLINE: Duration = Duration::from_secs(60);
const EXIT_DEADLINE: Duration = Duration::from_secs(30);

/// A child process that is told things by lines and answers in lines.
struct Talker {
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
}

impl Talker {
    fn start(command: &mut Command) -> Result<Self> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("{command:?} does not start"))?;
        let input = child.stdin.take();
        let output = child.stdout.take().context("the child has no output")?;
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Ok(Self { child, input, lines })
    }

    fn say(&mut self, line: &str) -> Result<()> {
        let input = self.input.as_mut().context("the child's input is closed")?;
        Ok(writeln!(input, "{line}")?)
    }

    fn hear(&self, patience: Duration) -> Result<Option<String>> {
        match self.lines.recv_timeout(patience) {
            Ok(line) => Ok(Some(line)),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => bail!("the child has ended"),
        }
    }

    /// SIGKILL: the process gets no chance to say or write anything.
    fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    fn await_exit(&mut self) -> Result<()> {
        let status = until("the child ends", EXIT_DEADLINE, || Ok(self.child.try_wait()?))?;
        ensure!(status.success(), "the child ended with {status}");
        Ok(())
    }
}

impl Drop for Talker {
    fn drop(&mut self) {
        // Already ended is as good as killed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A broker that belongs to one test and can be killed and started again on the same port and data.
pub struct KillableBroker {
    kind: Kind,
    cluster: Cluster,
}

enum Kind {
    Embedded { program: PathBuf, folder: TempDir, port: u16, child: Talker },
    Real { port: u16, _turn: MutexGuard<'static, ()> },
}

/// One Kafka beside the one under test is enough for a small machine.
static REAL_KAFKA_TURN: Mutex<()> = Mutex::new(());

impl KillableBroker {
    /// Starts one with no data, of the same kind as the tests' target. `program` is the `broker_process` binary.
    pub fn start(program: &Path) -> Result<Self> {
        if real_bootstrap().is_some() {
            return Self::start_real();
        }
        let folder = TempDir::new()?;
        let (child, port) = start_embedded(program, folder.path(), 0)?;
        let kind = Kind::Embedded { program: program.to_owned(), folder, port, child };
        Ok(Self { kind, cluster: Cluster::new(format!("127.0.0.1:{port}")) })
    }

    fn start_real() -> Result<Self> {
        let turn = REAL_KAFKA_TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let port = free_kafka_port()?;
        // A killed broker comes back when its session is over: 9 s unless told otherwise.
        let session =
            ["--set", "broker.session.timeout.ms=2000", "--set", "broker.heartbeat.interval.ms=500"];
        run_kafka_script(port, &[["start", "--fresh", "--fast", "--apart"].as_slice(), &session].concat())?;
        let kind = Kind::Real { port, _turn: turn };
        Ok(Self { kind, cluster: Cluster::new(format!("127.0.0.1:{port}")) })
    }

    /// The broker as its clients see it, before and after a restart.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Kills the broker's process without warning, and starts it again on the data that this left behind.
    pub fn kill_and_restart(&mut self) -> Result<()> {
        match &mut self.kind {
            Kind::Embedded { program, folder, port, child } => {
                child.kill()?;
                (*child, _) = start_embedded(program, folder.path(), *port)?;
            }
            Kind::Real { port, .. } => {
                run_kafka_script(*port, &["kill", "1"])?;
                run_kafka_script(*port, &["revive", "1"])?;
            }
        }
        Ok(())
    }
}

impl Drop for KillableBroker {
    fn drop(&mut self) {
        if let Kind::Real { port, .. } = &self.kind
            && let Err(error) = run_kafka_script(*port, &["stop", "--discard"])
        {
            eprintln!("the Kafka on port {port} could not be stopped: {error:#}");
        }
    }
}

fn start_embedded(program: &Path, folder: &Path, port: u16) -> Result<(Talker, u16)> {
    let child = Talker::start(Command::new(program).arg(port.to_string()).arg(folder))?;
    let line = child.hear(START_DEADLINE)?.context("the broker process says nothing")?;
    let port = line.parse().with_context(|| format!("the broker process says {line:?}, not its port"))?;
    Ok((child, port))
}

/// A port that is free now, and whose tenth successor is: that is where `integration/kafka` puts the controller.
fn free_kafka_port() -> Result<u16> {
    until("two free ports", START_DEADLINE, || {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let controller = port.checked_add(10);
        Ok(controller.and_then(|controller| TcpListener::bind(("127.0.0.1", controller)).ok()).map(|_| port))
    })
}

/// The folder of this crate: by cargo, if it runs the program, as a target folder may be shared by several clones; else
/// where it was built.
pub(crate) fn home() -> PathBuf {
    std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from)
}

/// Runs `integration/kafka` on the cluster of a port.
pub(crate) fn run_kafka_script(port: u16, arguments: &[&str]) -> Result<()> {
    ask_kafka_script(port, arguments).map(drop)
}

/// The same, and returns what it says.
pub(crate) fn ask_kafka_script(port: u16, arguments: &[&str]) -> Result<String> {
    let script = home().join("kafka");
    let output = Command::new(script).args(arguments).arg("--port").arg(port.to_string()).output()?;
    ensure!(
        output.status.success(),
        "integration/kafka {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// A group member in a process of its own.
pub struct MemberProcess {
    talker: Talker,
    owned: Vec<i32>,
}

impl MemberProcess {
    /// Starts one; `program` is the `group_member` binary, the settings are those of a consumer.
    pub fn start(
        program: &Path,
        cluster: &Cluster,
        group: &str,
        topic: &str,
        settings: &[(&str, &str)],
    ) -> Result<Self> {
        let mut command = Command::new(program);
        command.args([cluster.bootstrap(), group, topic]);
        command.args(settings.iter().map(|(key, value)| format!("{key}={value}")));
        Ok(Self { talker: Talker::start(&mut command)?, owned: Vec::new() })
    }

    /// The partitions that it owns, by its latest word.
    pub fn owned(&mut self) -> Result<&[i32]> {
        while let Some(line) = self.talker.hear(Duration::ZERO)? {
            self.owned = line
                .split(',')
                .filter(|part| !part.is_empty())
                .map(str::parse)
                .collect::<Result<_, _>>()
                .with_context(|| format!("the member says {line:?}"))?;
        }
        Ok(&self.owned)
    }

    /// Kills it without warning: the group learns of it when the session is over.
    pub fn kill(mut self) -> Result<()> {
        self.talker.kill()
    }

    /// Asks it to close its consumer and end, and returns at once.
    pub fn ask_to_leave(&mut self) -> Result<()> {
        self.talker.say("leave")
    }

    /// Asks it to give its subscription up, and returns at once; the process lives on.
    pub fn ask_to_unsubscribe(&mut self) -> Result<()> {
        self.talker.say("unsubscribe")
    }

    /// Waits until it has ended in good order.
    pub fn await_exit(mut self) -> Result<()> {
        self.talker.await_exit()
    }
}
