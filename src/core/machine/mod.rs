//! One file per kind of input. [`Machine`] applies an input to the state of a lane and returns what is to be done.
//!
//! | input | instance absent | running | parked | ended |
//! |---|---|---|---|---|
//! | start | begins | notes the waiter | notes the waiter | answers the waiter |
//! | signal | dead letter | delivered or kept | kept | dead letter |
//! | await | answers "unknown" | notes the waiter | notes the waiter | answers |
//! | cancel | answers "unknown" | ends every open operation | kept in the inbox | noted |
//! | child ended | ignored | ends the call | kept in the inbox | ignored |
//! | retry | answers "unknown" | noted | running again | noted |
//! | step ended, timer due | stray | ends the operation | kept in the inbox | ignored |
//! | attempt failed | stray | another attempt later | another attempt, when taken up | ignored |
//!
//! A fact about an operation that is no longer open (dropped, cancelled, an older attempt) is ignored: it lost a race
//! that is decided by the order of the journal.

mod attempt_failed;
mod await_result;
mod bounds;
mod cancel;
mod child_ended;
mod digest;
mod end;
mod park;
mod retry;
mod signal;
mod start;
mod step_ended;
mod timer_due;
mod turn;

/// The summary of a history, as an ended instance keeps it.
pub use digest::of as digest_of;

use crate::core::action::{Action, Reply};
use crate::core::error::RejectCode;
use crate::core::executor::Executor;
use crate::core::fact::Fact;
use crate::core::ids::{InstanceKey, Millis};
use crate::core::input::{Command, CommandAsk, ParentLink, ReplyTo, Waiter};
use crate::core::limits::Limits;
use crate::core::mutation::{Mutation, mutated};
use crate::core::state::{Callees, Instance, Key, Row};
use crate::core::tables::Tables;
use std::collections::VecDeque;
use std::sync::Arc;

/// Tells whether an id belongs to this lane.
pub type Owns = Arc<dyn Fn(&str) -> bool + Send + Sync>;

/// The decisions of one lane.
pub struct Machine {
    limits: Limits,
    owns: Owns,
    now: Millis,
    callees: Callees,
}

impl Machine {
    /// A machine for the lane whose ids `owns` accepts, at the time and with the callees of its position.
    pub fn new(limits: Limits, owns: Owns, now: Millis, callees: Callees) -> Self {
        Machine { limits, owns, now, callees }
    }

    /// The workflows that the log has called.
    pub fn callees(&self) -> &Callees {
        &self.callees
    }

    /// The latest time that was applied.
    pub fn now(&self) -> Millis {
        self.now
    }

    /// Applies one command. `at` is the record's time; if it is earlier than the last input's, the last one's counts.
    pub fn apply_command(
        &mut self,
        tables: &mut dyn Tables,
        executor: &mut dyn Executor,
        at: Millis,
        command: Command,
    ) -> Vec<Action> {
        let mut work = self.begin(tables, executor, at);
        work.apply(command, Some(at));
        work.finish()
    }

    /// Applies one fact, whose journal record was written at `at`.
    pub fn apply_fact(
        &mut self,
        tables: &mut dyn Tables,
        executor: &mut dyn Executor,
        at: Millis,
        fact: Fact,
    ) -> Vec<Action> {
        let mut work = self.begin(tables, executor, at);
        match fact {
            Fact::StepEnded { key, run, op, attempt, outcome } => {
                step_ended::apply(&mut work, key, run, op, attempt, outcome);
            }
            Fact::AttemptFailed { key, run, op, attempt, failure, retry_at } => {
                attempt_failed::apply(&mut work, key, run, op, attempt, failure, retry_at);
            }
            Fact::TimerDue { key, run, op, due } => timer_due::apply(&mut work, key, run, op, due),
            Fact::Parked { key, run, park } => park::apply(&mut work, key, run, park),
        }
        work.finish()
    }

    /// Applies a record that is no command: it goes to the dead-letter topic.
    pub fn reject(&mut self, at: Millis, code: RejectCode, message: String) -> Vec<Action> {
        self.now = self.now.max(at);
        vec![Action::DeadLetter { code, message }]
    }

    fn begin<'a>(
        &'a mut self,
        tables: &'a mut dyn Tables,
        executor: &'a mut dyn Executor,
        at: Millis,
    ) -> Work<'a> {
        self.now = self.now.max(at);
        Work {
            tables,
            executor,
            limits: &self.limits,
            owns: &self.owns,
            now: self.now,
            actions: Vec::new(),
            queue: VecDeque::new(),
            callees: &mut self.callees,
            at_once: false,
            cascaded: 0,
        }
    }
}

/// One input being applied, with all that it causes on its own lane.
struct Work<'a> {
    tables: &'a mut dyn Tables,
    executor: &'a mut dyn Executor,
    limits: &'a Limits,
    owns: &'a Owns,
    now: Millis,
    actions: Vec<Action>,
    /// Commands for instances of this lane: applied at once, with no trip through Kafka.
    queue: VecDeque<Command>,
    callees: &'a mut Callees,
    /// While the first turn of a start of the log runs that no call can come before: what that turn asks for rests on
    /// nothing but the record.
    at_once: bool,
    cascaded: usize,
}

impl Work<'_> {
    /// Applies a command: one of the log with its record's time, or one that such a one caused.
    fn apply(&mut self, command: Command, logged: Option<Millis>) {
        let Command { to, ask } = command;
        match ask {
            CommandAsk::Start { input, waiter } => start::apply(self, to, input, waiter, logged),
            CommandAsk::Signal { name, payload } => signal::apply(self, to, name, payload),
            CommandAsk::Await(waiter) => await_result::apply(self, &to, waiter),
            CommandAsk::Cancel { by, reply } => cancel::apply(self, to, by.as_ref(), reply),
            CommandAsk::ChildEnded { run, op, outcome } => child_ended::apply(self, to, run, op, outcome),
            CommandAsk::Retry { reply } => retry::apply(self, to, reply),
        }
        debug_assert!(
            logged.is_some() || !self.actions.iter().any(|a| matches!(a, Action::DeadLetter { .. }))
        );
    }

    fn finish(mut self) -> Vec<Action> {
        while let Some(command) = self.queue.pop_front() {
            self.apply(command, None);
        }
        self.actions
    }

    /// Sends a command to an instance, in memory if it lives on this lane.
    fn route(&mut self, command: Command) {
        let room = self.cascaded < self.limits.cascade_len;
        if (self.owns)(&command.to.id) && room && !self.needs_the_log(&command) {
            self.cascaded += 1;
            self.queue.push_back(command);
        } else {
            self.actions.push(Action::Command(command));
        }
    }

    /// Whether a command for an instance of this lane must have a place in the log all the same: the first call of a
    /// workflow, and the cancel of a call whose start went there and has not come back.
    fn needs_the_log(&mut self, command: &Command) -> bool {
        match &command.ask {
            CommandAsk::Start { .. } => {
                !self.callees.contains(&command.to.workflow) && !mutated(Mutation::CalleesIgnored)
            }
            CommandAsk::Cancel { by: Some(by), .. } => !self.has_come(&command.to, by),
            _ => false,
        }
    }

    /// Whether a call has reached its instance, or will before anything that is sent now.
    fn has_come(&mut self, callee: &InstanceKey, by: &ParentLink) -> bool {
        let is_it = |waiter: &Waiter| matches!(waiter, Waiter::Parent(link) if link == by);
        let is_queued = self.queue.iter().any(
            |command| matches!(&command.ask, CommandAsk::Start { waiter: Some(waiter), .. } if is_it(waiter)),
        );
        is_queued
            || self.load(callee).is_some_and(|instance| {
                let Instance { status, parent, waiters, .. } = &*instance;
                status.has_ended() || parent.as_ref() == Some(by) || waiters.iter().any(is_it)
            })
    }

    /// A copy of an instance.
    fn load(&mut self, key: &InstanceKey) -> Option<Box<Instance>> {
        instance_of(self.tables.get(&Key::Instance(key.clone())))
    }

    /// The instance itself, which costs less than a copy. It must be saved, changed or not.
    fn take(&mut self, key: &InstanceKey) -> Option<Box<Instance>> {
        instance_of(self.tables.take(&Key::Instance(key.clone())))
    }

    fn save(&mut self, key: &InstanceKey, instance: Box<Instance>) {
        self.tables.put(Key::Instance(key.clone()), Row::Instance(instance));
    }

    fn reply(&mut self, to: Option<ReplyTo>, reply: Reply) {
        if let Some(to) = to {
            self.actions.push(Action::Reply { to, reply });
        }
    }

    fn dead_letter(&mut self, code: RejectCode, message: String) {
        self.actions.push(Action::DeadLetter { code, message });
    }

    fn stray(&mut self, what: &str, key: &InstanceKey) {
        self.actions.push(Action::Stray {
            message: format!(
                "{what} for {key}, which does not exist: the fact is kept on the dead-letter topic"
            ),
        });
    }
}

fn instance_of(row: Option<Row>) -> Option<Box<Instance>> {
    match row {
        Some(Row::Instance(instance)) => Some(instance),
        _ => None,
    }
}
