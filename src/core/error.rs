//! Failures as they are recorded: the end of an instance, of a step, of a child.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Longest text of a failure or a park, in bytes. They are for people, and are in rows, journal records and replies.
pub const TEXT_MAX_BYTES: usize = 16 * 1024;
/// Longest details of a failure, in bytes. Cut they could not be read, so longer ones are left out.
pub const DETAILS_MAX_BYTES: usize = 64 * 1024;

/// A text that is no longer than `max` bytes: what is too much is cut off, and counted.
pub fn cut(text: impl Into<String>, max: usize) -> String {
    let mut text = text.into();
    if text.len() > max {
        let kept = (0..=max).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        let rest = text.len() - kept;
        text.truncate(kept);
        text.push_str(&format!("… ({rest} bytes more)"));
    }
    text
}

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
    /// The failure with a text and details that fit into a record: see [`TEXT_MAX_BYTES`] and [`DETAILS_MAX_BYTES`].
    pub fn bounded(mut self) -> Self {
        let details = self.details.len();
        if details > DETAILS_MAX_BYTES {
            self.details = Bytes::new();
            self.message = cut(self.message, TEXT_MAX_BYTES - 128);
            self.message.push_str(&format!(
                " (its details of {details} bytes are left out, the limit is {DETAILS_MAX_BYTES})"
            ));
        }
        self.message = cut(self.message, TEXT_MAX_BYTES);
        self
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
    /// SAKIA-P09: a name that the workflow gives is empty or too long.
    BadName,
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
            ParkCode::BadName => "SAKIA-P09",
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

impl Park {
    /// A park with a text of at most [`TEXT_MAX_BYTES`].
    pub fn new(code: ParkCode, message: impl Into<String>) -> Self {
        Park { code, message: cut(message, TEXT_MAX_BYTES) }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_between_two_characters() {
        assert_eq!(cut("short", 5), "short");
        assert_eq!(cut("größer", 3), "gr… (6 bytes more)");
    }

    #[test]
    fn a_failure_fits_into_a_record_whatever_it_is_made_of() {
        let huge = Failure {
            details: vec![b' '; DETAILS_MAX_BYTES + 1].into(),
            ..Failure::permanent("a".repeat(1 << 22))
        };
        let bounded = huge.bounded();
        assert!(bounded.size() < TEXT_MAX_BYTES + 64, "{}", bounded.size());
        assert!(bounded.message.contains("its details of 65537 bytes are left out"), "{}", bounded.message);
        let small = Failure { details: "{}".into(), ..Failure::permanent("declined") };
        assert_eq!(small.clone().bounded(), small);
    }
}
