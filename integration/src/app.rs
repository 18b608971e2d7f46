//! The `worker` app under test: its topics, its processes, its jobs, and what a reader of its output must find.

use crate::jobs::{JOB, Seen};
use crate::kit::{Cluster, Isolation, Reading, Writer, until};
use anyhow::{Context, Result, bail, ensure};
use futures::StreamExt as _;
use sakia::{Client, Config};
use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;
use tempfile::TempDir;

const MESSAGE_MAX: &str = "2097152";
const LAG_MS: &str = "3600000";
/// Results that are asked for at the same time.
const QUESTIONS_AT_ONCE: usize = 64;
const QUIET_DEADLINE: Duration = Duration::from_secs(120);

/// An app with topics of its own.
pub struct App {
    cluster: Cluster,
    program: PathBuf,
    name: String,
    out: String,
    partitions: i32,
    folder: TempDir,
    commands: Writer,
    started: u64,
}

/// One process of the app.
pub struct Worker {
    child: Child,
    /// Where its state is.
    pub state: PathBuf,
    log: PathBuf,
    /// Length of the log when it was started.
    log_start: usize,
}

/// Makes the topics of an app, and one that it writes, whose name is returned. `changelog` are settings of that topic.
pub(crate) fn make_topics(
    cluster: &Cluster,
    app: &str,
    partitions: i32,
    changelog: &[(&str, &str)],
) -> Result<String> {
    let topic = |part: &str, settings: &[(&str, &str)]| {
        let settings = [settings, &[("max.message.bytes", MESSAGE_MAX)]].concat();
        cluster.named_topic(&format!("{app}.{part}"), partitions, &settings)
    };
    topic("commands", &[("message.timestamp.type", "LogAppendTime")])?;
    topic("journal", &[("retention.ms", "-1"), ("retention.bytes", "-1")])?;
    topic("changelog", &[&[("cleanup.policy", "compact")], changelog].concat())?;
    for part in ["replies", "dlq"] {
        topic(part, &[])?;
    }
    let out = format!("{app}-out");
    cluster.named_topic(&out, partitions, &[])?;
    Ok(out)
}

impl App {
    /// Makes the topics of a new app. `program` is the `worker` binary.
    pub fn new(cluster: &Cluster, program: &str, partitions: i32) -> Result<Self> {
        let name = cluster.unique("app");
        let out = make_topics(cluster, &name, partitions, &[("min.compaction.lag.ms", LAG_MS)])?;
        Ok(App {
            cluster: cluster.clone(),
            program: program.into(),
            name,
            out,
            partitions,
            folder: TempDir::new()?,
            commands: cluster.writer(&[("partitioner", "murmur2_random")])?,
            started: 0,
        })
    }

    /// Starts a process. Processes of one `id` are the same static member and have the same state folder.
    pub fn worker(&self, id: &str, environment: &[(&str, &str)]) -> Result<Worker> {
        self.worker_at(id, &self.folder.path().join(id), environment)
    }

    /// Starts a process whose state is in another folder.
    pub fn worker_at(&self, id: &str, state: &Path, environment: &[(&str, &str)]) -> Result<Worker> {
        let log = self.folder.path().join(format!("{id}.log"));
        let log_start = std::fs::read(&log).map_or(0, |text| text.len());
        let output = File::options().create(true).append(true).open(&log)?;
        let mut command = Command::new(&self.program);
        command
            .env("SAKIA_BROKERS", self.cluster.bootstrap())
            .env("SAKIA_STATE_DIR", state)
            .env("SAKIA_INSTANCE_ID", id)
            .env("WORKER_APP", &self.name)
            .env("WORKER_OUT", &self.out)
            .env("NO_COLOR", "1")
            .env("RUST_BACKTRACE", "0")
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output);
        for (key, value) in environment {
            // An empty value takes the variable away.
            if value.is_empty() {
                command.env_remove(key)
            } else {
                command.env(key, value)
            };
        }
        let child = command.spawn().with_context(|| format!("{} does not start", self.program.display()))?;
        Ok(Worker { child, state: state.to_owned(), log, log_start })
    }

    /// Its name, which is its consumer group.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The topic that its jobs write.
    pub fn out(&self) -> &str {
        &self.out
    }

    /// Number of its lanes.
    pub fn partitions(&self) -> Vec<i32> {
        (0..self.partitions).collect()
    }

    /// The folder for whatever belongs to this app.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Jobs started so far.
    pub fn started(&self) -> u64 {
        self.started
    }

    /// Starts so many jobs more, each with the signal that it waits for, as any producer would.
    pub fn start_jobs(&mut self, count: u64) -> Result<()> {
        for n in self.started..self.started + count {
            let (key, value) = (format!("job-{n}"), n.to_string());
            let topic = format!("{}.commands", self.name);
            let workflow = ("sakia-workflow", "job");
            self.commands.put_keyed(&topic, &key, &value, &[("sakia-kind", "start"), workflow])?;
            let signal = [("sakia-kind", "signal"), workflow, ("sakia-name", "go")];
            self.commands.put_keyed(&topic, &key, &value, &signal)?;
        }
        self.started += count;
        Ok(())
    }

    /// Sends one record to the commands topic.
    pub fn command(&mut self, key: &str, value: &str, headers: &[(&str, &str)]) -> Result<()> {
        self.commands.put_keyed(&format!("{}.commands", self.name), key, value, headers)
    }

    /// Reads a topic of the app from its beginning, committed.
    pub fn read(&self, topic: &str) -> Result<Reading> {
        self.cluster.read(topic, &self.partitions(), Isolation::Committed)
    }

    /// Waits until every job that was started has written that it ended.
    pub fn until_all_ended(&self, deadline: Duration) -> Result<()> {
        let wanted = self.started;
        until("all jobs end", deadline, || {
            let ended = self.read(&self.out)?.values().iter().filter(|v| v.contains("\"ended\"")).count();
            // The reading itself takes long enough for this to be no busy loop.
            Ok((ended as u64 >= wanted).then_some(()))
        })
    }

    /// Waits until a process says that it has taken a lane over.
    pub fn until_taken_over(&self, worker: &Worker) -> Result<()> {
        until("a lane is taken over", QUIET_DEADLINE, || {
            Ok(worker.log_since_start().contains("lane taken over").then_some(()))
        })
    }

    /// What every reader of the output must find: each job began once and ended once, with one and the same token, not
    /// before its sleep was over, with its own signal and its child's result.
    pub fn check_output(&self, reading: &Reading) -> Result<()> {
        let mut began: BTreeMap<u64, Seen> = BTreeMap::new();
        let mut ended: BTreeMap<u64, Seen> = BTreeMap::new();
        for value in reading.values() {
            let seen: Seen = serde_json::from_str(value)?;
            let stage = match seen.stage.as_str() {
                "began" => &mut began,
                "ended" => &mut ended,
                other => bail!("a record of stage {other:?}"),
            };
            let n = seen.n;
            if let Some(earlier) = stage.insert(n, seen) {
                bail!("job {n} has two records of one stage, the first is {earlier:?}");
            }
        }
        for n in 0..self.started {
            let first = began.get(&n).with_context(|| format!("job {n} never began"))?;
            let last = ended.get(&n).with_context(|| format!("job {n} never ended"))?;
            ensure!(first.token == last.token, "job {n}: a recorded result changed: {first:?}, {last:?}");
            ensure!(last.slept_ms >= last.asked_ms, "job {n}: its timer was early: {last:?}");
            ensure!(last.go == n && last.leaf == 2 * n, "job {n}: {last:?}");
        }
        ensure!(ended.len() as u64 == self.started, "records of jobs that nobody started");
        Ok(())
    }

    /// Asks the app itself for the result of every job: each has completed, with the token that its records carry.
    pub fn check_results(&self) -> Result<()> {
        let reading = self.read(&self.out)?;
        let mut tokens = BTreeMap::new();
        for value in reading.values() {
            let seen: Seen = serde_json::from_str(value)?;
            tokens.insert(seen.n, seen.token);
        }
        let mut config = Config::default();
        config.brokers = self.cluster.bootstrap().to_string();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        runtime.block_on(async {
            let client = Client::connect(&self.name, &config).await?;
            let ask = |n: u64| {
                let job = client.workflow(JOB, format!("job-{n}"));
                async move {
                    let done = job.result().await.map_err(|e| anyhow::anyhow!("result of job {n}: {e}"))?;
                    anyhow::Ok((n, done))
                }
            };
            let mut results =
                futures::stream::iter(0..self.started).map(ask).buffer_unordered(QUESTIONS_AT_ONCE);
            while let Some(result) = results.next().await {
                let (n, done) = result?;
                ensure!(
                    tokens.get(&n) == Some(&done.token),
                    "job {n} says {done:?}, its records {:?}",
                    tokens.get(&n)
                );
                ensure!(done.leaf == 2 * n, "job {n} says {done:?}");
            }
            anyhow::Ok(())
        })
    }

    /// Waits until the group has no lag.
    pub fn until_quiet(&self) -> Result<()> {
        let commands = format!("{}.commands", self.name);
        for partition in self.partitions() {
            until(&format!("lane {partition} has no lag"), QUIET_DEADLINE, || {
                let end = self.last_committed(&commands, partition)?;
                let done = self.cluster.partition_offset(&self.name, &commands, partition)?.unwrap_or(0);
                Ok((done >= end).then_some(()))
            })?;
        }
        Ok(())
    }

    /// One past the last committed record of a partition; what follows are control records.
    fn last_committed(&self, topic: &str, partition: i32) -> Result<i64> {
        let reading = self.cluster.read(topic, &[partition], Isolation::Committed)?;
        Ok(reading.records.last().map_or(0, |r| r.offset + 1))
    }

    /// Whether a transaction is open on any of the app's topics: then a committed reader stops short of an uncommitted
    /// one.
    pub fn open_transactions(&self) -> Result<Vec<String>> {
        let mut open = Vec::new();
        let parts = ["commands", "journal", "changelog", "replies", "dlq"];
        let topics = parts.iter().map(|part| format!("{}.{part}", self.name)).chain([self.out.clone()]);
        for topic in topics {
            for partition in self.partitions() {
                let stable = self.cluster.last_offset(&topic, partition, Isolation::Committed)?;
                let end = self.cluster.last_offset(&topic, partition, Isolation::Uncommitted)?;
                if stable < end {
                    open.push(format!("{topic} {partition}: stable to {stable}, ends at {end}"));
                }
            }
        }
        Ok(open)
    }
}

impl Worker {
    /// SIGKILL: the process gets no chance to say or write anything.
    pub fn kill_now(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// SIGTERM; does not wait.
    pub fn ask_to_stop(&mut self) -> Result<()> {
        let pid = i32::try_from(self.child.id())?;
        let status = Command::new("kill").arg(pid.to_string()).status()?;
        ensure!(status.success(), "the worker cannot be told to stop");
        Ok(())
    }

    /// SIGTERM, and waits until it has ended.
    pub fn stop(mut self, deadline: Duration) -> Result<ExitStatus> {
        self.ask_to_stop()?;
        until("the worker ends", deadline, || Ok(self.child.try_wait()?))
    }

    /// Its exit status, once it has ended by itself.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// What this process has logged.
    fn log_since_start(&self) -> String {
        let text = self.log();
        text.get(self.log_start..).unwrap_or_default().to_string()
    }

    /// What it has logged so far (all processes of one id write one file).
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // Already ended is as good as killed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
