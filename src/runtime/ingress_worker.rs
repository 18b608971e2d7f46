//! One thread per partition of a bound topic.

use super::process::Shared;
use crate::ingress::{Ingress, IngressEnd};
use crate::log::kafka::{IngressWriter, partition_for};
use crate::log::{Isolation, Log, LogError, Mover, NewRecord};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Batches that wait for the mover.
const FEED_BATCHES: usize = 4;
const FENCE_TIMEOUT: Duration = Duration::from_secs(30);
const FIRST_BACKOFF: Duration = Duration::from_millis(50);
const LONGEST_BACKOFF: Duration = Duration::from_secs(5);

/// A partition of a bound topic, in this process.
pub(super) struct IngressWorker {
    stop: Arc<AtomicBool>,
    moves: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl IngressWorker {
    pub(super) fn start(shared: Arc<Shared>, topic: &str, partition: i32) -> std::io::Result<Self> {
        let (stop, moves): (Arc<AtomicBool>, Arc<AtomicBool>) = Default::default();
        let (told, tells, topic) = (stop.clone(), moves.clone(), topic.to_string());
        let name = format!("{topic}-{partition}");
        let thread = std::thread::Builder::new()
            .name(name)
            .spawn(move || life(&shared, &topic, partition, &told, &tells))?;
        Ok(IngressWorker { stop, moves, thread })
    }

    /// Whether records are moved, or would be if there were any.
    pub(super) fn moves(&self) -> bool {
        self.moves.load(Ordering::SeqCst) && !self.is_finished()
    }

    pub(super) fn stop(&self) {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.thread().unpark();
    }

    pub(super) fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }
}

fn life(shared: &Arc<Shared>, topic: &str, partition: i32, stop: &AtomicBool, moves: &AtomicBool) {
    let mut backoff = FIRST_BACKOFF;
    while !stop.load(Ordering::SeqCst) {
        let began = Instant::now();
        let end = once(shared, topic, partition, stop, moves);
        moves.store(false, Ordering::SeqCst);
        match end {
            Ok(IngressEnd::Stopped) => return,
            Ok(IngressEnd::Again(error)) | Err(error) => {
                tracing::warn!(topic, partition, "ingress begins again at its committed position: {error}");
            }
        }
        backoff = if began.elapsed() > LONGEST_BACKOFF {
            FIRST_BACKOFF
        } else {
            (backoff * 2).min(LONGEST_BACKOFF)
        };
        if !stop.load(Ordering::SeqCst) {
            std::thread::park_timeout(backoff);
        }
    }
}

fn once(
    shared: &Arc<Shared>,
    topic: &str,
    partition: i32,
    stop: &AtomicBool,
    moves: &AtomicBool,
) -> Result<IngressEnd, LogError> {
    // The fence first: an open transaction of the earlier owner would hold back its committed position.
    let id = format!("{}-in-{topic}-{partition}", shared.app);
    let writer = IngressWriter::open(&shared.kafka, &id, &shared.topics.commands, FENCE_TIMEOUT)?;
    let from = match shared.committed_by_group(topic, partition)? {
        Some(offset) => offset,
        None => {
            tracing::info!(
                topic,
                partition,
                "the group has no position for it: it is moved from its beginning"
            );
            shared.log.offsets(topic, partition, Isolation::Committed)?.start
        }
    };
    let ingress = Ingress {
        bindings: shared.bindings.iter().filter(|b| b.topic == topic).cloned().collect(),
        commands: shared.topics.commands.clone(),
        partitions: shared.lane.partitions,
        partition_for,
        payload_bytes: shared.lane.limits.payload_bytes,
        dlq: shared.topics.dlq.clone(),
    };
    let (sender, feed) = crossbeam_channel::bounded(FEED_BATCHES);
    shared.feed.add(topic, partition, from, sender)?;
    let mut mover = GroupMover { writer, shared, topic, partition };
    moves.store(true, Ordering::SeqCst);
    let end = ingress.run(&mut mover, &feed, stop);
    shared.feed.remove(topic, partition)?;
    Ok(end)
}

/// Commits the position with the group, in the transaction of the records.
struct GroupMover<'a> {
    writer: IngressWriter,
    shared: &'a Shared,
    topic: &'a str,
    partition: i32,
}

impl Mover for GroupMover<'_> {
    fn move_batch(&mut self, records: &[NewRecord], next_offset: i64) -> Result<(), LogError> {
        let (topic, partition) = (self.topic, self.partition);
        self.shared.with_membership(|m| self.writer.move_batch(records, topic, partition, next_offset, m))
    }
}
