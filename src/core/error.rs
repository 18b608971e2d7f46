//! Failures as they are recorded: the end of an instance, of a step, of a child.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A failure that is part of a history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What kind of failure.
    pub kind: FailureKind,
    /// For people.
    pub message: String,
    /// A typed error of the user's, as its codec wrote it; empty if there is none.
    pub details: Bytes,
}

/// What a failure means for whoever waits for it. Wire numbers (the order here) are never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum FailureKind {
    /// The operation may be tried again.
    Retryable,
    /// Trying again would not help.
    Permanent,
    /// Somebody cancelled it.
    Cancelled,
    /// A payload was over the limit.
    PayloadTooLarge,
}

impl Failure {
    /// A permanent failure without details.
    pub fn permanent(message: impl Into<String>) -> Self {
        Failure { kind: FailureKind::Permanent, message: message.into(), details: Bytes::new() }
    }
    /// Bytes of its texts.
    pub fn size(&self) -> usize {
        self.message.len() + self.details.len()
    }
    /// The failure that a cancelled operation ends with.
    pub fn cancelled() -> Self {
        Failure { kind: FailureKind::Cancelled, message: "cancelled".into(), details: Bytes::new() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// Why an instance was parked. Each has a page in `docs/errors/`; codes are never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ParkCode {
    /// SAKIA-P01: the code asks for something else than the history holds.
    Mismatch,
    /// SAKIA-P02: the workflow's code panicked.
    Panicked,
    /// SAKIA-P03: the instance waits for something that is not a `ctx` operation.
    ForeignAwait,
    /// SAKIA-P04: this program has no workflow of that name.
    UnknownWorkflow,
    /// SAKIA-P05: the history reached its bound.
    HistoryTooLong,
    /// SAKIA-P06: a payload that the workflow sends is over the limit.
    PayloadTooLarge,
    /// SAKIA-P07: a recorded payload cannot be decoded into the type that the code asks for.
    Undecodable,
    /// SAKIA-P08: too many operations are open at once.
    TooManyOps,
}

impl ParkCode {
    /// The code as people see it.
    pub fn code(self) -> &'static str {
        match self {
            ParkCode::Mismatch => "SAKIA-P01",
            ParkCode::Panicked => "SAKIA-P02",
            ParkCode::ForeignAwait => "SAKIA-P03",
            ParkCode::UnknownWorkflow => "SAKIA-P04",
            ParkCode::HistoryTooLong => "SAKIA-P05",
            ParkCode::PayloadTooLarge => "SAKIA-P06",
            ParkCode::Undecodable => "SAKIA-P07",
            ParkCode::TooManyOps => "SAKIA-P08",
        }
    }
}

/// Why and how an instance stopped until someone acts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Park {
    /// The kind of trouble.
    pub code: ParkCode,
    /// What happened, to which operation, and what to do.
    pub message: String,
}

/// Why a record went to the dead-letter topic. Each has a page in `docs/errors/`; codes are never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RejectCode {
    /// SAKIA-D01: a header that a command needs is missing or unreadable.
    BadHeaders,
    /// SAKIA-D02: the payload cannot be decoded.
    Undecodable,
    /// SAKIA-D03: no workflow of that name in this program.
    UnknownWorkflow,
    /// SAKIA-D04: no instance of that id (never started).
    UnknownInstance,
    /// SAKIA-D05: the instance has ended.
    Ended,
    /// SAKIA-D06: the payload is over the limit.
    PayloadTooLarge,
    /// SAKIA-D07: the instance has too many signals waiting.
    MailboxFull,
    /// SAKIA-D08: the record has no key.
    NoKey,
    /// SAKIA-D09: a fact of the journal fits no instance.
    Stray,
    /// SAKIA-D10: Kafka refused a record that a workflow sent.
    Refused,
}

impl RejectCode {
    /// The code as people see it.
    pub fn code(self) -> &'static str {
        match self {
            RejectCode::BadHeaders => "SAKIA-D01",
            RejectCode::Undecodable => "SAKIA-D02",
            RejectCode::UnknownWorkflow => "SAKIA-D03",
            RejectCode::UnknownInstance => "SAKIA-D04",
            RejectCode::Ended => "SAKIA-D05",
            RejectCode::PayloadTooLarge => "SAKIA-D06",
            RejectCode::MailboxFull => "SAKIA-D07",
            RejectCode::NoKey => "SAKIA-D08",
            RejectCode::Stray => "SAKIA-D09",
            RejectCode::Refused => "SAKIA-D10",
        }
    }
}
