//! Checks that do not ask the core. A model runs the same core as the lanes, so a mistake in it is the same on both
//! sides and shows nowhere. What is told here comes from the commands that the log holds, from what left the lanes,
//! and from what the code of the workflows saw.

use crate::client::NONSENSE;
use crate::lanes::{APP, partition_for};
use crate::model::Model;
use crate::program::{EARLY, OUT, SENT};
use crate::seen::Outgoing;
use bytes::Bytes;
use sakia::codec::headers::Header;
use sakia::codec::reply::{self, Answer};
use sakia::core::action::Reply;
use sakia::core::history::MarkKind;
use sakia::core::ids::InstanceKey;
use sakia::core::input::{Command, CommandAsk, ReplyTo, Waiter};
use sakia::core::state::{Instance, Status};
use sakia::lane::Topics;
use sakia::log::Record;
use std::collections::{BTreeMap, BTreeSet};

/// What the log holds about the instances of a lane, noted while its model follows it.
#[derive(Default)]
pub(crate) struct Notes {
    /// Signals that found an instance that had not ended, in order.
    signals: BTreeMap<InstanceKey, Vec<Bytes>>,
    /// Instances that had not ended when a client cancelled them.
    cancelled: BTreeSet<InstanceKey>,
    /// What clients asked, by correlation.
    questions: BTreeMap<Bytes, Question>,
    /// What they were told, by correlation.
    answers: BTreeMap<Bytes, Vec<Told>>,
    /// Values of records that are no commands, and how often each became a dead letter.
    nonsense: BTreeMap<Bytes, usize>,
    /// Values of the records that left for the topic `out`, by key, in order.
    sent: BTreeMap<Bytes, Vec<Bytes>>,
}

/// Headers and value of a reply.
type Told = (Vec<Header>, Option<Bytes>);

/// Something that a client asked.
struct Question {
    about: InstanceKey,
    owed: Owed,
}

/// What the answer must be.
enum Owed {
    /// How the instance ended.
    Outcome,
    Unknown,
    Noted,
}

impl Notes {
    /// A record of the commands topic is about to be applied.
    pub(crate) fn record(&mut self, record: &Record) {
        if let Some(value) = record.value.as_ref().filter(|value| value.starts_with(NONSENSE.as_bytes())) {
            self.nonsense.insert(value.clone(), 0);
        }
    }

    /// A command is about to be applied, to this instance if there is one.
    pub(crate) fn command(&mut self, command: &Command, found: Option<&Instance>) {
        let is_running = found.is_some_and(|instance| !instance.status.has_ended());
        let owed = |otherwise: Owed| if found.is_some() { otherwise } else { Owed::Unknown };
        match &command.ask {
            CommandAsk::Start { waiter: Some(Waiter::Client(to)), .. } => {
                self.asked(to, &command.to, Owed::Outcome);
            }
            CommandAsk::Await(Waiter::Client(to)) => self.asked(to, &command.to, owed(Owed::Outcome)),
            CommandAsk::Signal { payload, .. } if is_running => {
                self.signals.entry(command.to.clone()).or_default().push(payload.clone());
            }
            CommandAsk::Cancel { by, reply } => {
                if by.is_none() && is_running {
                    self.cancelled.insert(command.to.clone());
                }
                if let Some(to) = reply {
                    self.asked(to, &command.to, owed(Owed::Noted));
                }
            }
            _ => {}
        }
    }

    fn asked(&mut self, to: &ReplyTo, about: &InstanceKey, owed: Owed) {
        self.questions.insert(to.correlation.clone(), Question { about: about.clone(), owed });
    }

    /// These records have left the lane.
    pub(crate) fn left(&mut self, records: &[Outgoing]) {
        let Topics { replies, dlq, .. } = Topics::of(APP);
        for record in records {
            let key = record.key.clone().unwrap_or_default();
            if *record.topic == *replies {
                let told = (record.headers.clone(), record.value.clone());
                self.answers.entry(key).or_default().push(told);
            } else if *record.topic == *dlq {
                let letters = record.value.as_ref().and_then(|value| self.nonsense.get_mut(value));
                letters.into_iter().for_each(|count| *count += 1);
            } else if record.topic == OUT.name() {
                self.sent.entry(key).or_default().push(record.value.clone().unwrap_or_default());
            }
        }
    }

    fn signals_of(&self, key: &InstanceKey) -> &[Bytes] {
        self.signals.get(key).map_or(&[], Vec::as_slice)
    }

    /// A running instance has been given its signals in order; all of them, if it waits for one more.
    fn are_delivered(
        &self,
        key: &InstanceKey,
        instance: &Instance,
        delivered: &[Bytes],
    ) -> Result<(), String> {
        let accepted = self.signals_of(key);
        let waits = instance.open.iter().any(|open| matches!(open.mark.what, MarkKind::Receive(_)));
        let fits = if waits { accepted == delivered } else { accepted.starts_with(delivered) };
        if fits {
            return Ok(());
        }
        let receives = if waits { "waits for a signal" } else { "waits for no signal" };
        Err(format!("{key} {receives}; it was sent {accepted:?} and has been given {delivered:?}"))
    }

    /// Everybody who asked was told once, and the truth.
    fn are_answered(&self, model: &Model) -> Result<(), String> {
        for (correlation, question) in &self.questions {
            let Question { about, owed } = question;
            let status = model.instance(about).map(|instance| &instance.status);
            let truth = match owed {
                Owed::Unknown => Reply::Unknown,
                Owed::Noted => Reply::Noted,
                Owed::Outcome => {
                    let outcome = status.and_then(Status::outcome);
                    Reply::Ended(outcome.ok_or_else(|| format!("{about} was started, and is {status:?}"))?)
                }
            };
            let told = self.answers.get(correlation).map_or(&[][..], Vec::as_slice);
            if told != [reply::encode(&Answer::Reply(truth.clone()))] {
                return Err(format!(
                    "{correlation:?} asked about {about} and was told {told:?}, not {truth:?}"
                ));
            }
        }
        match self.answers.keys().find(|correlation| !self.questions.contains_key(*correlation)) {
            Some(correlation) => Err(format!("{correlation:?} was told something and had asked nothing")),
            None => Ok(()),
        }
    }

    /// Each record that is no command became one dead letter.
    fn are_letters(&self) -> Result<(), String> {
        match self.nonsense.iter().find(|(_, count)| **count != 1) {
            Some((value, count)) => Err(format!("{value:?} is no command, and left as {count} dead letters")),
            None => Ok(()),
        }
    }

    /// Whoever was cancelled in time has ended so.
    fn are_cancelled(&self, model: &Model) -> Result<(), String> {
        for key in &self.cancelled {
            let status = model.instance(key).map(|instance| &instance.status);
            if !matches!(status, Some(Status::Cancelled(_))) {
                return Err(format!("{key} was cancelled while it ran, and is {status:?}"));
            }
        }
        Ok(())
    }

    /// The signals that a completed instance got are the first of those that it was sent.
    fn are_received(&self, key: &InstanceKey, trace: &[String]) -> Result<(), String> {
        let got = trace.iter().filter_map(|entry| entry.strip_prefix("got "));
        let got: Vec<Bytes> = got.map(|signal| Bytes::from(format!("\"{signal}\""))).collect();
        let accepted = self.signals_of(key);
        if accepted.starts_with(&got) {
            return Ok(());
        }
        Err(format!("{key} was sent {accepted:?} and got {got:?}"))
    }

    /// What a completed instance sent has left, once and in order: each record is what the code had seen until then.
    fn are_sent(&self, key: &InstanceKey, trace: &[String]) -> Result<(), String> {
        let sends = (0..trace.len()).filter(|at| trace[*at] == SENT);
        let sent: Vec<&[String]> = sends.map(|at| &trace[..at]).collect();
        let records = self.sent.get(key.id.as_bytes()).map_or(&[][..], Vec::as_slice);
        let left = records.iter().map(|value| serde_json::from_slice(value));
        let left: Vec<Vec<String>> = left.collect::<Result<_, _>>().map_err(|e| format!("{key}: {e}"))?;
        if left == sent {
            return Ok(());
        }
        Err(format!("{key} has sent {sent:?}, but {left:?} has left"))
    }
}

/// The instance of a key, on its lane.
fn find<'a>(models: &'a [Model], key: &InstanceKey) -> Option<&'a Instance> {
    let lanes = i32::try_from(models.len()).ok()?;
    let lane = usize::try_from(partition_for(key.id.as_bytes(), lanes)).ok()?;
    models.get(lane)?.instance(key)
}

/// Nothing comes by itself any more: what still runs waits for signals that nobody sends, or for others that do.
pub(crate) fn at_rest(models: &mut [Model]) -> Result<(), String> {
    for at in 0..models.len() {
        for (key, instance) in models[at].running() {
            waits_for_others(models, &key, &instance)?;
            let delivered = models[at].delivered(&key, &instance)?;
            models[at].notes.are_delivered(&key, &instance, &delivered)?;
        }
    }
    Ok(())
}

fn waits_for_others(models: &[Model], key: &InstanceKey, instance: &Instance) -> Result<(), String> {
    if instance.open.is_empty() {
        return Err(format!("{key} has not ended and waits for nothing"));
    }
    for open in &instance.open {
        let mark = &open.mark;
        match &mark.what {
            MarkKind::Receive(_) => {}
            MarkKind::Call(child) => match find(models, child).map(|child| &child.status) {
                None => return Err(format!("{key} waits for its child {child}, which was never started")),
                Some(status) if status.has_ended() => {
                    return Err(format!("{key} waits for its child {child}, which is {}", status.word()));
                }
                Some(_) => {}
            },
            _ => return Err(format!("{key} waits for {mark}, which does not end by itself any more")),
        }
    }
    Ok(())
}

/// Everything has ended.
pub(crate) fn at_end(models: &[Model]) -> Result<(), String> {
    for model in models {
        model.notes.are_answered(model)?;
        model.notes.are_cancelled(model)?;
        model.notes.are_letters()?;
        for (key, result) in model.completed() {
            let trace = trace_of(result)?;
            model.notes.are_received(key, &trace)?;
            model.notes.are_sent(key, &trace)?;
            for entry in &trace {
                child_is_as_seen(models, key, entry)?;
            }
        }
    }
    Ok(())
}

/// What a completed instance has seen.
pub(crate) fn trace_of(result: &Bytes) -> Result<Vec<String>, String> {
    serde_json::from_slice(result).map_err(|e| e.to_string())
}

/// No wait of a completed instance was too short.
pub(crate) fn nothing_was_early(known: &str, trace: &[String]) -> Result<(), String> {
    match trace.iter().any(|entry| entry == EARLY) {
        true => Err(format!("{known} woke early: {trace:?}")),
        false => Ok(()),
    }
}

/// What its parent saw of a child is how the child has ended.
fn child_is_as_seen(models: &[Model], parent: &InstanceKey, entry: &str) -> Result<(), String> {
    let Some((id, seen)) = entry.strip_prefix("child ").and_then(|rest| rest.split_once(' ')) else {
        return Ok(());
    };
    let child = InstanceKey::new(parent.workflow.clone(), id);
    let status = find(models, &child).map(|child| &child.status);
    let result = match status {
        Some(Status::Completed(result)) => Some(trace_of(result)?.join("+")),
        _ => None,
    };
    let fits = match result.as_deref() {
        Some(result) => result == seen,
        None => seen.starts_with("failed: "),
    };
    if fits {
        return Ok(());
    }
    Err(format!("{parent} has seen \"{entry}\", but the child is {status:?}"))
}
