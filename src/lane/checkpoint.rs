//! Checkpoints: state, position and everything outgoing, in Kafka transactions, written by threads of their own while
//! the lane goes on.
//!
//! A transaction takes its time before its first record is written (librdkafka waits 1 ms and then registers the
//! partitions with the coordinator). What the lane has gathered meanwhile need not wait for the next one: it is another
//! checkpoint in the same transaction, whole in itself.
//!
//! Two threads take turns, each with a transactional id. While one commits, the other may already write the next
//! transaction, but not earlier, or records of one key could get out of order; and it commits after the first, or a
//! position could be committed without what came before it. If the first fails, the lane is lost, and so is the second:
//! the fence of the next owner aborts it.

use super::acks::Acks;
use super::fault::crash_point;
use super::watched::Watched;
use super::{Event, Host, Join, LaneConfig, letters};
use crate::codec::group::{self, Group};
use crate::codec::{headers, key, row};
use crate::core::mutation::{Mutation, mutated};
use crate::core::state::{Key, Position, Row};
use crate::log::{Checkpoints, Committed, LogError, NewRecord};
use crate::store::Write;
use bytes::Bytes;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How long a commit waits for the journal records that it rests on, and for the checkpoint before it.
const GATE_TIMEOUT: Duration = Duration::from_secs(8);

/// Checkpoints in one transaction. The first has waited long enough when the second is written.
const IN_TRANSACTION_MAX: usize = 2;

/// One checkpoint to be written.
struct Job {
    records: Vec<NewRecord>,
    /// What the commit makes durable. Nothing visible leaves before its journal record is.
    position: Position,
}

/// What the lane sends to a thread: the first checkpoint of a transaction; and, each time that it is asked, one more, or
/// that there is none.
type Work = Option<Job>;

/// Trims the lane's input: facts behind the position that was just committed, and commands behind an offset that an
/// earlier one had.
pub(super) type Trim = Arc<dyn Fn(&Position, i64) + Send + Sync>;

/// How long a thread waits for work before it looks whether its lane is still there.
const IDLE_MAX: Duration = Duration::from_secs(60);

/// How often each thread trims. Each time costs some requests and holds up one checkpoint for a moment. Commands stay for
/// as long after their checkpoint: they are a public topic, and whoever else reads it needs time to do so.
const TRIM_EVERY: Duration = Duration::from_secs(60);

/// The lane's side of the checkpoint threads.
pub(super) struct Checkpointer {
    /// Whose turn it is comes first.
    threads: [Thread; 2],
    /// Whether the lane has something for the transaction that is being written.
    wants_more: Arc<AtomicBool>,
    order: Arc<Watched<Order>>,
    acks: Arc<Acks>,
}

struct Thread {
    work: Option<Sender<Work>>,
    join: Option<Join>,
}

impl Checkpointer {
    /// Starts a thread for each id. `last` is the number of the last committed checkpoint.
    pub(super) fn start(writer: &Writer, ids: [Box<dyn Checkpoints>; 2], last: u64) -> std::io::Result<Self> {
        let order = Arc::new(Watched::new(Order { committed: last, failed: false }));
        let [a, b] = ids;
        Ok(Checkpointer {
            threads: [Thread::start(writer, a, &order)?, Thread::start(writer, b, &order)?],
            wants_more: writer.wants_more.clone(),
            acks: writer.acks.clone(),
            order,
        })
    }

    /// Begins a transaction with this checkpoint. The answers come as events.
    pub(super) fn begin(&mut self, records: Vec<NewRecord>, position: Position) {
        self.wants_more.store(false, Ordering::Relaxed);
        self.threads[0].send(Some(Job { records, position }));
        self.threads.swap(0, 1);
    }

    /// The lane would like to add to the transaction that is being written.
    pub(super) fn want_more(&self) {
        self.wants_more.store(true, Ordering::Relaxed);
    }

    /// Adds to the transaction that asks for more.
    pub(super) fn add(&mut self, records: Vec<NewRecord>, position: Position) {
        self.wants_more.store(false, Ordering::Relaxed);
        self.threads[1].send(Some(Job { records, position }));
    }

    /// There is nothing to add to it.
    pub(super) fn add_nothing(&mut self) {
        self.wants_more.store(false, Ordering::Relaxed);
        self.threads[1].send(None);
    }
}

impl Thread {
    fn start(
        writer: &Writer,
        id: Box<dyn Checkpoints>,
        order: &Arc<Watched<Order>>,
    ) -> std::io::Result<Self> {
        let (work, queue) = bounded(1);
        let name = format!("{}-{}-ckpt", writer.config.app, writer.config.partition);
        let (mut writer, order) = (writer.clone(), order.clone());
        let host = writer.host.clone();
        let work_on = move || {
            let _alarm = Alarm { order: order.clone(), events: writer.events.clone() };
            writer.run(&queue, id, &order);
        };
        let join = host.spawn(name, Box::new(work_on))?;
        Ok(Thread { work: Some(work), join: Some(join) })
    }

    fn send(&self, work: Work) {
        if let Some(sender) = &self.work {
            // The thread ends only with its sender, or when the lane is lost.
            let _ = sender.send(work);
        }
    }
}

/// Tells the lane that its checkpoint thread has panicked: nobody else would, and it would wait for ever.
struct Alarm {
    order: Arc<Watched<Order>>,
    events: Sender<Event>,
}

impl Drop for Alarm {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.order.change(|order| order.failed = true);
            let why = "its checkpoint thread panicked; the panic is logged above".into();
            // The lane may have ended.
            let _ = self.events.send(Event::Checkpointed(Err(LogError::Lost(why))));
        }
    }
}

impl Drop for Checkpointer {
    fn drop(&mut self) {
        // Nobody waits for what cannot come any more.
        self.acks.end();
        self.order.change(|order| order.failed = true);
        for thread in &mut self.threads {
            thread.work = None;
        }
        for thread in &mut self.threads {
            if let Some(join) = thread.join.take() {
                join();
            }
        }
    }
}

/// How far the checkpoints of a lane have come, over both threads.
#[derive(Debug)]
struct Order {
    /// Number of the last committed checkpoint.
    committed: u64,
    /// None will follow it.
    failed: bool,
}

/// What the threads work with.
#[derive(Clone)]
pub(super) struct Writer {
    pub(super) config: LaneConfig,
    pub(super) acks: Arc<Acks>,
    pub(super) events: Sender<Event>,
    pub(super) trim: Trim,
    /// Of the position at which the lane was taken over.
    pub(super) next_command: i64,
    pub(super) host: Arc<dyn Host>,
    pub(super) wants_more: Arc<AtomicBool>,
}

impl Writer {
    fn run(&mut self, queue: &Receiver<Work>, mut id: Box<dyn Checkpoints>, order: &Watched<Order>) {
        let (mut trimmed, mut earlier) = (self.host.uptime(), self.next_command);
        while let Some(work) = next_work(queue, &*self.host) {
            let Some(job) = work else { continue };
            crash_point!("checkpoint:begin");
            let (last, committed) = match self.transact(&mut *id, job, queue, order) {
                Ok(done) => done,
                Err(error) => {
                    order.change(|order| order.failed = true);
                    self.tell(Event::Checkpointed(Err(error)));
                    return;
                }
            };
            // Only now, so that the lane hears of the checkpoints in their order.
            order.change(|order| order.committed = last.checkpoint);
            let careless = mutated(Mutation::SpentIdUsed) || mutated(Mutation::TornIsWhole);
            if committed == Committed::MayComeAgain && !careless {
                let why =
                    "a connection broke during a commit, whose request may come once more (KAFKA-17754)";
                self.tell(Event::Checkpointed(Err(LogError::Lost(why.into()))));
                return;
            }
            if self.host.uptime().saturating_sub(trimmed) >= TRIM_EVERY {
                trimmed = self.host.uptime();
                (self.trim)(&last, earlier);
                earlier = last.next_command;
            }
        }
    }

    fn tell(&self, what: Event) {
        // The lane may have ended; then nobody waits for the answer.
        let _ = self.events.send(what);
    }

    /// One transaction: the first checkpoint, and what the lane has to add when that is written. Returns the position that
    /// is committed.
    fn transact(
        &self,
        id: &mut dyn Checkpoints,
        first: Job,
        queue: &Receiver<Work>,
        order: &Watched<Order>,
    ) -> Result<(Position, Committed), LogError> {
        let mut jobs = vec![first];
        let mut ends = self.produce(id, &mut jobs, Vec::new())?;
        while jobs.len() < IN_TRANSACTION_MAX && self.wants_more.load(Ordering::Relaxed) {
            self.tell(Event::MoreTaken);
            match next_work(queue, &*self.host) {
                Some(Some(job)) => jobs.push(job),
                Some(None) => break,
                None => return id.abort().and(Err(LogError::Lost("its lane has ended".into()))),
            }
            ends = self.produce(id, &mut jobs, ends)?;
        }
        crash_point!("checkpoint:produced");
        self.tell(Event::Produced);
        let position = jobs.last().map(|job| job.position.clone()).unwrap_or_default();
        if let Err(closed) = self.gate(&position, jobs.len() as u64, order) {
            return id.abort().and(Err(closed));
        }
        let committed = match id.commit() {
            Err(_) if mutated(Mutation::UnclearIsAborted) => {
                ends = self.produce(id, &mut jobs, Vec::new())?;
                id.commit()?
            }
            done => done?,
        };
        crash_point!("checkpoint:committed");
        for end in ends {
            self.tell(Event::Checkpointed(Ok(end)));
        }
        Ok((position, committed))
    }

    /// Writes those that are not written yet; returns where each one ends. A record of a user's topic that Kafka refuses
    /// becomes a dead letter, so that it holds up nobody else. The refusal has aborted the transaction, so all of it is
    /// written again; each time at least one more record is a letter.
    fn produce(
        &self,
        id: &mut dyn Checkpoints,
        jobs: &mut [Job],
        mut ends: Vec<i64>,
    ) -> Result<Vec<i64>, LogError> {
        while let Some(job) = jobs.get_mut(ends.len()) {
            match id.produce(&job.records) {
                Ok(end) => ends.push(end),
                Err(LogError::RefusedRecord { index, topic_wide, text })
                    if letters::replace_refused(&self.config, &mut job.records, index, topic_wide, &text) =>
                {
                    ends.clear();
                }
                Err(error) => return Err(error),
            }
        }
        Ok(ends)
    }

    /// Nothing may be visible before what it rests on: the journal's records, and the checkpoints before it.
    fn gate(&self, position: &Position, checkpoints: u64, order: &Watched<Order>) -> Result<(), LogError> {
        if !mutated(Mutation::CommitBeforeAck) {
            self.acks.wait_for(&*self.host, position.journal_seq, GATE_TIMEOUT)?;
        }
        self.wait_for_predecessor(position.checkpoint + 1 - checkpoints, order)
    }

    fn wait_for_predecessor(&self, checkpoint: u64, order: &Watched<Order>) -> Result<(), LogError> {
        if mutated(Mutation::CommitOutOfTurn) {
            return Ok(());
        }
        let state = order.wait(&*self.host, GATE_TIMEOUT, |o| o.failed || o.committed + 1 >= checkpoint);
        if state.committed + 1 >= checkpoint {
            return Ok(());
        }
        let why = if state.failed {
            "failed".into()
        } else {
            format!("was not committed within {} s", GATE_TIMEOUT.as_secs())
        };
        Err(LogError::Lost(format!("checkpoint {checkpoint} cannot follow, the one before it {why}")))
    }
}

/// `None` when the lane has ended.
fn next_work(queue: &Receiver<Work>, host: &dyn Host) -> Option<Work> {
    loop {
        let mut work = Err(RecvTimeoutError::Timeout);
        host.wait(IDLE_MAX, &mut |block| {
            work = queue.recv_timeout(block);
            !matches!(work, Err(RecvTimeoutError::Timeout))
        });
        match work {
            Ok(work) => return Some(work),
            Err(RecvTimeoutError::Disconnected) => return None,
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
}

/// The records of a checkpoint: state, then what leaves, then the position, which completes it.
pub(super) fn records(
    config: &LaneConfig,
    writes: &[Write],
    outgoing: Vec<NewRecord>,
    position: &Position,
) -> Vec<NewRecord> {
    let last = key::encode(&Key::Position);
    let state: Vec<&Write> = writes.iter().filter(|(key, _)| *key != last).collect();
    let count = u32::try_from(state.len() + 1).unwrap_or(u32::MAX);
    let mut places = Vec::with_capacity(group::LEN * (state.len() + 1));
    for index in 0..count {
        Group { epoch: position.epoch, checkpoint: position.checkpoint, index, count }
            .encode_into(&mut places);
    }
    let mut places = Bytes::from(places);
    let mut changelog = |key, value| NewRecord {
        topic: config.topics.changelog.clone(),
        partition: Some(config.partition),
        key: Some(key),
        value,
        headers: vec![(headers::GROUP.into(), places.split_to(group::LEN))],
    };
    let mut all = Vec::with_capacity(state.len() + outgoing.len() + 1);
    for (key, value) in state {
        all.push(changelog(key.clone(), value.clone()));
    }
    all.extend(outgoing);
    if mutated(Mutation::NoPositionRecord) {
        return all;
    }
    let value = row::encode(&Row::Position(position.clone()));
    all.push(changelog(last, Some(value)));
    all
}
