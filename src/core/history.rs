//! What an instance has recorded: turns.
//!
//! A turn is one input and what the code asked for before it waited again. Replay feeds the inputs in the same order
//! and compares what is asked with what was asked.

use crate::core::error::Failure;
use crate::core::ids::{InstanceKey, Millis, OpId};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

/// The outcome of a step, a child or an instance: payload bytes or a failure.
pub type Outcome = Result<Bytes, Failure>;

/// One input that was delivered to an instance's code, and the operations that the code issued in answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Turn {
    /// Time of the input: what `ctx.now()` returned.
    pub at: Millis,
    /// What was delivered.
    pub input: TurnInput,
    /// What the code asked for then, in order.
    pub asked: Vec<Mark>,
}

impl Turn {
    /// Bytes that it takes in a row, about.
    pub fn size(&self) -> usize {
        const NUMBERS: usize = 16;
        let marks = self.asked.iter().map(|mark| NUMBERS + mark.what.name_len());
        NUMBERS + self.input.payload_len() + marks.sum::<usize>()
    }
}

/// The turns of an instance so far, in order, or the first of them that could not be had.
pub type History = Result<Vec<Turn>, MissingTurn>;

/// The number of a turn, from 0, that the instance's history should hold and does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MissingTurn(pub u32);

/// What a turn delivers. Wire numbers (the order here) are never reused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum TurnInput {
    /// The instance begins, with the payload of its start.
    Start(Bytes),
    /// A step ended, after so many attempts.
    Step {
        /// Which.
        op: OpId,
        /// Attempts it took, from 1.
        attempts: u32,
        /// With what.
        outcome: Outcome,
    },
    /// A timer came due.
    Timer {
        /// The sleep that it ends.
        op: OpId,
    },
    /// A signal met the operation that waited for it.
    Signal {
        /// The receive that it ends.
        op: OpId,
        /// Its payload.
        payload: Bytes,
    },
    /// A child ended.
    Child {
        /// The call that it ends.
        op: OpId,
        /// With what.
        outcome: Outcome,
    },
    /// Somebody cancelled the instance: every open operation ends with "cancelled".
    Cancel,
}

/// Which open operations of an instance an input ends.
pub(super) enum Ends {
    None,
    One(OpId),
    All,
}

impl TurnInput {
    /// The operations that it ends.
    pub(super) fn ends(&self) -> Ends {
        match self {
            TurnInput::Start(_) => Ends::None,
            TurnInput::Cancel => Ends::All,
            TurnInput::Step { op, .. }
            | TurnInput::Timer { op }
            | TurnInput::Signal { op, .. }
            | TurnInput::Child { op, .. } => Ends::One(*op),
        }
    }

    fn payload_len(&self) -> usize {
        match self {
            TurnInput::Start(payload) | TurnInput::Signal { payload, .. } => payload.len(),
            TurnInput::Step { outcome, .. } | TurnInput::Child { outcome, .. } => {
                outcome.as_ref().map_or_else(Failure::size, Bytes::len)
            }
            TurnInput::Timer { .. } | TurnInput::Cancel => 0,
        }
    }
}

/// What the code asks for. Full form, from the executor to the core; the history keeps its [`Mark`].
#[derive(Debug, Clone, PartialEq)]
pub struct Op {
    /// Its place in the code.
    pub id: OpId,
    /// What.
    pub ask: Ask,
}

/// The kinds of operations.
#[derive(Debug, Clone, PartialEq)]
pub enum Ask {
    /// Run a side effect.
    Run {
        /// Name of the step.
        name: Arc<str>,
    },
    /// Wait until a time.
    Sleep {
        /// The time.
        until: Millis,
        /// What was asked, for comparison: the length of the sleep.
        length_ms: u64,
    },
    /// Wait for a signal.
    Receive {
        /// Its name.
        signal: Arc<str>,
    },
    /// Produce a record to one of the user's topics, in the next checkpoint.
    Send {
        /// The topic.
        topic: Arc<str>,
        /// The key.
        key: Bytes,
        /// The value.
        value: Bytes,
    },
    /// Start a child (or find it) and wait for its result.
    Call {
        /// Which instance.
        child: InstanceKey,
        /// Payload of its start.
        input: Bytes,
    },
    /// The code dropped an open operation: `id` names the dropped one.
    Drop,
}

/// What the history keeps of an operation, to compare with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// Its place in the code.
    pub id: OpId,
    /// What was asked.
    pub what: MarkKind,
}

/// The kinds of [`Mark`]. Wire numbers (the order here) are never reused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum MarkKind {
    /// A step of this name.
    Run(Arc<str>),
    /// A sleep of this many milliseconds.
    Sleep(u64),
    /// A receive of this signal.
    Receive(Arc<str>),
    /// A record to this topic.
    Send(Arc<str>),
    /// A call of this instance.
    Call(InstanceKey),
    /// The operation was dropped.
    Drop,
}

impl Op {
    /// What the history keeps of it.
    pub fn mark(&self) -> Mark {
        let what = match &self.ask {
            Ask::Run { name } => MarkKind::Run(name.clone()),
            Ask::Sleep { length_ms, .. } => MarkKind::Sleep(*length_ms),
            Ask::Receive { signal } => MarkKind::Receive(signal.clone()),
            Ask::Send { topic, .. } => MarkKind::Send(topic.clone()),
            Ask::Call { child, .. } => MarkKind::Call(child.clone()),
            Ask::Drop => MarkKind::Drop,
        };
        Mark { id: self.id, what }
    }
}

impl Ask {
    /// Bytes of the names that the history keeps of it.
    pub(super) fn name_len(&self) -> usize {
        match self {
            Ask::Run { name } | Ask::Receive { signal: name } | Ask::Send { topic: name, .. } => name.len(),
            Ask::Call { child, .. } => child.id.len() + child.workflow.len(),
            Ask::Sleep { .. } | Ask::Drop => 0,
        }
    }
}

impl MarkKind {
    /// Bytes of the names in it.
    pub(super) fn name_len(&self) -> usize {
        match self {
            MarkKind::Run(name) | MarkKind::Receive(name) | MarkKind::Send(name) => name.len(),
            MarkKind::Call(child) => child.id.len() + child.workflow.len(),
            MarkKind::Sleep(_) | MarkKind::Drop => 0,
        }
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.what {
            MarkKind::Run(name) => write!(f, "run \"{name}\""),
            MarkKind::Sleep(ms) => write!(f, "sleep {}", Length(*ms)),
            MarkKind::Receive(name) => write!(f, "recv \"{name}\""),
            MarkKind::Send(topic) => write!(f, "send to \"{topic}\""),
            MarkKind::Call(child) => write!(f, "call {child}"),
            MarkKind::Drop => write!(f, "drop of operation {}", self.id),
        }
    }
}

/// Prints a number of milliseconds as a person says it: `3d`, `90m`, `1.5s`.
#[derive(Debug, Clone, Copy)]
pub struct Length(pub u64);

impl fmt::Display for Length {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(u64, &str); 4] = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s")];
        match UNITS.iter().find(|(ms, _)| self.0 >= *ms && self.0.is_multiple_of(*ms)) {
            Some((ms, unit)) => write!(f, "{}{unit}", self.0 / ms),
            None if self.0 > 1_000 => write!(f, "{:.1}s", self.0 as f64 / 1000.0),
            None => write!(f, "{}ms", self.0),
        }
    }
}
