//! What the core wants done. Somebody else performs it.

use crate::core::error::RejectCode;
use crate::core::history::Outcome;
use crate::core::ids::{InstanceKey, Millis, OpId};
use crate::core::input::{Command, ReplyTo};
use bytes::Bytes;
use std::sync::Arc;

/// One thing to be done. What leaves the lane (`Send`, `Command`, `Reply`, `DeadLetter`) goes out in the checkpoint
/// that also holds the state of which it is a part.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Start an attempt, not before `not_before` (0 = at once) and not before the journal is durable so far.
    RunStep {
        /// The instance.
        key: InstanceKey,
        /// Its run.
        run: u32,
        /// The step.
        op: OpId,
        /// Which attempt, from 1.
        attempt: u32,
        /// Earliest time.
        not_before: Millis,
        /// Whether it rests on nothing but the start of its instance, as the log has it. Any other input has a place
        /// among the facts, and the attempt must not start before the journal says which.
        at_once: bool,
    },
    /// Report a [`Fact::TimerDue`](crate::core::fact::Fact::TimerDue) at that time.
    ArmTimer {
        /// The time.
        due: Millis,
        /// The instance.
        key: InstanceKey,
        /// Its run.
        run: u32,
        /// The sleep.
        op: OpId,
    },
    /// Nobody waits for that timer any more.
    DisarmTimer {
        /// The time for which it was set.
        due: Millis,
        /// The instance.
        key: InstanceKey,
        /// The sleep.
        op: OpId,
    },
    /// Produce a record to a topic of the user's.
    Send {
        /// The topic.
        topic: Arc<str>,
        /// The key.
        key: Bytes,
        /// The value.
        value: Bytes,
    },
    /// Produce a command for an instance of another lane.
    Command(Command),
    /// Answer a client.
    Reply {
        /// Where it listens.
        to: ReplyTo,
        /// What happened.
        reply: Reply,
    },
    /// Put the command that is being applied on the dead-letter topic.
    DeadLetter {
        /// Why.
        code: RejectCode,
        /// What happened, to which thing, and what to do.
        message: String,
    },
    /// The instance's code is no longer needed in memory.
    Forget(InstanceKey),
    /// An instance was parked: tell the operator.
    Parked {
        /// The instance.
        key: InstanceKey,
        /// Code and text.
        park: crate::core::error::Park,
    },
    /// A fact fits no instance. It is reported and changes nothing.
    Stray {
        /// What and why.
        message: String,
    },
}

/// What a client is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// The instance ended.
    Ended(Outcome),
    /// There is no such instance.
    Unknown,
    /// A cancel or retry was noted.
    Noted,
}
