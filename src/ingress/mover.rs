//! Moves one partition of a bound topic.

use super::binding::{Binding, Bound};
use crate::codec::letter::{Letter, Origin};
use crate::core::error::RejectCode;
use crate::log::{LogError, Mover, NewRecord, Record};
use bytes::Bytes;
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
    /// Largest payload that a lane takes.
    pub(crate) payload_bytes: usize,
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
            let mut failed = None;
            while batch.len() < BATCH
                && failed.is_none()
                && let Ok(more) = feed.try_recv()
            {
                match more {
                    Ok(more) => batch.extend(more),
                    Err(error) => failed = Some(error),
                }
            }
            let Some(last) = batch.last() else { continue };
            let next_offset = last.offset + 1;
            let records: Vec<NewRecord> = batch.iter().flat_map(|r| self.bind(r)).collect();
            if let Err(error) = mover.move_batch(&records, next_offset) {
                return IngressEnd::Again(error);
            }
            if let Some(error) = failed {
                return IngressEnd::Again(error);
            }
        }
        IngressEnd::Stopped
    }

    fn bind(&self, record: &Record) -> Vec<NewRecord> {
        self.bindings
            .iter()
            .map(|binding| match self.command(binding, record) {
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

    /// The command that a record becomes. The commands topic may not even take one that is too large for a lane.
    fn command(&self, binding: &Binding, record: &Record) -> Bound {
        let (id, command) = binding.apply(record.key.as_deref(), record.value.as_deref())?;
        let (bytes, limit) = (command.value.as_ref().map_or(0, Bytes::len), self.payload_bytes);
        if bytes > limit {
            let text = format!("its binding made a payload of {bytes} bytes for {id}, the limit is {limit}");
            return Err((RejectCode::PayloadTooLarge, text));
        }
        Ok((id, command))
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
        let whole = (record.key.as_ref(), record.value.as_ref(), &record.headers[..]);
        let Letter { key, value, headers } = Letter::new(whole, origin, code, text);
        NewRecord { topic: self.dlq.clone(), partition: None, key, value, headers }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workflow::{Topic, Workflow};

    #[test]
    fn what_no_lane_and_no_topic_of_ours_takes_becomes_a_dead_letter_that_fits() {
        const NOTES: Topic<String, String> = Topic::new("notes");
        const KEEP: Workflow<String, ()> = Workflow::new("keep");
        let ingress = Ingress {
            bindings: vec![Arc::new(Binding::start(NOTES, KEEP, |id, note| (id.clone(), note)))],
            commands: "app.commands".into(),
            partitions: 4,
            partition_for: |_, _| 3,
            payload_bytes: 1_000,
            dlq: "app.dlq".into(),
        };
        let moved = |len: usize| {
            let value = Some(format!("\"{}\"", "x".repeat(len)).into());
            let key = Some("n-1".into());
            let record = Record { partition: 2, offset: 7, timestamp_ms: 3, key, value, headers: Vec::new() };
            ingress.bind(&record).remove(0)
        };
        let fits = moved(998);
        assert_eq!((&*fits.topic, fits.partition), ("app.commands", Some(3)));
        let refused = moved(999);
        assert_eq!((&*refused.topic, refused.value.map(|v| v.len())), ("app.dlq", Some(1_001)));
        let cut = moved(3 << 20);
        assert_eq!((&*cut.topic, cut.key.as_deref(), cut.value), ("app.dlq", Some(&b"n-1"[..]), None));
    }
}
