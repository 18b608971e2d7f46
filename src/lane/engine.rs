//! State, core and code of a lane: applies inputs in order, live and in replay alike.

use super::agenda::Agenda;
use super::overlay::Overlay;
use super::perform::{Live, Outbox, Performer};
use super::{LaneConfig, LaneEnd, describe};
use crate::codec::command::{self, Incoming};
use crate::codec::reply::Answer;
use crate::core::action::Reply;
use crate::core::fact::JournalRecord;
use crate::core::ids::Millis;
use crate::core::machine::Machine;
use crate::core::mutation::{Mutation, mutated};
use crate::log::{NewRecord, Record};
use crate::store::StoreError;
use crate::workflow::executor::LaneExecutor;

/// Applies commands and facts. What it decides gathers in `outbox` and `agenda`.
pub(super) struct Engine {
    pub(super) config: LaneConfig,
    pub(super) overlay: Overlay,
    pub(super) machine: Machine,
    pub(super) executor: LaneExecutor,
    pub(super) outbox: Outbox,
    pub(super) agenda: Agenda,
    /// Offset of the next command to apply.
    pub(super) next_command: i64,
}

impl Engine {
    /// Applies a record of the commands topic. One that was applied before is stepped over.
    pub(super) fn apply_record(&mut self, record: &Record, live: Option<Live>) -> Result<(), LaneEnd> {
        if record.offset < self.next_command && !mutated(Mutation::CommandTwice) {
            return Ok(());
        }
        let at = Millis::try_from(record.timestamp_ms).unwrap_or(0);
        let actions = match command::decode(record.key.as_ref(), record.value.as_ref(), &record.headers) {
            Err(_) if mutated(Mutation::LetterLost) => Vec::new(),
            Err((code, text)) => self.machine.reject(at, code, text),
            Ok(Incoming::Command(command))
                if self.config.lane_of(&command.to.id) != self.config.partition
                    && !mutated(Mutation::AstrayApplied) =>
            {
                self.pass_on(record, &command.to.id);
                Vec::new()
            }
            Ok(Incoming::Command(command)) => {
                self.machine.apply_command(&mut self.overlay, &mut self.executor, at, command)
            }
            Ok(Incoming::Show { key, reply }) => {
                let answer = match describe::instance(&mut self.overlay, &key) {
                    Some(description) => Answer::Description(Box::new(description)),
                    None => Answer::Reply(Reply::Unknown),
                };
                self.performer(None, live).answer(reply, &answer);
                Vec::new()
            }
            Ok(Incoming::List { workflow, status, reply }) => {
                let partition = self.config.partition;
                let page = describe::list(&self.overlay, partition, workflow.as_deref(), status.as_deref());
                let page = page.map_err(|e| self.unreadable(e))?;
                self.performer(None, live).answer(reply, &Answer::Page(page));
                Vec::new()
            }
        };
        self.performer(Some(record), live).all(actions);
        self.next_command = record.offset + 1;
        self.check_readable()
    }

    /// Applies the facts of a journal record, after the commands that it names.
    pub(super) fn apply_facts(&mut self, record: JournalRecord, live: Option<Live>) -> Result<(), LaneEnd> {
        for fact in record.facts {
            let actions = self.machine.apply_fact(&mut self.overlay, &mut self.executor, record.at, fact);
            self.performer(None, live).all(actions);
        }
        self.check_readable()
    }

    /// Another partitioner put the record here: it goes to the lane that owns its id, in this lane's transaction.
    fn pass_on(&mut self, record: &Record, id: &str) {
        self.outbox.push(NewRecord {
            topic: self.config.topics.commands.clone(),
            partition: Some(self.config.lane_of(id)),
            key: record.key.clone(),
            value: record.value.clone(),
            headers: record.headers.clone(),
        });
    }

    fn performer<'a>(&'a mut self, record: Option<&'a Record>, live: Option<Live>) -> Performer<'a> {
        Performer { config: &self.config, outbox: &mut self.outbox, agenda: &mut self.agenda, record, live }
    }

    /// If a row could not be read, what was decided since is worthless: the lane ends before anything of it leaves.
    pub(super) fn check_readable(&mut self) -> Result<(), LaneEnd> {
        match self.overlay.take_failure() {
            Some(error) if !mutated(Mutation::ReadFailureIgnored) => Err(self.unreadable(error)),
            _ => Ok(()),
        }
    }

    fn unreadable(&self, cause: String) -> LaneEnd {
        LaneEnd::Store(StoreError::Io { path: format!("lane {}", self.config.partition).into(), cause })
    }
}
