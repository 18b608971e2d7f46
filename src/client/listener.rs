//! Reads one partition of the replies topic, on a thread of its own.

use super::ClientError;
use super::inbox::Inbox;
use crate::codec::reply;
use crate::log::kafka::KafkaLog;
use crate::log::{Isolation, Log, LogError, LogReader};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const POLL: Duration = Duration::from_millis(200);
const FIRST_BACKOFF: Duration = Duration::from_millis(100);
const LONGEST_BACKOFF: Duration = Duration::from_secs(5);

/// The thread; it ends when this is dropped.
pub(super) struct Listener {
    partition: i32,
    stop: Arc<AtomicBool>,
}

impl Listener {
    /// Blocks until the place to read from is known, so that no answer to a later question can be missed.
    pub(super) fn start(
        log: KafkaLog,
        replies: &str,
        partitions: i32,
        inbox: Arc<Inbox>,
    ) -> Result<Self, ClientError> {
        let partition = any_of(partitions);
        let reader = open(&log, replies, partition)?;
        let stop = Arc::new(AtomicBool::new(false));
        let (theirs, topic) = (stop.clone(), replies.to_string());
        std::thread::Builder::new()
            .name(format!("{topic}-{partition}"))
            .spawn(move || Ear { log, topic, partition, inbox, stop: theirs }.listen(reader))
            .map_err(|e| ClientError::Unavailable(format!("no thread for the client: {e}")))?;
        Ok(Listener { partition, stop })
    }

    pub(super) fn partition(&self) -> i32 {
        self.partition
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
    }
}

/// Clients spread over the partitions by chance; the random part of a UUID is chance enough.
fn any_of(partitions: i32) -> i32 {
    let bound = u128::from(partitions.max(1).unsigned_abs());
    i32::try_from(uuid::Uuid::new_v4().as_u128() % bound).unwrap_or(0)
}

/// Answers to questions that are asked from now on lie at or behind the end of committed records.
fn open(log: &KafkaLog, topic: &str, partition: i32) -> Result<Box<dyn LogReader>, LogError> {
    let end = log.offsets(topic, partition, Isolation::Committed)?.end;
    log.read(topic, partition, end, Isolation::Committed)
}

struct Ear {
    log: KafkaLog,
    topic: String,
    partition: i32,
    inbox: Arc<Inbox>,
    stop: Arc<AtomicBool>,
}

impl Ear {
    fn listen(self, first: Box<dyn LogReader>) {
        let mut reader = Some(first);
        let mut backoff = FIRST_BACKOFF;
        while !self.stop.load(Ordering::SeqCst) {
            let heard = match reader.as_mut() {
                Some(reader) => self.hear(&mut **reader),
                None => open(&self.log, &self.topic, self.partition).map(|opened| {
                    reader = Some(opened);
                    backoff = FIRST_BACKOFF;
                    self.inbox.note_gap();
                }),
            };
            if let Err(error) = heard {
                tracing::warn!(topic = %self.topic, partition = self.partition, "answers are read anew: {error}");
                reader = None;
                std::thread::park_timeout(backoff);
                backoff = (backoff * 2).min(LONGEST_BACKOFF);
            }
        }
    }

    fn hear(&self, reader: &mut dyn LogReader) -> Result<(), LogError> {
        let Some(record) = reader.next(POLL)? else { return Ok(()) };
        let Some(correlation) = &record.key else { return Ok(()) };
        match reply::decode(&record.headers, record.value.as_ref()) {
            Ok(answer) => self.inbox.deliver(correlation, answer),
            // It may be for another client, of another version; the one who waits for it runs into its deadline.
            Err(why) => tracing::warn!(topic = %self.topic, offset = record.offset, "{why}"),
        }
        Ok(())
    }
}
