//! Performs what the core decided: outgoing things gather for the checkpoint, attempts wait for the journal.

use super::agenda::{Agenda, Attempt};
use super::{LaneConfig, letters};
use crate::codec::command::{self, CommandRecord};
use crate::codec::reply::{self, Answer};
use crate::core::action::Action;
use crate::core::ids::Millis;
use crate::core::input::{Command, ReplyTo};
use crate::core::mutation::{Mutation, mutated};
use crate::log::{NewRecord, Record};

/// What leaves with the next checkpoint.
#[derive(Default)]
pub(super) struct Outbox {
    records: Vec<NewRecord>,
    bytes: usize,
}

impl Outbox {
    pub(super) fn push(&mut self, record: NewRecord) {
        self.bytes += record.value.as_ref().map_or(0, bytes::Bytes::len) + 64;
        self.records.push(record);
    }

    pub(super) fn take(&mut self) -> Vec<NewRecord> {
        self.bytes = 0;
        if mutated(Mutation::OutboxKept) {
            return self.records.clone();
        }
        std::mem::take(&mut self.records)
    }

    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

/// What actions are performed on.
pub(super) struct Performer<'a> {
    pub(super) config: &'a LaneConfig,
    pub(super) outbox: &'a mut Outbox,
    pub(super) agenda: &'a mut Agenda,
    /// The record that is being applied, for its dead letter.
    pub(super) record: Option<&'a Record>,
    /// Attempts start only live; at take-over they are found in the state, when everything is replayed.
    pub(super) live: Option<Live>,
}

/// What an attempt needs to know to start.
#[derive(Clone, Copy)]
pub(super) struct Live {
    /// Journal record that must be durable first.
    pub(super) seq: u64,
    /// The owner's clock.
    pub(super) now: Millis,
}

impl Performer<'_> {
    pub(super) fn all(&mut self, actions: Vec<Action>) {
        for action in actions {
            self.one(action);
        }
    }

    fn one(&mut self, action: Action) {
        match action {
            Action::RunStep { key, run, op, attempt, not_before, at_once } => {
                let Some(live) = self.live else { return };
                let attempt = Attempt { key, run, op, attempt };
                if not_before > live.now {
                    self.agenda.retry_at(not_before, attempt);
                } else {
                    // A command's place among the facts is fixed by the next journal record, not by the last one: an
                    // owner that follows may see a timer come due before it applies the command.
                    let ordered = at_once || self.record.is_none() || mutated(Mutation::StepBeforeOrder);
                    self.agenda.gate(if ordered { live.seq } else { live.seq + 1 }, attempt);
                }
            }
            Action::ArmTimer { due, key, run, op } if self.live.is_some() => {
                self.agenda.arm(due, key, run, op);
            }
            Action::DisarmTimer { due, key, op } => self.agenda.disarm(due, key, op),
            Action::ArmTimer { .. } | Action::Forget(_) => {}
            Action::Send { topic, key, value } => self.outbox.push(NewRecord {
                topic,
                partition: None,
                key: Some(key),
                value: Some(value),
                headers: Vec::new(),
            }),
            Action::Command(command) => self.outbox.push(command_record(self.config, &command)),
            Action::Reply { to, reply } => self.answer(to, &Answer::Reply(reply)),
            Action::DeadLetter { code, message } => {
                if let Some(record) = self.record {
                    self.outbox.push(letters::of_record(self.config, record, code, &message));
                }
            }
            Action::Parked { key, park } => tracing::error!(
                app = %self.config.app,
                lane = self.config.partition,
                code = park.code.code(),
                "{key} is parked: {}",
                park.message
            ),
            Action::Stray { message } => self.outbox.push(letters::of_stray(self.config, &message)),
        }
    }

    /// Answers a client on its partition of the replies topic.
    pub(super) fn answer(&mut self, to: ReplyTo, answer: &Answer) {
        if to.partition >= self.config.reply_partitions {
            tracing::warn!(
                "an answer for partition {} of {}, which has {}: nobody can read it, it is dropped",
                to.partition,
                self.config.topics.replies,
                self.config.reply_partitions
            );
            return;
        }
        let (headers, value) = reply::encode(answer);
        self.outbox.push(NewRecord {
            topic: self.config.topics.replies.clone(),
            partition: Some(to.partition),
            key: Some(to.correlation),
            value,
            headers,
        });
    }
}

/// The record of a command, for the lane that owns its instance.
pub(super) fn command_record(config: &LaneConfig, command: &Command) -> NewRecord {
    let CommandRecord { key, value, headers } = command::encode(command);
    NewRecord {
        topic: config.topics.commands.clone(),
        partition: Some(config.lane_of(&command.to.id)),
        key: Some(key),
        value,
        headers,
    }
}
