//! The rows of a lane's state.

use crate::core::error::{Failure, Park};
use crate::core::history::{Mark, Outcome, Turn, TurnInput};
use crate::core::ids::{InstanceKey, Millis, OpId};
use crate::core::input::{ParentLink, Waiter};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Names a row. The codec gives each variant a tag; tags are never reused.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// How far the lane is. The last record of every checkpoint.
    Position,
    /// An instance, from its start on, also after its end.
    Instance(InstanceKey),
    /// Turns of its history that its own row no longer holds, by the number of the first.
    Turns(InstanceKey, u32),
    /// A step that has not ended.
    Step(InstanceKey, OpId),
    /// A timer, in the order in which timers come due.
    Timer(Millis, InstanceKey, OpId),
    /// A signal that nobody has received yet, in order of arrival.
    Signal(InstanceKey, u64),
    /// An input that reached a parked instance and waits until it is taken up again.
    Inbox(InstanceKey, u64),
}

/// A row's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Row {
    /// Of [`Key::Position`].
    Position(Position),
    /// Of [`Key::Instance`].
    Instance(Box<Instance>),
    /// Of [`Key::Turns`].
    Turns(Vec<Turn>),
    /// Of [`Key::Step`].
    Step(Step),
    /// Of [`Key::Timer`].
    Timer(Timer),
    /// Of [`Key::Signal`].
    Signal(Bytes),
    /// Of [`Key::Inbox`].
    Inbox(TurnInput),
}

/// How far a lane is: the authority for where to go on (rule C). Group offsets only serve lag tools.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Position {
    /// Epoch of the owner that wrote it.
    pub epoch: u64,
    /// Number of the checkpoint, without gaps over all owners.
    pub checkpoint: u64,
    /// Offset of the next command to apply.
    pub next_command: i64,
    /// Sequence of the last journal record that is applied; 0 = none.
    pub journal_seq: u64,
    /// An offset in the journal from which every record after `journal_seq` can be read.
    pub journal_offset: i64,
    /// Latest time that was applied; time never goes back.
    pub now: Millis,
    /// How many lanes the app had: which one an id belongs to depends on it. 0 in what was written before it was kept.
    pub partitions: i32,
    /// The workflows that are called.
    pub callees: Callees,
}

/// Names of the workflows of which the lane's log has had a start by a parent. Only those may begin in memory, and only of
/// the others does the first step of a start in the log begin before an append: else a start could have run a step, and
/// after a crash find that a call of the same id, which nothing has a record of, came before it.
pub type Callees = BTreeSet<Arc<str>>;

/// One run of a workflow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    /// Counts the runs under this name, from 0.
    pub run: u32,
    /// Where it stands.
    pub status: Status,
    /// Time of its start.
    pub started: Millis,
    /// Time of its last turn.
    pub updated: Millis,
    /// Turns in its history: those of its [`Key::Turns`] rows, and then the recent ones.
    pub turns: u32,
    /// Operations that have not ended, in the order in which they were issued.
    pub open: Vec<OpenOp>,
    /// Signals that wait, in order of arrival: row number and name.
    pub mail: Vec<(u64, Arc<str>)>,
    /// Row number of the next signal.
    pub next_mail: u64,
    /// Inputs that wait because the instance is parked: row numbers `inbox.0..inbox.1`.
    pub inbox: (u64, u64),
    /// Who called it, if it is a child.
    pub parent: Option<ParentLink>,
    /// Who waits for its result.
    pub waiters: Vec<Waiter>,
    /// Whether somebody cancelled it.
    pub cancelled: bool,
    /// What happened, in short, without payloads: made at the end, when the history goes.
    pub digest: Digest,
    /// The last turns of its history, as long as they are few and small: a row of their own would cost a workflow of
    /// some steps more than the turns do. (Since version 2 of this row.)
    pub recent: Vec<Turn>,
}

impl Instance {
    /// A new instance, before its first turn.
    pub fn new(now: Millis, waiter: Option<Waiter>) -> Self {
        let parent = match &waiter {
            Some(Waiter::Parent(link)) => Some(link.clone()),
            _ => None,
        };
        Instance {
            run: 0,
            status: Status::Running,
            started: now,
            updated: now,
            turns: 0,
            open: Vec::new(),
            mail: Vec::new(),
            next_mail: 0,
            inbox: (0, 0),
            parent,
            waiters: waiter.into_iter().collect(),
            cancelled: false,
            digest: Digest::default(),
            recent: Vec::new(),
        }
    }

    /// Number of the first turn that its row holds; those before it have rows of their own.
    pub fn first_recent(&self) -> u32 {
        self.turns.saturating_sub(count(&self.recent))
    }
}

/// How many these are: a history never has more than `u32` can say.
pub(super) fn count(turns: &[Turn]) -> u32 {
    u32::try_from(turns.len()).unwrap_or(u32::MAX)
}

/// Where an instance stands. Wire numbers (the order here) are never reused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Status {
    /// Waiting for something.
    Running,
    /// Stopped until someone acts.
    Parked(Park),
    /// Ended with a result.
    Completed(Bytes),
    /// Ended with a failure.
    Failed(Failure),
    /// Ended after it was cancelled.
    Cancelled(Failure),
}

impl Status {
    /// The result of an ended instance.
    pub fn outcome(&self) -> Option<Outcome> {
        match self {
            Status::Running | Status::Parked(_) => None,
            Status::Completed(payload) => Some(Ok(payload.clone())),
            Status::Failed(failure) | Status::Cancelled(failure) => Some(Err(failure.clone())),
        }
    }
    /// Whether it has a result, which never changes.
    pub fn has_ended(&self) -> bool {
        !matches!(self, Status::Running | Status::Parked(_))
    }
    /// One word for lists.
    pub fn word(&self) -> &'static str {
        match self {
            Status::Running => "running",
            Status::Parked(_) => "parked",
            Status::Completed(_) => "completed",
            Status::Failed(_) => "failed",
            Status::Cancelled(_) => "cancelled",
        }
    }
}

/// An operation that the code waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenOp {
    /// What and where.
    pub mark: Mark,
    /// When it was issued.
    pub since: Millis,
    /// For a sleep: when it ends. For others 0.
    pub until: Millis,
}

/// A step that has not ended: how often it was tried and when it is tried again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Run of the instance.
    pub run: u32,
    /// Attempts that failed.
    pub failed_attempts: u32,
    /// Not before this time; 0 = at once.
    pub retry_at: Millis,
    /// Why the last one failed.
    pub last_failure: Option<Failure>,
}

/// A timer that has not come due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timer {
    /// Run of the instance.
    pub run: u32,
}

/// What happened in an instance, without payloads.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Digest {
    /// Operations that ended, in order.
    pub entries: Vec<DigestEntry>,
    /// How many more there were than are kept.
    pub omitted: u32,
}

/// One operation that ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DigestEntry {
    /// What.
    pub mark: Mark,
    /// When it was issued.
    pub since: Millis,
    /// When it ended.
    pub until: Millis,
    /// Attempts, for a step; 0 for others.
    pub attempts: u32,
    /// How it ended.
    pub end: DigestEnd,
}

/// How an operation ended. Wire numbers (the order here) are never reused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum DigestEnd {
    /// With a result.
    Ok,
    /// With a failure.
    Failed(String),
    /// The code dropped it.
    Dropped,
    /// The instance was cancelled.
    Cancelled,
}
