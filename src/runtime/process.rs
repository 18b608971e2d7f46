//! One process of an app: joins the group, and runs a lane for every partition that it is given.

use super::ingress_worker::IngressWorker;
use super::lane_worker::LaneWorker;
use super::measured::MeasuredLog;
use super::report::ProcessReport;
use crate::config::{Config, topics};
use crate::core::limits::Limits;
use crate::http::Server;
use crate::ingress::Binding;
use crate::lane::{LaneConfig, RestoreBudget, Topics, Turnstile};
use crate::log::kafka::{
    CommandFeed, KafkaConfig, KafkaLog, Membership, MembershipEvent, TopicPartition, partition_for,
};
use crate::log::{Log, LogError};
use crate::store::Identity;
use crate::store::rocks::RocksStores;
use crate::telemetry::Metrics;
use crate::workflow::registry::Registry;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

/// How long a take-over may wait for the log.
const FENCE_TIMEOUT: Duration = Duration::from_secs(30);
/// How long the group waits for lanes that it takes away. Well below the session timeout; a lane that needs longer is
/// fenced by the next owner.
const REVOKE_WAIT: Duration = Duration::from_secs(4);
/// How often group offsets are committed, for lag tools.
const OFFSETS_EVERY: Duration = Duration::from_secs(1);
/// Transactions of checkpoints that one process may have under way at once.
const CHECKPOINTS_AT_ONCE: usize = 2;
/// Outgoing records of a lane that wait for a checkpoint, at most.
const OUTBOX_LEN: usize = 5_000;
/// Steps and facts of a lane on their way between its code and the journal, at which commands wait.
const BUSY_STEPS: usize = 1_000;

/// What the threads of a process share.
pub(super) struct Shared {
    pub(super) app: Arc<str>,
    pub(super) kafka: KafkaConfig,
    pub(super) log: Arc<KafkaLog>,
    /// The same, as the lanes use it: counted.
    pub(super) lane_log: Arc<dyn Log>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) stores: RocksStores,
    pub(super) feed: CommandFeed,
    pub(super) topics: Topics,
    /// The lane configuration, for any partition.
    pub(super) lane: LaneConfig,
    pub(super) registry: Arc<Registry>,
    pub(super) bindings: Vec<Arc<Binding>>,
    pub(super) tokio: tokio::runtime::Handle,
    pub(super) turnstile: Arc<Turnstile>,
    /// One per lane that was ever here. See [`Shared::turn`].
    turns: Mutex<HashMap<i32, Arc<Mutex<()>>>>,
    membership: RwLock<Option<Membership>>,
}

impl Shared {
    pub(super) fn with_membership<T>(
        &self,
        ask: impl FnOnce(&Membership) -> Result<T, LogError>,
    ) -> Result<T, LogError> {
        let membership = self.membership.read().unwrap_or_else(PoisonError::into_inner);
        match &*membership {
            Some(membership) => ask(membership),
            None => Err(LogError::Unavailable(format!("group {} is not joined", self.app))),
        }
    }

    /// What the thread of a lane holds for as long as it lives. A lane that was given up before its thread had ended may
    /// come back within that time, and its store can be open only once.
    pub(super) fn turn(&self, partition: i32) -> Arc<Mutex<()>> {
        lock(&self.turns).entry(partition).or_default().clone()
    }

    pub(super) fn committed_by_group(&self, topic: &str, partition: i32) -> Result<Option<i64>, LogError> {
        self.with_membership(|m| m.committed(topic, partition))
    }
}

/// What an app brings along.
pub(super) struct Parts {
    pub(super) app: Arc<str>,
    pub(super) registry: Arc<Registry>,
    pub(super) bindings: Vec<Arc<Binding>>,
}

pub(super) enum Worker {
    Lane(LaneWorker),
    Ingress(IngressWorker),
}

impl Worker {
    fn stop(&self) {
        match self {
            Worker::Lane(lane) => lane.stop(),
            Worker::Ingress(ingress) => ingress.stop(),
        }
    }
    fn is_finished(&self) -> bool {
        match self {
            Worker::Lane(lane) => lane.is_finished(),
            Worker::Ingress(ingress) => ingress.is_finished(),
        }
    }
}

pub(super) type Workers = Mutex<HashMap<TopicPartition, Worker>>;

/// A running process. [`stop`](Self::stop) it, or the group notices its end only after the session timeout.
pub(super) struct Process {
    shared: Arc<Shared>,
    workers: Arc<Workers>,
    failed: Arc<Mutex<Option<String>>>,
    stop: Arc<AtomicBool>,
    offsets: Option<std::thread::JoinHandle<()>>,
    /// Open for as long as the process runs.
    _http: Option<Server>,
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn check_bindings(
    log: &KafkaLog,
    bindings: &[Arc<Binding>],
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    for binding in bindings {
        let topic = binding.topic;
        if log.admin().partitions(topic)?.is_none() {
            let what = format!("the topic {topic} is bound by app.stream but does not exist");
            return Err(format!("{what}: create it, then start again").into());
        }
    }
    Ok(())
}

impl Process {
    /// Checks everything that can be checked, then joins the group. Blocks.
    pub(super) fn start(
        parts: Parts,
        config: &Config,
        tokio: tokio::runtime::Handle,
    ) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        config.check()?;
        config.reach()?;
        let kafka = config.kafka_config(&parts.app);
        let log = Arc::new(KafkaLog::new(kafka.clone())?);
        let layout = topics::check(&log, &parts.app)?;
        for advice in &layout.advice {
            tracing::warn!(app = %parts.app, "{advice}");
        }
        check_bindings(&log, &parts.bindings)?;
        let identity = Identity {
            cluster_id: log.admin().cluster_id()?,
            app: parts.app.to_string(),
            partitions: layout.partitions,
            format: crate::codec::FORMAT,
        };
        let stores = RocksStores::open(config.state_dir(&parts.app), &identity)?;
        let feed = CommandFeed::open(&kafka)?;
        let topics = Topics::of(&parts.app);
        let lane = LaneConfig {
            app: parts.app.clone(),
            partition: 0,
            partitions: layout.partitions,
            reply_partitions: layout.reply_partitions,
            topics: topics.clone(),
            limits: Limits { payload_bytes: config.payload_limit_bytes, ..Limits::default() },
            partition_for,
            commit_interval: Duration::from_millis(config.commit_interval_ms),
            journal_roll: Duration::from_millis(config.journal_roll_ms),
            min_compaction_lag: Duration::from_millis(layout.min_compaction_lag_ms),
            keep_deletes: Duration::from_millis(layout.keep_deletes_ms),
            cache_bytes: config.cache_bytes,
            outbox_len: OUTBOX_LEN,
            busy_steps: BUSY_STEPS,
            restore_budget: Arc::new(RestoreBudget::new(config.restore_bytes)),
            fence_timeout: FENCE_TIMEOUT,
        };
        log.connect(&topics.changelog);
        let metrics = Arc::new(Metrics::new());
        let shared = Arc::new(Shared {
            lane_log: Arc::new(MeasuredLog::new(log.clone(), metrics.clone())),
            metrics,
            app: parts.app,
            kafka,
            log,
            stores,
            feed,
            topics,
            lane,
            registry: parts.registry,
            bindings: parts.bindings,
            tokio,
            turnstile: Arc::new(Turnstile::new(CHECKPOINTS_AT_ONCE)),
            turns: Mutex::default(),
            membership: RwLock::new(None),
        });
        Self::join(shared, config)
    }

    fn join(shared: Arc<Shared>, config: &Config) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        let workers: Arc<Workers> = Arc::default();
        let failed: Arc<Mutex<Option<String>>> = Arc::default();
        let told: Arc<AtomicBool> = Arc::default();
        let stop = Arc::new(AtomicBool::new(false));
        let report = ProcessReport {
            shared: shared.clone(),
            workers: workers.clone(),
            failed: failed.clone(),
            assigned: told.clone(),
            ending: stop.clone(),
        };
        let http = open_http(config, report)?;
        let mut names = vec![shared.topics.commands.to_string()];
        names.extend(shared.bindings.iter().map(|b| b.topic.to_string()));
        names.sort();
        names.dedup();
        let handler = follow_group(&shared, &workers, &failed, told, stop.clone());
        let session = Duration::from_millis(config.session_timeout_ms);
        // The handler may be called before this returns; the workers then wait for the membership with the lock.
        let mut slot = shared.membership.write().unwrap_or_else(PoisonError::into_inner);
        let membership = Membership::join(
            &shared.kafka,
            &shared.app,
            &names,
            config.instance_id.clone(),
            session,
            handler,
        )?;
        *slot = Some(membership);
        drop(slot);
        let offsets = {
            let (shared, workers, stop) = (shared.clone(), workers.clone(), stop.clone());
            std::thread::Builder::new()
                .name("group-offsets".into())
                .spawn(move || commit_offsets(&shared, &workers, &stop))?
        };
        Ok(Process { shared, workers, failed, stop, offsets: Some(offsets), _http: http })
    }

    /// Why the process cannot go on, if so.
    pub(super) fn failure(&self) -> Option<String> {
        lock(&self.failed).clone()
    }

    /// Ends cleanly: last checkpoints, open transactions ended, group left. Blocks, some seconds at most.
    pub(super) fn stop(mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.offsets.take() {
            thread.thread().unpark();
            if thread.join().is_err() {
                tracing::error!("the thread that commits group offsets panicked");
            }
        }
        let began = Instant::now();
        let all: Vec<TopicPartition> = lock(&self.workers).keys().cloned().collect();
        revoked(&self.workers, &all, REVOKE_WAIT);
        let lanes_ended = began.elapsed();
        let membership = self.shared.membership.write().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(membership) = membership {
            membership.leave();
        }
        tracing::info!(
            app = %self.shared.app,
            "process ended: partitions after {} ms, membership after {} ms",
            lanes_ended.as_millis(),
            began.elapsed().as_millis()
        );
    }
}

/// What the process does with the group's decisions.
fn follow_group(
    shared: &Arc<Shared>,
    workers: &Arc<Workers>,
    failed: &Arc<Mutex<Option<String>>>,
    told: Arc<AtomicBool>,
    stop: Arc<AtomicBool>,
) -> impl Fn(MembershipEvent) + Send + 'static {
    let (shared, workers, failed) = (shared.clone(), workers.clone(), failed.clone());
    move |event| match event {
        // They go on to another process in a moment; to begin with them here would only hold that one up.
        MembershipEvent::Assigned(partitions) if stop.load(Ordering::SeqCst) => {
            tracing::info!("{} partitions came while the process ends", partitions.len());
        }
        MembershipEvent::Assigned(partitions) => {
            assigned(&shared, &workers, partitions);
            told.store(true, Ordering::SeqCst);
        }
        MembershipEvent::Revoked { partitions, lost } => {
            if lost {
                told.store(false, Ordering::SeqCst);
            }
            revoked(&workers, &partitions, if lost { Duration::ZERO } else { REVOKE_WAIT });
        }
        MembershipEvent::Failed(why) => *lock(&failed) = Some(why),
    }
}

/// Opened before the group is joined: that the process is there but not ready yet is worth knowing.
fn open_http(config: &Config, report: ProcessReport) -> Result<Option<Server>, String> {
    let Some(address) = config.http_address else { return Ok(None) };
    let (app, tokio) = (report.shared.app.clone(), report.shared.tokio.clone());
    let server = Server::open(address, &tokio, Arc::new(report)).map_err(|error| {
        format!("http_address: {address} cannot be opened: {error}; choose another port, or leave it out")
    })?;
    tracing::info!(%app, "metrics on http://{}/metrics", server.address());
    Ok(Some(server))
}

fn assigned(shared: &Arc<Shared>, workers: &Workers, partitions: Vec<TopicPartition>) {
    for (topic, partition) in partitions {
        let started = if topic == shared.topics.commands {
            LaneWorker::start(shared.clone(), partition).map(Worker::Lane)
        } else {
            IngressWorker::start(shared.clone(), &topic, partition).map(Worker::Ingress)
        };
        match started {
            Ok(worker) => {
                tracing::info!(%topic, partition, "assigned");
                if let Some(earlier) = lock(workers).insert((topic, partition), worker) {
                    earlier.stop();
                }
            }
            Err(error) => tracing::error!(%topic, partition, "no thread for the partition: {error}"),
        }
    }
}

/// Stops the workers of partitions that go to someone else, all at once, and waits a bounded time.
fn revoked(workers: &Workers, partitions: &[TopicPartition], wait: Duration) {
    let began = Instant::now();
    {
        let workers = lock(workers);
        partitions.iter().filter_map(|p| workers.get(p)).for_each(Worker::stop);
    }
    // They stay where they can be seen until they have ended.
    let unfinished = || {
        let workers = lock(workers);
        partitions.iter().filter_map(|p| workers.get(p)).any(|w| !w.is_finished())
    };
    while unfinished() && began.elapsed() < wait {
        std::thread::park_timeout(Duration::from_millis(2));
    }
    let going: Vec<Worker> = {
        let mut workers = lock(workers);
        partitions.iter().filter_map(|p| workers.remove(p)).collect()
    };
    if !going.is_empty() {
        tracing::info!("{} partitions ended in {} ms", going.len(), began.elapsed().as_millis());
    }
    let late = going.iter().filter(|w| !w.is_finished()).count();
    if late > 0 {
        tracing::warn!("{late} of {} partitions were given up before they had ended cleanly", going.len());
    }
}

/// Group offsets only serve lag tools; the position in the state is the authority.
fn commit_offsets(shared: &Shared, workers: &Workers, stop: &AtomicBool) {
    let mut known: HashMap<i32, i64> = HashMap::new();
    while !stop.load(Ordering::SeqCst) {
        std::thread::park_timeout(OFFSETS_EVERY);
        let mut changed = Vec::new();
        for ((_, partition), worker) in &*lock(workers) {
            if let Worker::Lane(lane) = worker
                && let Some(offset) = lane.committed()
                && known.insert(*partition, offset) != Some(offset)
            {
                changed.push((*partition, offset));
            }
        }
        let topic = shared.topics.commands.clone();
        let offsets: Vec<(&str, i32, i64)> = changed.iter().map(|(p, o)| (&*topic, *p, *o)).collect();
        if offsets.is_empty() {
            continue;
        }
        if let Err(error) = shared.with_membership(|m| m.commit_offsets(&offsets)) {
            tracing::debug!("group offsets are not committed now: {error}");
            known.clear();
        }
    }
}
