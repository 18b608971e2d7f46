//! The log as the engine needs it: a fenced journal, checkpoints in one transaction, readers, offsets.
//!
//! `kafka` is the only implementation that talks to a broker and the only place that imports `rdkafka`. Everything
//! above works on these traits, so that a simulated log can take its place.

#[cfg(feature = "engine")]
pub mod kafka;

use crate::codec::headers::Header;
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;

/// A record as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Partition it was read from.
    pub partition: i32,
    /// Its offset there.
    pub offset: i64,
    /// Milliseconds since the Unix epoch, as the broker stored them; −1 if it has none.
    pub timestamp_ms: i64,
    /// The key, if any.
    pub key: Option<Bytes>,
    /// The value; `None` is a tombstone.
    pub value: Option<Bytes>,
    /// Headers in order. A name may repeat.
    pub headers: Vec<Header>,
}

impl Record {
    /// The first header of that name.
    pub fn header(&self, name: &str) -> Option<&Bytes> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v)
    }
}

/// A record to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRecord {
    /// Topic to write to.
    pub topic: Arc<str>,
    /// Partition; `None` = by Kafka's default partitioner (murmur2 of the key).
    pub partition: Option<i32>,
    /// The key, if any.
    pub key: Option<Bytes>,
    /// The value; `None` is a tombstone.
    pub value: Option<Bytes>,
    /// Headers in order.
    pub headers: Vec<Header>,
}

/// Which records a reader sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isolation {
    /// Only committed ones, up to the last stable offset.
    Committed,
    /// All acknowledged ones, whatever became of their transaction. Right for the journal, where only the fence counts.
    Uncommitted,
}

/// What a partition holds: `start..end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OffsetRange {
    /// First offset that is still there.
    pub start: i64,
    /// One past the last offset that the given isolation may read. From ListOffsets, never from an end-of-partition
    /// event: after a leader change a fetch may report an old high watermark (KIP-207).
    pub end: i64,
}

/// What went wrong with the log, by what the caller has to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// Another owner has taken over, or the outcome of a write is unknown: drop the writer and everything in memory
    /// that is not committed, and take the lane over again if it is still ours (rule A, KAFKA-17754).
    #[error("the writer is no longer good: {0}")]
    Lost(String),
    /// Nothing is lost; the same call may work later.
    #[error("{0}")]
    Unavailable(String),
    /// The log does not hold what it must hold (deleted, torn, wrong topic). An operator has to look.
    #[error("{0}")]
    Broken(String),
    /// The record can never be written (too large, unknown topic).
    #[error("{0}")]
    Refused(String),
    /// One record of a transaction can never be written; the transaction is aborted.
    #[error("{text}")]
    RefusedRecord {
        /// Its place among the records of the transaction.
        index: usize,
        /// Every record for its topic would be refused as well.
        topic_wide: bool,
        /// What is wrong with it and what to do.
        text: String,
    },
}

/// What became of an append, told to [`JournalAcks`] on a thread of the log's.
#[derive(Debug)]
pub enum Appended {
    /// The journal record `seq` is durable at `offset`.
    Durable {
        /// Sequence that the lane gave it.
        seq: u64,
        /// Its offset in the journal.
        offset: i64,
    },
    /// It is not, or nobody knows: the lane is lost.
    Lost(String),
}

/// Receives the acknowledgements of appends, in order. Called on a librdkafka thread: must not block.
pub trait JournalAcks: Send + Sync + 'static {
    /// One append was answered.
    fn appended(&self, what: Appended);
}

/// The names that fence one lane and the partitions that it writes.
#[derive(Debug, Clone)]
pub struct LaneNames {
    /// Transactional ids are `<app>-<partition>-journal`, `-a`, `-b`.
    pub app: Arc<str>,
    /// The lane's partition, the same in journal and changelog.
    pub partition: i32,
    /// Topic of the fenced journal.
    pub journal: Arc<str>,
    /// Compacted topic of the state.
    pub changelog: Arc<str>,
}

/// Opens writers and readers.
pub trait Log: Send + Sync + 'static {
    /// Fences every earlier owner of the lane: `init_transactions` on the journal's id, and then on both ids of the
    /// checkpoints. When it returns, no transaction of an earlier owner is open and none of its writes can be accepted.
    /// Blocks (up to `wait` for each).
    ///
    /// The order matters: of two take-overs at the same time, the one whose appends are accepted afterwards fenced the
    /// journal last, and so the checkpoints as well. In any other order each could end up with one of the ids.
    fn open_lane(
        &self,
        names: &LaneNames,
        acks: Arc<dyn JournalAcks>,
        wait: Duration,
    ) -> Result<LaneWriter, LogError>;
    /// The range of a partition, asked of its leader. Blocks.
    fn offsets(&self, topic: &str, partition: i32, isolation: Isolation) -> Result<OffsetRange, LogError>;
    /// Reads a partition from an offset on. Blocks while opening.
    fn read(
        &self,
        topic: &str,
        partition: i32,
        from: i64,
        isolation: Isolation,
    ) -> Result<Box<dyn LogReader>, LogError>;
    /// Deletes everything below `before` (DeleteRecords). Blocks.
    fn trim(&self, topic: &str, partition: i32, before: i64) -> Result<(), LogError>;
}

/// A lane's writers; each may live on a thread of its own.
pub struct LaneWriter {
    /// The fenced write-ahead log of facts.
    pub journal: Box<dyn Journal>,
    /// The transactions of state and outgoing records, on two ids to be used in turn: one that begins on the id whose
    /// predecessor has just ended meets CONCURRENT_TRANSACTIONS, and librdkafka then sleeps a hard-coded 20 ms; in
    /// turn the p99 of a small transaction falls from 15-30 ms to 5. And the second may be written while the first is
    /// being committed.
    pub checkpoints: [Box<dyn Checkpoints>; 2],
}

/// The fenced append: a produce inside a transaction that is kept open, durable when acknowledged.
pub trait Journal: Send {
    /// Hands the record to the log and returns at once; [`JournalAcks`] hears of the outcome, in order of `seq`.
    fn append(&mut self, seq: u64, record: Bytes) -> Result<(), LogError>;
    /// Ends the open transaction and begins the next, long before the transaction timeout. Only with nothing in
    /// flight; blocks for about a millisecond.
    fn roll(&mut self) -> Result<(), LogError>;
    /// Ends the open transaction so that the next owner need not wait for its abort. The journal is unusable after.
    fn close(&mut self) -> Result<(), LogError>;
}

/// What is known of a transaction that was committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Committed {
    /// The request to commit was sent once.
    Once,
    /// It may have been sent twice, and the first one may still be under way. The older transaction protocol, the only
    /// one that librdkafka speaks, cannot tell it from a request of the id's next transaction, and would commit the half
    /// of it that is there (KAFKA-17754). Only a take-over, which bumps the epoch, makes the id usable again.
    MayComeAgain,
}

/// Transactions on one id, one after another.
///
/// After [`LogError::RefusedRecord`] the transaction is aborted, and nothing of it was written. Any other error means that
/// the outcome may be unknown: the caller drops the writer and takes over again (rule A).
pub trait Checkpoints: Send {
    /// Writes records in the open transaction, or begins one, and waits until all are acknowledged. Returns the offset of
    /// the last one.
    fn produce(&mut self, records: &[NewRecord]) -> Result<i64, LogError>;
    /// Commits the open transaction.
    fn commit(&mut self) -> Result<Committed, LogError>;
    /// Aborts it.
    fn abort(&mut self) -> Result<(), LogError>;
}

/// A record, lent for the time of a call: whoever keeps it copies what he needs.
#[derive(Debug, Clone, Copy)]
pub struct Lent<'a> {
    /// Its offset.
    pub offset: i64,
    /// Milliseconds since the Unix epoch, as the broker stored them; −1 if it has none.
    pub timestamp_ms: i64,
    /// The key, if any.
    pub key: Option<&'a [u8]>,
    /// The value; `None` is a tombstone.
    pub value: Option<&'a [u8]>,
    /// The header that was asked for, if it is there.
    pub header: Option<&'a [u8]>,
}

/// Reads one partition.
pub trait LogReader: Send {
    /// The next record, or `None` if none came within `wait`.
    fn next(&mut self, wait: Duration) -> Result<Option<Record>, LogError>;
    /// The same without a copy, with one of the headers: restores read millions. Whether there was one.
    fn lend(
        &mut self,
        wait: Duration,
        header: &str,
        take: &mut dyn FnMut(Lent<'_>),
    ) -> Result<bool, LogError> {
        let Some(record) = self.next(wait)? else { return Ok(false) };
        take(Lent {
            offset: record.offset,
            timestamp_ms: record.timestamp_ms,
            key: record.key.as_deref(),
            value: record.value.as_deref(),
            header: record.header(header).map(|value| &value[..]),
        });
        Ok(true)
    }
    /// The offset that the reader will read next, past control records and aborted ones. A restore is complete when
    /// this reaches the end from [`Log::offsets`], never when a number of records was counted.
    fn position(&mut self) -> Result<i64, LogError>;
}

/// Moves records of one input partition to their lanes: each batch, and the position behind it, in one transaction.
pub trait Mover: Send {
    /// Writes all records and the position. After [`LogError::Lost`] the outcome is unknown: open a new mover (which
    /// fences this one) and read the committed position. After any other error nothing was moved.
    fn move_batch(&mut self, records: &[NewRecord], next_offset: i64) -> Result<(), LogError>;
}
