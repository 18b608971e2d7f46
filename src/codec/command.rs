//! Records of the commands topic: what any producer in any language can write.
//!
//! | `sakia-kind` | key | value | other headers |
//! |---|---|---|---|
//! | `start` | id | payload | `sakia-workflow`, optional `sakia-reply` |
//! | `signal` | id | payload | `sakia-workflow`, `sakia-name` |
//! | `await` | id | – | `sakia-workflow`, `sakia-reply` |
//! | `cancel`, `retry` | id | – | `sakia-workflow`, optional `sakia-reply` |
//! | `show` | id | – | `sakia-workflow`, `sakia-reply` |
//! | `list` | anything | – | `sakia-reply`; optional `sakia-workflow`, `sakia-name` (a status) |
//! | `child-ended` | parent's id | payload or failure | internal |

use super::headers::Header;
use super::{CodecError, headers, key::NAME_MAX_BYTES, pack, unpack};
use crate::core::error::{Failure, RejectCode};
use crate::core::ids::{InstanceKey, OpId};
use crate::core::input::{Command, CommandAsk, ParentLink, ReplyTo, Waiter};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Longest correlation of a reply, in bytes: it is kept with the instance as long as somebody waits.
const CORRELATION_MAX_BYTES: usize = 256;

/// A record of the commands topic, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Incoming {
    /// Changes an instance.
    Command(Command),
    /// Asks for the description of an instance.
    Show {
        /// Which.
        key: InstanceKey,
        /// Where to.
        reply: ReplyTo,
    },
    /// Asks for the instances of the lane.
    List {
        /// Only this workflow.
        workflow: Option<Arc<str>>,
        /// Only this status.
        status: Option<Arc<str>>,
        /// Where to.
        reply: ReplyTo,
    },
}

/// A key, value and headers to be produced to the commands topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandRecord {
    /// The instance's id.
    pub key: Bytes,
    /// The payload.
    pub value: Option<Bytes>,
    /// What it is.
    pub headers: Vec<Header>,
}

#[derive(Serialize, Deserialize)]
struct Ended {
    run: u32,
    op: OpId,
    failure: Option<Failure>,
}

/// Why a record is no command.
pub type Rejection = (RejectCode, String);

/// Understands a record.
pub fn decode(key: Option<&Bytes>, value: Option<&Bytes>, headers: &[Header]) -> Result<Incoming, Rejection> {
    let kind = required(headers, headers::KIND)?;
    let payload = value.cloned().unwrap_or_default();
    let reply = reply_to(headers)?;
    if kind == "list" {
        let reply = reply.ok_or_else(|| missing(headers::REPLY))?;
        let (workflow, status) = (text(headers, headers::WORKFLOW)?, text(headers, headers::NAME)?);
        return Ok(Incoming::List {
            workflow: workflow.map(Arc::from),
            status: status.map(Arc::from),
            reply,
        });
    }
    let to = InstanceKey::new(name(required(headers, headers::WORKFLOW)?)?, id(key)?);
    let ask = match kind {
        "start" => {
            let waiter = match header(headers, headers::PARENT) {
                Some(link) => Some(Waiter::Parent(unpack("sakia-parent", link).map_err(unreadable)?)),
                None => reply.map(Waiter::Client),
            };
            CommandAsk::Start { input: payload, waiter }
        }
        "signal" => CommandAsk::Signal { name: name(required(headers, headers::NAME)?)?.into(), payload },
        "await" => CommandAsk::Await(Waiter::Client(reply.ok_or_else(|| missing(headers::REPLY))?)),
        "cancel" => {
            let by = header(headers, headers::PARENT).map(|b| unpack("sakia-parent", b)).transpose();
            CommandAsk::Cancel { by: by.map_err(unreadable)?, reply }
        }
        "retry" => CommandAsk::Retry { reply },
        "show" => {
            let reply = reply.ok_or_else(|| missing(headers::REPLY))?;
            return Ok(Incoming::Show { key: to, reply });
        }
        "child-ended" => {
            let link = header(headers, headers::ENDED).ok_or_else(|| missing(headers::ENDED))?;
            let Ended { run, op, failure } = unpack("sakia-ended", link).map_err(unreadable)?;
            CommandAsk::ChildEnded { run, op, outcome: failure.map_or(Ok(payload), Err) }
        }
        other => {
            let message = format!(
                "header {} says \"{other}\", which is not known; known are start, signal, await, cancel, retry, show, \
                 list",
                headers::KIND
            );
            return Err((RejectCode::BadHeaders, message));
        }
    };
    Ok(Incoming::Command(Command { to, ask }))
}

/// The record of a command.
pub fn encode(command: &Command) -> CommandRecord {
    let (kind, value, mut more): (&str, Option<Bytes>, Vec<(&str, Bytes)>) = match &command.ask {
        CommandAsk::Start { input, waiter } => {
            ("start", Some(input.clone()), waiter.iter().map(waiter_header).collect())
        }
        CommandAsk::Signal { name, payload } => {
            ("signal", Some(payload.clone()), vec![(headers::NAME, Bytes::copy_from_slice(name.as_bytes()))])
        }
        CommandAsk::Await(waiter) => ("await", None, vec![waiter_header(waiter)]),
        CommandAsk::Cancel { by, reply } => {
            let by = by.iter().map(|link| (headers::PARENT, Bytes::from(pack(link))));
            ("cancel", None, by.chain(reply.iter().map(reply_header)).collect())
        }
        CommandAsk::Retry { reply } => ("retry", None, reply.iter().map(reply_header).collect()),
        CommandAsk::ChildEnded { run, op, outcome } => {
            let ended = Ended { run: *run, op: *op, failure: outcome.as_ref().err().cloned() };
            let link = (headers::ENDED, Bytes::from(pack(&ended)));
            ("child-ended", outcome.as_ref().ok().cloned(), vec![link])
        }
    };
    more.push((headers::KIND, Bytes::copy_from_slice(kind.as_bytes())));
    more.push((headers::WORKFLOW, Bytes::copy_from_slice(command.to.workflow.as_bytes())));
    CommandRecord {
        key: Bytes::copy_from_slice(command.to.id.as_bytes()),
        value,
        headers: more.into_iter().map(|(name, value)| (name.into(), value)).collect(),
    }
}

/// The record that asks for the description of an instance.
pub fn encode_show(key: &InstanceKey, reply: &ReplyTo) -> CommandRecord {
    CommandRecord {
        key: Bytes::copy_from_slice(key.id.as_bytes()),
        value: None,
        headers: vec![
            (headers::KIND.into(), Bytes::from_static(b"show")),
            (headers::WORKFLOW.into(), Bytes::copy_from_slice(key.workflow.as_bytes())),
            (headers::REPLY.into(), reply_header(reply).1),
        ],
    }
}

/// The record that asks for the instances of the lane to whose partition it is produced.
pub fn encode_list(workflow: Option<&str>, status: Option<&str>, reply: &ReplyTo) -> CommandRecord {
    let mut all: Vec<Header> = vec![
        (headers::KIND.into(), Bytes::from_static(b"list")),
        (headers::REPLY.into(), reply_header(reply).1),
    ];
    for (name, value) in [(headers::WORKFLOW, workflow), (headers::NAME, status)] {
        all.extend(value.map(|v| (name.into(), Bytes::copy_from_slice(v.as_bytes()))));
    }
    CommandRecord { key: Bytes::from_static(b"list"), value: None, headers: all }
}

fn waiter_header(waiter: &Waiter) -> (&'static str, Bytes) {
    match waiter {
        Waiter::Parent(link) => (headers::PARENT, Bytes::from(pack::<ParentLink>(link))),
        Waiter::Client(reply) => reply_header(reply),
    }
}

fn reply_header(reply: &ReplyTo) -> (&'static str, Bytes) {
    let mut value = format!("{}:", reply.partition).into_bytes();
    value.extend_from_slice(&reply.correlation);
    (headers::REPLY, Bytes::from(value))
}

fn reply_to(all: &[Header]) -> Result<Option<ReplyTo>, Rejection> {
    let Some(value) = header(all, headers::REPLY) else { return Ok(None) };
    let bad = || {
        let message = format!("header {} is not \"partition:correlation\"", headers::REPLY);
        (RejectCode::BadHeaders, message)
    };
    let colon = value.iter().position(|b| *b == b':').ok_or_else(bad)?;
    let partition = std::str::from_utf8(&value[..colon]).ok().and_then(|p| p.parse().ok()).ok_or_else(bad)?;
    if partition < 0 {
        return Err(bad());
    }
    let len = value.len() - colon - 1;
    if len > CORRELATION_MAX_BYTES {
        let message = format!(
            "header {} has a correlation of {len} bytes, the limit is {CORRELATION_MAX_BYTES}",
            headers::REPLY
        );
        return Err((RejectCode::BadHeaders, message));
    }
    Ok(Some(ReplyTo { partition, correlation: value.slice(colon + 1..) }))
}

fn header<'a>(all: &'a [Header], name: &str) -> Option<&'a Bytes> {
    all.iter().find(|(n, _)| n == name).map(|(_, v)| v)
}

fn text<'a>(all: &'a [Header], name: &str) -> Result<Option<&'a str>, Rejection> {
    let Some(value) = header(all, name) else { return Ok(None) };
    match std::str::from_utf8(value) {
        Ok(text) => Ok(Some(text)),
        Err(_) => Err((RejectCode::BadHeaders, format!("header {name} is not UTF-8"))),
    }
}

fn required<'a>(all: &'a [Header], name: &str) -> Result<&'a str, Rejection> {
    text(all, name)?.ok_or_else(|| missing(name))
}

fn missing(name: &str) -> Rejection {
    (RejectCode::BadHeaders, format!("header {name} is missing; set it and send the record again"))
}

fn unreadable(error: CodecError) -> Rejection {
    (RejectCode::BadHeaders, error.to_string())
}

fn id(key: Option<&Bytes>) -> Result<&str, Rejection> {
    let key = key.filter(|k| !k.is_empty()).ok_or_else(|| {
        (RejectCode::NoKey, "the record has no key; the key is the id of the instance".to_string())
    })?;
    let id = std::str::from_utf8(key)
        .map_err(|_| (RejectCode::NoKey, "the key is not UTF-8; it is the id of the instance".to_string()))?;
    name(id)
}

fn name(name: &str) -> Result<&str, Rejection> {
    if name.is_empty() || name.len() > NAME_MAX_BYTES {
        let message =
            format!("a name of {} bytes; ids and names have 1 to {NAME_MAX_BYTES} bytes", name.len());
        return Err((RejectCode::BadHeaders, message));
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(ask: CommandAsk) {
        let command = Command { to: InstanceKey::new("payment", "o-1"), ask };
        let record = encode(&command);
        let read = decode(Some(&record.key), record.value.as_ref(), &record.headers);
        assert_eq!(read, Ok(Incoming::Command(command)));
    }

    #[test]
    fn every_command_survives_a_round_trip() {
        let reply = ReplyTo { partition: 3, correlation: Bytes::from_static(b"a:b") };
        let op = OpId { branch: 0, number: 4 };
        let link = ParentLink { parent: InstanceKey::new("album", "a"), run: 1, op };
        let payload = Bytes::from_static(b"{}");
        round_trip(CommandAsk::Start { input: payload.clone(), waiter: None });
        round_trip(CommandAsk::Start { input: payload.clone(), waiter: Some(Waiter::Parent(link.clone())) });
        round_trip(CommandAsk::Start { input: payload.clone(), waiter: Some(Waiter::Client(reply.clone())) });
        round_trip(CommandAsk::Signal { name: "approval".into(), payload: payload.clone() });
        round_trip(CommandAsk::Await(Waiter::Client(reply.clone())));
        round_trip(CommandAsk::Cancel { by: Some(link), reply: None });
        round_trip(CommandAsk::Cancel { by: None, reply: Some(reply.clone()) });
        round_trip(CommandAsk::Retry { reply: Some(reply) });
        round_trip(CommandAsk::ChildEnded { run: 1, op, outcome: Ok(payload) });
        round_trip(CommandAsk::ChildEnded { run: 1, op, outcome: Err(Failure::permanent("no")) });
    }

    #[test]
    fn a_record_without_its_headers_is_refused_with_the_name_of_the_header() {
        let key = Bytes::from_static(b"o-1");
        let (code, text) = decode(Some(&key), None, &[]).unwrap_err();
        assert_eq!(code, RejectCode::BadHeaders);
        assert!(text.contains("sakia-kind"), "{text}");
        let kind = (headers::KIND.into(), Bytes::from_static(b"start"));
        let (_, text) = decode(Some(&key), None, std::slice::from_ref(&kind)).unwrap_err();
        assert!(text.contains("sakia-workflow"), "{text}");
        let workflow = (headers::WORKFLOW.into(), Bytes::from_static(b"payment"));
        let (code, _) = decode(None, None, &[kind, workflow]).unwrap_err();
        assert_eq!(code, RejectCode::NoKey);
    }

    #[test]
    fn an_unknown_kind_is_refused_and_named() {
        let kind = (headers::KIND.into(), Bytes::from_static(b"explode"));
        let workflow = (headers::WORKFLOW.into(), Bytes::from_static(b"payment"));
        let (_, text) = decode(Some(&Bytes::from_static(b"x")), None, &[kind, workflow]).unwrap_err();
        assert!(text.contains("explode"), "{text}");
    }
}
