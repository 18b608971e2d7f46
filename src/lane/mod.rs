//! One partition's owner: takes it over, applies its input, appends facts, writes checkpoints, until it is stopped or
//! lost.
//!
//! What a crash leaves behind, and who mends it:
//!
//! | crash | left behind | mended by |
//! |---|---|---|
//! | before an append is acknowledged | perhaps the record; nothing that depends on it has left | take-over replays the record if it is there; else the attempt runs again |
//! | after the acknowledgement | the record | take-over replays it |
//! | inside a checkpoint, before its commit | an open transaction | the next owner's fence aborts it; state and outgoing records are made again by replay |
//! | after the commit, before the store has it | a store behind its changelog | restore reads the tail |
//! | inside the store's write | nothing of the batch, or all of it | as above |
//! | after a commit whose markers a dying broker forgets | a transaction that no fence ends | an operator; no owner begins before |
//! | inside take-over or restore | a store that holds a prefix | restore goes on from its offset |

mod acks;
mod agenda;
mod append;
mod checkpoint;
#[cfg(test)]
mod checkpoint_tests;
mod clock;
mod describe;
mod engine;
mod fault;
mod host;
mod intake;
mod letters;
mod overlay;
mod perform;
mod progress;
mod reads;
mod replay;
mod restore;
mod restore_budget;
#[cfg(test)]
mod restore_tests;
mod run;
mod takeover;
mod turnstile;
mod watched;

pub use host::{Host, Join};
pub use restore_budget::RestoreBudget;
pub use run::Lane;
pub use takeover::{Takeover, take_over};
pub use turnstile::Turnstile;

use crate::core::limits::Limits;
use crate::log::{LogError, Record};
use crate::store::StoreError;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

/// The topics of an app.
#[derive(Debug, Clone)]
pub struct Topics {
    /// The one input of the lanes.
    pub commands: Arc<str>,
    /// Fenced facts.
    pub journal: Arc<str>,
    /// State, compacted.
    pub changelog: Arc<str>,
    /// Answers to clients.
    pub replies: Arc<str>,
    /// Records that nobody could use.
    pub dlq: Arc<str>,
}

impl Topics {
    /// The topics of an app, by its name.
    pub fn of(app: &str) -> Self {
        let name = |part: &str| Arc::from(format!("{app}.{part}"));
        Topics {
            commands: name("commands"),
            journal: name("journal"),
            changelog: name("changelog"),
            replies: name("replies"),
            dlq: name("dlq"),
        }
    }
}

/// What a lane is and how it works.
#[derive(Clone)]
pub struct LaneConfig {
    /// The app; also the prefix of the transactional ids.
    pub app: Arc<str>,
    /// Which lane.
    pub partition: i32,
    /// How many lanes there are.
    pub partitions: i32,
    /// Partitions of the replies topic.
    pub reply_partitions: i32,
    /// The topics.
    pub topics: Topics,
    /// Bounds of the core.
    pub limits: Limits,
    /// Kafka's default partitioner: the lane of an id.
    pub partition_for: fn(&[u8], i32) -> i32,
    /// Longest time between state that only the journal holds and a checkpoint, if nothing outgoing asks for one.
    pub commit_interval: Duration,
    /// How often the journal's transaction is rolled; far below its timeout.
    pub journal_roll: Duration,
    /// `min.compaction.lag.ms` of the changelog: checkpoints younger than this must be complete in a restore.
    pub min_compaction_lag: Duration,
    /// `delete.retention.ms` of the changelog: a store that is older may have missed deletions.
    pub keep_deletes: Duration,
    /// Bound on the instances kept in memory, in bytes.
    pub cache_bytes: usize,
    /// Outgoing records at which nothing more is decided until a checkpoint has carried them off.
    pub outbox_len: usize,
    /// Steps and facts on their way between the code and the journal, at which commands wait.
    pub busy_steps: usize,
    /// What restores may hold in memory, all lanes of the process together.
    pub restore_budget: Arc<RestoreBudget>,
    /// How long a take-over may wait for the log.
    pub fence_timeout: Duration,
}

impl LaneConfig {
    fn lane_of(&self, id: &str) -> i32 {
        (self.partition_for)(id.as_bytes(), self.partitions)
    }
}

/// Records of the commands topic, in order, or why no more come.
pub type Feed = Result<Vec<Record>, LogError>;

/// What reaches a lane besides commands.
#[derive(Debug)]
enum Event {
    /// An append was answered; look at the acknowledgements.
    Appended,
    /// The transaction that is being written takes one more checkpoint, if there is anything to add.
    MoreTaken,
    /// Everything in it is acknowledged. The next may begin.
    Produced,
    /// The oldest checkpoint ended: offset of its last record, or why it did not.
    Checkpointed(Result<i64, LogError>),
    /// A step body may go on.
    Wake,
    /// It is this lane's turn to write a checkpoint.
    Turn(turnstile::Turn),
    /// End cleanly.
    Stop,
}

/// Why a lane ended.
#[derive(Debug, thiserror::Error)]
pub enum LaneEnd {
    /// It was told to.
    #[error("stopped")]
    Stopped,
    /// Its writer is no longer good. If the partition is still ours: take over again.
    #[error("{0}")]
    Lost(String),
    /// Its log does not hold what it must. An operator has to look; taking over again would not help.
    #[error("{0}")]
    Broken(String),
    /// Its store cannot be read or written: wipe it and restore.
    #[error("{0}")]
    Store(StoreError),
}

impl From<LogError> for LaneEnd {
    fn from(error: LogError) -> Self {
        match error {
            LogError::Broken(text) => LaneEnd::Broken(text),
            other => LaneEnd::Lost(other.to_string()),
        }
    }
}

impl From<StoreError> for LaneEnd {
    fn from(error: StoreError) -> Self {
        LaneEnd::Store(error)
    }
}

/// Tells a running lane to do something.
#[derive(Clone)]
pub struct LaneHandle {
    events: crossbeam_channel::Sender<Event>,
    committed: Arc<AtomicI64>,
}

impl LaneHandle {
    /// Asks for a clean end: the last checkpoint is written, open transactions are ended.
    pub fn stop(&self) {
        // The lane may have ended by itself.
        let _ = self.events.send(Event::Stop);
    }

    /// Offset of the next command after the last committed checkpoint, for lag tools.
    pub fn committed(&self) -> i64 {
        self.committed.load(Ordering::Relaxed)
    }
}
