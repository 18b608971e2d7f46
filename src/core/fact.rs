//! What only the owner of a lane knows until the journal has it.

use crate::core::error::{Failure, Park};
use crate::core::history::Outcome;
use crate::core::ids::{InstanceKey, Millis, OpId};
use serde::{Deserialize, Serialize};

/// Something that happened inside the owner. Wire numbers (the order here) are never reused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fact {
    /// A step ended: with a result, or with the failure that ends its retries.
    StepEnded {
        /// The instance.
        key: InstanceKey,
        /// Its run.
        run: u32,
        /// The step.
        op: OpId,
        /// Which attempt, from 1.
        attempt: u32,
        /// With what.
        outcome: Outcome,
    },
    /// An attempt failed and another will follow.
    AttemptFailed {
        /// The instance.
        key: InstanceKey,
        /// Its run.
        run: u32,
        /// The step.
        op: OpId,
        /// Which attempt, from 1.
        attempt: u32,
        /// With what.
        failure: Failure,
        /// When the next one may start.
        retry_at: Millis,
    },
    /// A timer came due.
    TimerDue {
        /// The instance.
        key: InstanceKey,
        /// Its run.
        run: u32,
        /// The sleep.
        op: OpId,
        /// The time for which it was set.
        due: Millis,
    },
    /// The instance's code no longer fits its history; found while it was loaded to run a step, not by an input.
    Parked {
        /// The instance.
        key: InstanceKey,
        /// Its run.
        run: u32,
        /// Code and text.
        park: Park,
    },
}

impl Fact {
    /// The instance that the fact is about.
    pub fn key(&self) -> &InstanceKey {
        match self {
            Fact::StepEnded { key, .. }
            | Fact::AttemptFailed { key, .. }
            | Fact::TimerDue { key, .. }
            | Fact::Parked { key, .. } => key,
        }
    }
}

/// One record of the journal: the facts that waited, and how far commands had been applied before them. That fixes
/// the order of everything, so a replay does what the owner did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalRecord {
    /// Epoch of the owner that wrote it. A record of an earlier epoch than its predecessor is refused.
    pub epoch: u64,
    /// Numbers the records of a lane, without gaps, over all owners.
    pub seq: u64,
    /// Offset of the next command to be applied when the facts were: everything below had been.
    pub next_command: i64,
    /// Time of the facts.
    pub at: Millis,
    /// The facts, in order.
    pub facts: Vec<Fact>,
}
