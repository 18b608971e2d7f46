//! Records of the replies topic: key = correlation, header `sakia-outcome`, value = payload.

use super::headers::{self, Header};
use crate::core::action::Reply;
use crate::core::error::{Failure, FailureKind};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// One operation or turn of an instance, as `show` prints it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// When it began, in milliseconds since the Unix epoch.
    pub since_ms: u64,
    /// When it ended; `None` while it is open.
    pub until_ms: Option<u64>,
    /// What it is, in words: `run "capture"`.
    pub what: String,
    /// How it ended or what it waits for, in words.
    pub how: String,
    /// Attempts, for a step.
    pub attempts: u32,
}

/// An instance in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// Its workflow.
    pub workflow: String,
    /// Its id.
    pub id: String,
    /// running, parked, completed, failed or cancelled.
    pub status: String,
    /// When it began, in milliseconds since the Unix epoch.
    pub started_ms: u64,
    /// When something last happened.
    pub updated_ms: u64,
    /// What it waits for, how it failed or why it is parked, in words; empty if there is nothing to say.
    pub note: String,
}

/// A description of one instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Description {
    /// As in a list.
    pub summary: Summary,
    /// What happened, in order.
    pub lines: Vec<Line>,
    /// Lines that are not kept.
    pub omitted: u32,
    /// Signals that wait to be received, by name.
    pub signals: Vec<String>,
    /// The result, if it completed, as JSON text.
    pub result: Option<String>,
}

/// The instances of one lane.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    /// The lane's partition.
    pub partition: i32,
    /// Up to a bound.
    pub instances: Vec<Summary>,
    /// Whether there are more than these.
    pub more: bool,
}

/// What a client reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// About the result of an instance, or a note.
    Reply(Reply),
    /// Answer to `show`.
    Description(Box<Description>),
    /// Answer to `list`.
    Page(Page),
}

#[derive(Serialize, Deserialize)]
struct FailureText {
    kind: String,
    message: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    details: Option<serde_json::Value>,
}

/// The header and value of an answer.
pub fn encode(answer: &Answer) -> (Vec<Header>, Option<Bytes>) {
    let (word, value) = match answer {
        Answer::Reply(Reply::Ended(Ok(payload))) => ("completed", Some(payload.clone())),
        Answer::Reply(Reply::Ended(Err(failure))) => ("failed", Some(failure_json(failure))),
        Answer::Reply(Reply::Unknown) => ("unknown", None),
        Answer::Reply(Reply::Noted) => ("noted", None),
        Answer::Description(d) => ("description", serde_json::to_vec(d).ok().map(Bytes::from)),
        Answer::Page(p) => ("page", serde_json::to_vec(p).ok().map(Bytes::from)),
    };
    (vec![(headers::OUTCOME.into(), Bytes::from_static(word.as_bytes()))], value)
}

/// Understands a reply.
pub fn decode(all: &[Header], value: Option<&Bytes>) -> Result<Answer, String> {
    let word = all.iter().find(|(n, _)| n == headers::OUTCOME).map(|(_, v)| v);
    let payload = value.cloned().unwrap_or_default();
    let json = |e: serde_json::Error| format!("the reply cannot be read: {e}");
    match word.map(|w| &w[..]) {
        Some(b"completed") => Ok(Answer::Reply(Reply::Ended(Ok(payload)))),
        Some(b"failed") => Ok(Answer::Reply(Reply::Ended(Err(failure(&payload).map_err(json)?)))),
        Some(b"unknown") => Ok(Answer::Reply(Reply::Unknown)),
        Some(b"noted") => Ok(Answer::Reply(Reply::Noted)),
        Some(b"description") => Ok(Answer::Description(serde_json::from_slice(&payload).map_err(json)?)),
        Some(b"page") => Ok(Answer::Page(serde_json::from_slice(&payload).map_err(json)?)),
        _ => Err(format!("the reply has no known {}; upgrade this program", headers::OUTCOME)),
    }
}

fn kind_word(kind: FailureKind) -> &'static str {
    match kind {
        FailureKind::Retryable => "error",
        FailureKind::Permanent => "permanent",
        FailureKind::Cancelled => "cancelled",
        FailureKind::PayloadTooLarge => "payload-too-large",
    }
}

fn failure_json(failure: &Failure) -> Bytes {
    let details = serde_json::from_slice(&failure.details).ok();
    let text =
        FailureText { kind: kind_word(failure.kind).into(), message: failure.message.clone(), details };
    Bytes::from(serde_json::to_vec(&text).unwrap_or_default())
}

fn failure(bytes: &[u8]) -> Result<Failure, serde_json::Error> {
    let text: FailureText = serde_json::from_slice(bytes)?;
    let kind = match text.kind.as_str() {
        "cancelled" => FailureKind::Cancelled,
        "permanent" => FailureKind::Permanent,
        "payload-too-large" => FailureKind::PayloadTooLarge,
        _ => FailureKind::Retryable,
    };
    let details = match text.details {
        Some(value) => Bytes::from(serde_json::to_vec(&value)?),
        None => Bytes::new(),
    };
    Ok(Failure { kind, message: text.message, details })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_answer_survives_a_round_trip() {
        let failure = Failure {
            kind: FailureKind::Permanent,
            message: "declined".into(),
            details: Bytes::from_static(b"{\"reason\":\"stolen\"}"),
        };
        let answers = [
            Answer::Reply(Reply::Ended(Ok(Bytes::from_static(b"7")))),
            Answer::Reply(Reply::Ended(Err(failure))),
            Answer::Reply(Reply::Ended(Err(Failure::cancelled()))),
            Answer::Reply(Reply::Unknown),
            Answer::Reply(Reply::Noted),
            Answer::Page(Page { partition: 1, instances: vec![], more: false }),
        ];
        for answer in answers {
            let (headers, value) = encode(&answer);
            assert_eq!(decode(&headers, value.as_ref()), Ok(answer));
        }
    }
}
