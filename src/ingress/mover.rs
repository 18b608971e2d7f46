//! Moves one partition of a bound topic.

use super::binding::Binding;
use crate::codec::letter::{self, Origin};
use crate::log::{LogError, Mover, NewRecord, Record};
use crossbeam_channel::{Receiver, RecvTimeoutError};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Records in one transaction, at most about this many.
const BATCH: usize = 1_000;
const STOP_CHECK: Duration = Duration::from_millis(50);

/// Why an ingress lane ended.
#[derive(Debug)]
pub(crate) enum IngressEnd {
    /// It was told to.
    Stopped,
    /// Open a new mover and begin again at the committed position.
    Again(LogError),
}

/// One partition of a bound topic.
pub(crate) struct Ingress {
    /// What its records become; several bindings may read one topic.
    pub(crate) bindings: Vec<Arc<Binding>>,
    /// Topic of the commands.
    pub(crate) commands: Arc<str>,
    /// Number of lanes.
    pub(crate) partitions: i32,
    /// Kafka's default partitioner.
    pub(crate) partition_for: fn(&[u8], i32) -> i32,
    /// Topic for records that cannot be bound.
    pub(crate) dlq: Arc<str>,
}

impl Ingress {
    /// Moves what the feed delivers until it is stopped. Blocks.
    pub(crate) fn run(
        &self,
        mover: &mut dyn Mover,
        feed: &Receiver<Result<Vec<Record>, LogError>>,
        stop: &AtomicBool,
    ) -> IngressEnd {
        while !stop.load(Ordering::SeqCst) {
            let mut batch = match feed.recv_timeout(STOP_CHECK) {
                Ok(Ok(batch)) => batch,
                Ok(Err(error)) => return IngressEnd::Again(error),
                Err(RecvTimeoutError::Timeout) => continue,
                Err(RecvTimeoutError::Disconnected) => {
                    return IngressEnd::Again(LogError::Lost("its feed ended".into()));
                }
            };
            while batch.len() < BATCH
                && let Ok(Ok(more)) = feed.try_recv()
            {
                batch.extend(more);
            }
            let Some(last) = batch.last() else { continue };
            let next_offset = last.offset + 1;
            let records: Vec<NewRecord> = batch.iter().flat_map(|r| self.bind(r)).collect();
            if let Err(error) = mover.move_batch(&records, next_offset) {
                return IngressEnd::Again(error);
            }
        }
        IngressEnd::Stopped
    }

    fn bind(&self, record: &Record) -> Vec<NewRecord> {
        self.bindings
            .iter()
            .map(|binding| match binding.apply(record.key.as_deref(), record.value.as_deref()) {
                Ok((id, command)) => NewRecord {
                    topic: self.commands.clone(),
                    partition: Some((self.partition_for)(id.as_bytes(), self.partitions)),
                    key: Some(command.key),
                    value: command.value,
                    headers: command.headers,
                },
                Err((code, text)) => self.dead_letter(binding.topic, record, code.code(), &text),
            })
            .collect()
    }

    fn dead_letter(&self, topic: &str, record: &Record, code: &str, text: &str) -> NewRecord {
        tracing::warn!(
            code,
            topic,
            partition = record.partition,
            offset = record.offset,
            "a record went to {}: {text}",
            self.dlq
        );
        let origin = Origin {
            topic,
            partition: record.partition,
            offset: record.offset,
            timestamp_ms: record.timestamp_ms,
        };
        NewRecord {
            topic: self.dlq.clone(),
            partition: None,
            key: record.key.clone(),
            value: record.value.clone(),
            headers: letter::headers(&record.headers, origin, code, text),
        }
    }
}
