//! The end of an instance: its outcome stays, its history goes, whoever waits hears of it.

use super::{Work, digest, turn};
use crate::core::action::{Action, Reply};
use crate::core::error::{Failure, FailureKind};
use crate::core::history::{Outcome, Turn};
use crate::core::ids::InstanceKey;
use crate::core::input::{Command, CommandAsk, Waiter};
use crate::core::mutation::{Mutation, mutated};
use crate::core::state::{Instance, Key, Status};
use crate::core::tables::turn_rows;

pub(super) fn finish(work: &mut Work<'_>, key: &InstanceKey, instance: &mut Instance, outcome: Outcome) {
    let outcome = within_limit(work, outcome);
    turn::drop_all(work, key, instance);
    instance.digest = digest::of(take_history(work, key, instance), work.limits.digest_len);
    for (number, _) in std::mem::take(&mut instance.mail) {
        work.tables.delete(&Key::Signal(key.clone(), number));
    }
    for number in instance.inbox.0..instance.inbox.1 {
        work.tables.delete(&Key::Inbox(key.clone(), number));
    }
    instance.inbox = (0, 0);
    instance.status = match outcome.clone() {
        Ok(payload) => Status::Completed(payload),
        Err(f) if instance.cancelled && f.kind == FailureKind::Cancelled => Status::Cancelled(f),
        Err(f) => Status::Failed(f),
    };
    for waiter in std::mem::take(&mut instance.waiters) {
        if !(mutated(Mutation::WaiterForgotten) && matches!(waiter, Waiter::Client(_))) {
            tell(work, waiter, outcome.clone());
        }
    }
    work.executor.forget(key);
    work.actions.push(Action::Forget(key.clone()));
}

/// Tells one waiter the outcome.
pub(super) fn tell(work: &mut Work<'_>, waiter: Waiter, outcome: Outcome) {
    match waiter {
        Waiter::Client(to) => work.reply(Some(to), Reply::Ended(outcome)),
        Waiter::Parent(link) => work.route(Command {
            to: link.parent,
            ask: CommandAsk::ChildEnded { run: link.run, op: link.op, outcome },
        }),
    }
}

fn within_limit(work: &Work<'_>, outcome: Outcome) -> Outcome {
    match outcome {
        Ok(payload) if payload.len() > work.limits.payload_bytes => Err(Failure {
            kind: FailureKind::PayloadTooLarge,
            message: format!(
                "the result has {} bytes, the limit is {}: return a reference instead",
                payload.len(),
                work.limits.payload_bytes
            ),
            details: Default::default(),
        }),
        other => other.map_err(Failure::bounded),
    }
}

fn take_history(work: &mut Work<'_>, key: &InstanceKey, instance: &mut Instance) -> Vec<Turn> {
    // Without what is missing: the digest is for people.
    let rows = turn_rows(key, instance, |row| work.tables.take(row)).filter_map(Result::ok);
    let mut turns: Vec<Turn> = rows.flatten().collect();
    turns.append(&mut instance.recent);
    turns
}
