//! Everything that a scenario can reach: brokers, proxies, workers, load, clocks, and the seed that it draws from.

use super::audit::Audit;
use super::brokers::{Brokers, sibling};
use super::commands::Follower;
use super::effects;
use super::faults::Faults;
use super::growth::{Growth, Place};
use super::ledger::{Ledger, Wrong};
use super::load::Load;
use super::lock::lock;
use super::options::Options;
use super::proxy::{self, Link, Rule, Traffic};
use super::verdict::commit;
use super::worker::{FENCED_MEMBER, Setting, WORKERS, Worker};
use crate::kit::{Cluster, Isolation};
use anyhow::{Context, Result, bail};
use rand::SeedableRng;
use rand::rngs::StdRng;
use rdkafka::consumer::Consumer as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

/// The run is given up when something that waits for nobody is this old, not counting the time that Kafka was away.
const STUCK: Duration = Duration::from_secs(300);
const ANSWER_WITHIN: Duration = Duration::from_secs(20);
const TEND_EVERY: Duration = Duration::from_millis(50);
/// How long an init system waits before it starts a process again that ended by itself.
const RESTART_PAUSE: Duration = Duration::from_millis(500);
const STOP_PATIENCE: Duration = Duration::from_secs(20);
/// Small enough that segments are compacted within a run of minutes.
const SEGMENT_BYTES: &str = "2097152";

/// The stage.
pub struct Stage {
    /// What the run was asked for.
    pub options: Options,
    /// What is tested.
    pub commit: String,
    /// Where everything is kept.
    pub folder: PathBuf,
    /// Where all faults are drawn from.
    pub rng: StdRng,
    /// The fault log.
    pub faults: Arc<Faults>,
    /// The judge.
    pub ledger: Arc<Mutex<Ledger>>,
    /// The load.
    pub load: Arc<Load>,
    /// The brokers.
    pub brokers: Brokers,
    /// The brokers, past the proxies.
    pub cluster: Cluster,
    /// The way of each worker to each broker; empty on the embedded broker.
    pub links: Vec<Vec<Arc<Link>>>,
    /// What passed through them.
    pub traffic: Arc<Traffic>,
    /// The three processes.
    pub workers: Vec<Worker>,
    /// What every process is told.
    pub setting: Setting,
    /// What was used meanwhile.
    pub growth: Growth,
    interrupted: Arc<AtomicBool>,
    _runtime: Runtime,
}

impl Stage {
    /// Starts brokers, proxies and workers.
    pub fn set(options: &Options, folder: &Path, seed: u64) -> Result<Self> {
        let runtime = Runtime::new()?;
        let lanes = usize::try_from(options.lanes)?;
        let faults = Arc::new(Faults::new(&folder.join("faults.jsonl"), lanes)?);
        let ledger = Arc::new(Mutex::new(Ledger::new(faults.clone())?));
        let brokers = Brokers::start(options, folder)?;
        let cluster = brokers.cluster();
        let setting = make_topics(&cluster, options.lanes, &runtime, &ledger)?;
        let (traffic, mut links) = (Arc::new(Traffic::default()), Vec::new());
        for worker in 0..WORKERS {
            let ports = brokers.proxied(worker).into_iter();
            let opened: Result<Vec<_>> = ports
                .map(|(port, upstream)| runtime.block_on(proxy::open(port, upstream, traffic.clone())))
                .collect();
            links.push(opened?);
        }
        let load = Arc::new(Load::new(&cluster, &setting.app, options.rate, &ledger)?);
        let mut stage = Stage {
            options: options.clone(),
            commit: commit(),
            folder: folder.into(),
            rng: StdRng::seed_from_u64(seed),
            faults,
            ledger,
            load,
            brokers,
            cluster,
            links,
            traffic,
            workers: Vec::new(),
            setting,
            growth: Growth::default(),
            interrupted: Arc::default(),
            _runtime: runtime,
        };
        for worker in 0..WORKERS {
            let mut worker = stage.new_worker(&format!("w{}", worker + 1), worker, true);
            worker.start()?;
            stage.workers.push(worker);
        }
        stage.end_on_signals();
        Ok(stage)
    }

    /// A place for a process that goes through the links of `worker`.
    pub fn new_worker(&self, id: &str, worker: u16, is_static: bool) -> Worker {
        let ports = self.brokers.proxied(worker);
        let bootstrap = if ports.is_empty() {
            self.cluster.bootstrap().to_string()
        } else {
            ports.iter().map(|(port, _)| format!("127.0.0.1:{port}")).collect::<Vec<_>>().join(",")
        };
        Worker::new(&self.setting, id, is_static, &bootstrap, &self.folder, &self.faults)
    }

    /// A run that is interrupted ends its processes and prints what it has.
    fn end_on_signals(&self) {
        let flag = self.interrupted.clone();
        self._runtime.spawn(async move {
            use tokio::signal::unix::{SignalKind, signal};
            let (Ok(mut term), Ok(mut int)) =
                (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
            else {
                return;
            };
            tokio::select! { _ = term.recv() => {}, _ = int.recv() => {} }
            flag.store(true, Ordering::SeqCst);
        });
    }

    /// Lets time pass: the schedule of the faults. Processes that end by themselves are started again meanwhile.
    pub fn pass(&mut self, length: Duration) -> Result<()> {
        let began = Instant::now();
        loop {
            self.tend()?;
            if began.elapsed() >= length {
                return Ok(());
            }
            // Time is what passes here; nothing is waited for.
            std::thread::sleep(TEND_EVERY.min(length));
        }
    }

    /// Lets time pass until `holds`, at most `most`; whether it held.
    pub fn pass_until(&mut self, most: Duration, mut holds: impl FnMut(&mut Self) -> bool) -> Result<bool> {
        let began = Instant::now();
        while began.elapsed() < most {
            if holds(self) {
                return Ok(true);
            }
            self.pass(TEND_EVERY)?;
        }
        Ok(holds(self))
    }

    fn tend(&mut self) -> Result<()> {
        if self.interrupted.load(Ordering::SeqCst) {
            bail!("interrupted");
        }
        for worker in &mut self.workers {
            match worker.revive_if_ended(RESTART_PAUSE)? {
                Some(why) if why.contains(FENCED_MEMBER) => {
                    self.faults.path("a worker that Kafka took for another of its name was started again");
                }
                Some(why) => lock(&self.ledger).accuse(Wrong::Stuck, &why),
                None => {}
            }
        }
        if self.growth.is_due() {
            self.look_at_growth();
        }
        let mut ledger = lock(&self.ledger);
        let oldest = ledger.oldest_open();
        if oldest > STUCK {
            let open = ledger.list_open(5).join("; ");
            ledger.accuse(Wrong::Stuck, &format!("something is {} s old: {open}", oldest.as_secs()));
            bail!("stuck");
        }
        Ok(())
    }

    fn look_at_growth(&mut self) {
        let mut places = self.brokers.places();
        places.push(("the campaign".into(), Place::Ours(std::process::id())));
        for worker in &self.workers {
            places.extend(worker.process().map(|id| (worker.id.clone(), Place::Ours(id))));
            places.push((worker.id.clone(), Place::State(worker.state.clone())));
        }
        let ended = {
            let ledger = lock(&self.ledger);
            ledger.workflows() + ledger.alarms_fired()
        };
        self.growth.look(places, ended);
    }

    /// Waits for others than the workers, which have been stopped and stay so; whether it held.
    pub fn pass_without_workers(&self, most: Duration, mut holds: impl FnMut() -> bool) -> Result<bool> {
        let began = Instant::now();
        while began.elapsed() < most && !holds() {
            if self.interrupted.load(Ordering::SeqCst) {
                bail!("interrupted");
            }
            // Between two looks at the log of a process.
            std::thread::sleep(TEND_EVERY);
        }
        Ok(holds())
    }

    /// From now on until every lane has ended a job that was not yet started is a recovery.
    pub fn watch(&self, kind: &'static str) {
        let next = lock(&self.ledger).jobs.next();
        self.faults.watch(kind, next);
    }

    /// Arms a rule on all ways of a worker; tells how many rules had struck there before.
    pub fn arm(&self, worker: usize, rule: Rule) -> u64 {
        for link in &self.links[worker] {
            link.arm(rule);
        }
        self.struck(worker)
    }

    /// How many rules have struck on the ways of a worker.
    pub fn struck(&self, worker: usize) -> u64 {
        self.links[worker].iter().map(|link| link.struck()).sum()
    }

    /// From now on the time of some lane is not the machine's.
    pub fn clocks_differ(&self) {
        lock(&self.ledger).clocks_differ = true;
    }

    /// Until [`Stage::kafka_is_back`] nothing can end, and nothing is late.
    pub fn kafka_is_away(&self) {
        lock(&self.ledger).clock.stop();
    }

    /// Things are late again.
    pub fn kafka_is_back(&self) {
        lock(&self.ledger).clock.go_on();
    }

    /// Alarms of a bomb that have not fired.
    pub fn bomb_open(&self) -> u64 {
        lock(&self.ledger).bomb_open()
    }

    /// Where each lane's commands end now.
    pub fn command_ends(&self) -> Result<Vec<i64>> {
        let topic = format!("{}.commands", self.setting.app);
        let observer = self.cluster.reader(&topic, &[], Isolation::Uncommitted)?;
        let end = |lane| Ok(observer.fetch_watermarks(&topic, lane, ANSWER_WITHIN)?.1);
        (0..self.options.lanes).map(end).collect()
    }

    /// How far the lanes say that they are, once a second.
    fn commands_taken(&self) -> Result<Vec<i64>> {
        let (app, topic) = (&self.setting.app, format!("{}.commands", self.setting.app));
        self.cluster.partition_offsets(app, &topic, self.options.lanes)
    }

    /// Whether all lanes have come to these ends.
    pub fn are_taken(&self, ends: &[i64]) -> Result<bool> {
        Ok(self.commands_taken()?.iter().zip(ends).all(|(taken, end)| taken >= end))
    }

    /// How many commands the lanes have before them.
    pub fn lag(&self) -> Result<i64> {
        let (taken, ends) = (self.commands_taken()?, self.command_ends()?);
        Ok(ends.iter().sum::<i64>() - taken.iter().sum::<i64>())
    }

    /// Alarms that have not fired.
    pub fn alarms_open(&self) -> u64 {
        lock(&self.ledger).alarms.open()
    }

    /// Everything that was started and needs nobody has ended.
    pub fn is_idle(&self) -> bool {
        let ledger = lock(&self.ledger);
        ledger.open() == ledger.accounts.open()
    }

    /// All links as on a good day, all workers and brokers awake.
    pub fn heal(&mut self) -> Result<()> {
        for link in self.links.iter().flatten() {
            link.heal();
        }
        for worker in &self.workers {
            worker.resume()?;
        }
        Ok(())
    }

    /// SIGTERM to all workers.
    pub fn stop_workers(&mut self) -> Result<()> {
        for worker in &mut self.workers {
            worker.stop(STOP_PATIENCE)?;
        }
        Ok(())
    }

    /// Follows the commands.
    pub fn follower(&self) -> Result<Follower> {
        Follower::new(&self.cluster, &self.setting.app, self.options.lanes, &self.ledger)
    }

    /// Follows the out topic and the dead letters.
    pub fn audits(&self) -> Result<[Audit; 2]> {
        let (lanes, ledger) = (self.options.lanes, &self.ledger);
        let dlq = format!("{}.dlq", self.setting.app);
        Ok([
            Audit::new(&self.cluster, &self.setting.out, lanes, ledger, Ledger::saw)?,
            Audit::new(&self.cluster, &dlq, lanes, ledger, Ledger::saw_letter)?,
        ])
    }

    /// Counts the lanes whose facts and whose commands were trimmed behind their checkpoints.
    pub fn note_trimmed(&self) -> Result<()> {
        for (part, path) in [("journal", "lane's journal trimmed"), ("commands", "lane's commands trimmed")] {
            for lane in 0..self.options.lanes {
                if self.cluster.watermarks(&format!("{}.{part}", self.setting.app), lane)?.0 > 0 {
                    self.faults.path(path);
                }
            }
        }
        Ok(())
    }

    /// The group's lag on the commands, and transactions that are open though nobody runs.
    pub fn loose_ends(&self) -> Result<Vec<String>> {
        let mut ends = Vec::new();
        let app = &self.setting.app;
        let topics =
            ["commands", "journal", "changelog", "replies", "dlq"].map(|part| format!("{app}.{part}"));
        for topic in topics.iter().chain([&self.setting.out]) {
            for lane in 0..self.options.lanes {
                let stable = self.cluster.last_offset(topic, lane, Isolation::Committed)?;
                let end = self.cluster.last_offset(topic, lane, Isolation::Uncommitted)?;
                if stable < end {
                    ends.push(format!(
                        "{topic} {lane}: a transaction is open from {stable}, the end is {end}"
                    ));
                }
            }
        }
        let commands = &topics[0];
        for lane in 0..self.options.lanes {
            let reading = self.cluster.read_last(commands, lane)?;
            let done = self.cluster.partition_offset(app, commands, lane)?.unwrap_or(0);
            if done < reading {
                ends.push(format!("{commands} {lane}: the group is at {done}, the last record at {reading}"));
            }
        }
        Ok(ends)
    }
}

fn make_topics(
    cluster: &Cluster,
    lanes: i32,
    runtime: &Runtime,
    ledger: &Arc<Mutex<Ledger>>,
) -> Result<Setting> {
    let app = cluster.unique("campaign");
    let changelog = [
        ("min.compaction.lag.ms", "15000"),
        ("min.cleanable.dirty.ratio", "0.05"),
        ("segment.bytes", SEGMENT_BYTES),
        ("segment.ms", "20000"),
    ];
    let out = crate::app::make_topics(cluster, &app, lanes, &changelog)?;
    let ledger = ledger.clone();
    let effects = runtime.block_on(effects::listen(move |key, body| lock(&ledger).heard(key, body)))?;
    let program = sibling("worker").context("the worker program")?;
    Ok(Setting { program, app, out, effects })
}
