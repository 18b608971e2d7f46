//! The checkpoint: one Kafka transaction of state, position and everything outgoing, written by threads of its own
//! while the lane goes on.
//!
//! Two take turns, each with a transactional id. While one commits, the other may already write the next checkpoint,
//! but not earlier, or records of one key could get out of order; and it commits after the first, or a position could
//! be committed without what came before it. If the first fails, the lane is lost, and so is the second: the fence of
//! the next owner aborts it.

use super::acks::Acks;
use super::fault::crash_point;
use super::mutation::{Mutation, mutated};
use super::watched::Watched;
use super::{Event, Host, Join, LaneConfig, letters};
use crate::codec::group::Group;
use crate::codec::{headers, key, row};
use crate::core::state::{Key, Position, Row};
use crate::log::{Checkpoints, Committed, LogError, NewRecord};
use crate::store::Write;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use std::sync::Arc;
use std::time::Duration;

/// How long a commit waits for the journal records that it rests on, and for the checkpoint before it.
const GATE_TIMEOUT: Duration = Duration::from_secs(8);

/// One checkpoint to be written.
struct Job {
    records: Vec<NewRecord>,
    /// What the commit makes durable. Nothing visible leaves before its journal record is.
    position: Position,
}

/// Trims the lane's input behind a committed checkpoint.
pub(super) type Trim = Arc<dyn Fn(&Position) + Send + Sync>;

/// How long a thread waits for work before it looks whether its lane is still there.
const IDLE_MAX: Duration = Duration::from_secs(60);

/// How often each thread trims. Each time costs some requests and holds up one checkpoint for a moment.
const TRIM_EVERY: Duration = Duration::from_secs(60);

/// The lane's side of the checkpoint threads.
pub(super) struct Checkpointer {
    /// Whose turn it is comes first.
    threads: [Thread; 2],
}

struct Thread {
    jobs: Option<Sender<Job>>,
    join: Option<Join>,
}

impl Checkpointer {
    /// Starts a thread for each id. `last` is the number of the last committed checkpoint.
    pub(super) fn start(writer: &Writer, ids: [Box<dyn Checkpoints>; 2], last: u64) -> std::io::Result<Self> {
        let order = Arc::new(Watched::new(Order { committed: last, failed: false }));
        let [a, b] = ids;
        Ok(Checkpointer { threads: [Thread::start(writer, a, &order)?, Thread::start(writer, b, &order)?] })
    }

    /// Hands a checkpoint to the thread whose turn it is. The answers come as events.
    pub(super) fn write(&mut self, records: Vec<NewRecord>, position: Position) {
        if let Some(jobs) = &self.threads[0].jobs {
            // The thread ends only with its sender, or when the lane is lost.
            let _ = jobs.send(Job { records, position });
        }
        self.threads.swap(0, 1);
    }
}

impl Thread {
    fn start(
        writer: &Writer,
        id: Box<dyn Checkpoints>,
        order: &Arc<Watched<Order>>,
    ) -> std::io::Result<Self> {
        let (jobs, queue) = bounded(1);
        let name = format!("{}-{}-ckpt", writer.config.app, writer.config.partition);
        let (mut writer, order) = (writer.clone(), order.clone());
        let host = writer.host.clone();
        let join = host.spawn(name, Box::new(move || writer.run(&queue, id, &order)))?;
        Ok(Thread { jobs: Some(jobs), join: Some(join) })
    }
}

impl Drop for Checkpointer {
    fn drop(&mut self) {
        for thread in &mut self.threads {
            thread.jobs = None;
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
    pub(super) host: Arc<dyn Host>,
}

impl Writer {
    fn run(&mut self, queue: &Receiver<Job>, mut id: Box<dyn Checkpoints>, order: &Watched<Order>) {
        let mut trimmed = self.host.uptime();
        while let Some(mut job) = next_job(queue, &*self.host) {
            crash_point!("checkpoint:begin");
            let committed = match self.commit(&mut *id, &mut job, order) {
                Ok(committed) => committed,
                Err(error) => {
                    order.change(|order| order.failed = true);
                    self.tell(Err(error));
                    return;
                }
            };
            crash_point!("checkpoint:committed");
            self.tell(Ok(committed.last_offset));
            // Only now, so that the lane hears of the checkpoints in their order.
            order.change(|order| order.committed = job.position.checkpoint);
            let careless = mutated(Mutation::SpentIdUsed) || mutated(Mutation::TornIsWhole);
            if committed.may_come_again && !careless {
                let why =
                    "a connection broke during a commit, whose request may come once more (KAFKA-17754)";
                self.tell(Err(LogError::Lost(why.into())));
                return;
            }
            if self.host.uptime().saturating_sub(trimmed) >= TRIM_EVERY {
                trimmed = self.host.uptime();
                (self.trim)(&job.position);
            }
        }
    }

    fn tell(&self, what: Result<i64, LogError>) {
        // The lane may have ended; then nobody waits for the answer.
        let _ = self.events.send(Event::Checkpointed(what));
    }

    /// Commits. A record of a user's topic that Kafka refuses becomes a dead letter, so that it holds up nobody else;
    /// each turn of the loop turns at least one into a letter.
    fn commit(
        &self,
        id: &mut dyn Checkpoints,
        job: &mut Job,
        order: &Watched<Order>,
    ) -> Result<Committed, LogError> {
        let Job { records, position } = job;
        let mut gate = || {
            crash_point!("checkpoint:produced");
            // If the lane has ended, the wait for the order ends as well.
            let _ = self.events.send(Event::Produced(position.checkpoint));
            if !mutated(Mutation::CommitBeforeAck) {
                self.acks.wait_for(&*self.host, position.journal_seq, GATE_TIMEOUT)?;
            }
            self.wait_for_predecessor(position.checkpoint, order)
        };
        let mut unclear = !mutated(Mutation::UnclearIsAborted);
        loop {
            match id.commit(records, &mut gate) {
                Err(LogError::RefusedRecord { index, topic_wide, text })
                    if letters::replace_refused(&self.config, records, index, topic_wide, &text) => {}
                Err(_) if !std::mem::replace(&mut unclear, true) => {}
                done => return done,
            }
        }
    }

    fn wait_for_predecessor(&self, checkpoint: u64, order: &Watched<Order>) -> Result<(), LogError> {
        if mutated(Mutation::CommitOutOfTurn) {
            return Ok(());
        }
        let state = order.wait(&*self.host, GATE_TIMEOUT, |o| o.failed || o.committed + 1 >= checkpoint);
        if state.committed + 1 >= checkpoint {
            return Ok(());
        }
        Err(LogError::Lost(format!("checkpoint {checkpoint} cannot follow, the one before it failed")))
    }
}

/// `None` when the lane has ended.
fn next_job(queue: &Receiver<Job>, host: &dyn Host) -> Option<Job> {
    loop {
        let mut job = Err(RecvTimeoutError::Timeout);
        host.wait(IDLE_MAX, &mut |block| {
            job = queue.recv_timeout(block);
            !matches!(job, Err(RecvTimeoutError::Timeout))
        });
        match job {
            Ok(job) => return Some(job),
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
    let place = |index: usize| Group {
        epoch: position.epoch,
        checkpoint: position.checkpoint,
        index: u32::try_from(index).unwrap_or(u32::MAX),
        count,
    };
    let changelog = |key, value, group: Group| NewRecord {
        topic: config.topics.changelog.clone(),
        partition: Some(config.partition),
        key: Some(key),
        value,
        headers: vec![(headers::GROUP.to_string(), group.encode())],
    };
    let mut all = Vec::with_capacity(state.len() + outgoing.len() + 1);
    for (index, (key, value)) in state.iter().enumerate() {
        all.push(changelog(key.clone(), value.clone(), place(index)));
    }
    all.extend(outgoing);
    if mutated(Mutation::NoPositionRecord) {
        return all;
    }
    let value = row::encode(&Row::Position(position.clone()));
    all.push(changelog(last, Some(value), place(state.len())));
    all
}
