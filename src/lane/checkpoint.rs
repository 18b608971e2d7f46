//! The checkpoint: one Kafka transaction of state, position and everything outgoing, written by a thread of its own
//! while the lane goes on.

use super::acks::Acks;
use super::fault::crash_point;
use super::mutation::{Mutation, mutated};
use super::{Event, Host, Join, LaneConfig, letters};
use crate::codec::group::Group;
use crate::codec::{headers, key, row};
use crate::core::state::{Key, Position, Row};
use crate::log::{Checkpoints, LogError, NewRecord};
use crate::store::Write;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use std::sync::Arc;
use std::time::Duration;

/// How long a commit waits for the journal records that it rests on.
const GATE_TIMEOUT: Duration = Duration::from_secs(8);

/// One checkpoint to be written.
struct Job {
    records: Vec<NewRecord>,
    /// Nothing visible leaves before this journal record is durable.
    needs_seq: u64,
    /// The position that the commit makes durable.
    position: Position,
}

/// Trims the journal behind a committed checkpoint.
pub(super) type Trim = Box<dyn Fn(&Position) + Send>;

/// How long the thread waits for work before it looks whether its lane is still there.
const IDLE_MAX: Duration = Duration::from_secs(60);

/// How often the journal is trimmed. Each time costs one request and holds up one checkpoint for a moment.
const TRIM_EVERY: Duration = Duration::from_secs(30);

/// The lane's side of the checkpoint thread. One checkpoint is under way at a time.
pub(super) struct Checkpointer {
    jobs: Option<Sender<Job>>,
    thread: Option<Join>,
}

impl Checkpointer {
    pub(super) fn start(writer: Writer) -> std::io::Result<Self> {
        let (jobs, queue) = bounded(1);
        let name = format!("{}-{}-ckpt", writer.config.app, writer.config.partition);
        let host = writer.host.clone();
        let thread = host.spawn(name, Box::new(move || writer.run(&queue)))?;
        Ok(Checkpointer { jobs: Some(jobs), thread: Some(thread) })
    }

    /// Hands a checkpoint to the thread. The answer comes as an event.
    pub(super) fn write(&self, records: Vec<NewRecord>, position: Position) {
        if let Some(jobs) = &self.jobs {
            // The thread ends only with its sender.
            let _ = jobs.send(Job { records, needs_seq: position.journal_seq, position });
        }
    }
}

impl Drop for Checkpointer {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(join) = self.thread.take() {
            join();
        }
    }
}

/// What the thread works with.
pub(super) struct Writer {
    pub(super) config: LaneConfig,
    pub(super) checkpoints: Box<dyn Checkpoints>,
    pub(super) acks: Arc<Acks>,
    pub(super) events: Sender<Event>,
    pub(super) trim: Trim,
    pub(super) host: Arc<dyn Host>,
}

impl Writer {
    fn run(mut self, queue: &Receiver<Job>) {
        let mut trimmed = self.host.uptime();
        while let Some(mut job) = next_job(queue, &*self.host) {
            crash_point!("checkpoint:begin");
            let result = self.commit(&mut job.records, job.needs_seq);
            crash_point!("checkpoint:committed");
            let failed = result.is_err();
            // The lane may have ended; then nobody waits for the answer.
            if self.events.send(Event::Checkpointed(result)).is_err() || failed {
                return;
            }
            if self.host.uptime().saturating_sub(trimmed) >= TRIM_EVERY {
                trimmed = self.host.uptime();
                (self.trim)(&job.position);
            }
        }
    }

    /// Commits. A record of a user's topic that Kafka refuses becomes a dead letter, so that it holds up nobody else;
    /// each turn of the loop turns at least one into a letter.
    fn commit(&mut self, records: &mut [NewRecord], needs_seq: u64) -> Result<i64, LogError> {
        let (acks, host) = (&*self.acks, &*self.host);
        let mut gate = || {
            crash_point!("checkpoint:produced");
            if mutated(Mutation::CommitBeforeAck) {
                return Ok(());
            }
            acks.wait_for(host, needs_seq, GATE_TIMEOUT)
        };
        let mut unclear = !mutated(Mutation::UnclearIsAborted);
        loop {
            match self.checkpoints.commit(records, &mut gate) {
                Err(LogError::RefusedRecord { index, topic_wide, text })
                    if letters::replace_refused(&self.config, records, index, topic_wide, &text) => {}
                Err(_) if !std::mem::replace(&mut unclear, true) => {}
                done => return done,
            }
        }
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
