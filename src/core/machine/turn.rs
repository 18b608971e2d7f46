//! A turn: one input is delivered to the code, and what the code asks for is put into the state.
//!
//! A turn that parks leaves no trace but the park: its input waits in the inbox, its operations do not exist.

use super::{Work, bounds, end, park};
use crate::core::action::Action;
use crate::core::executor::TurnEnd;
use crate::core::history::{Ask, Ends, MarkKind, Op, Turn, TurnInput};
use crate::core::ids::{InstanceKey, OpId};
use crate::core::input::{Command, CommandAsk, ParentLink, Waiter};
use crate::core::mutation::{Mutation, mutated};
use crate::core::state::{Instance, Key, OpenOp, Row, Status, Step, Timer};
use crate::core::tables::history;

pub(super) fn is_open(instance: &Instance, op: OpId) -> bool {
    instance.open.iter().any(|o| o.mark.id == op)
}

/// Whether the code waits for a signal of this name.
pub(super) fn waits_for(instance: &Instance, signal: &str) -> bool {
    instance.open.iter().any(|o| matches!(&o.mark.what, MarkKind::Receive(name) if **name == *signal))
}

/// Delivers one input, then the signals for which the code now waits.
pub(super) fn deliver(work: &mut Work<'_>, key: &InstanceKey, instance: &mut Instance, input: TurnInput) {
    if let Err(input) = take(work, key, instance, input) {
        let number = instance.inbox.1;
        instance.inbox.1 += 1;
        work.tables.put(Key::Inbox(key.clone(), number), Row::Inbox(input));
        if !instance.status.has_ended() {
            close_timer_of_inbox(work, key, instance, number);
        }
    }
    if instance.status == Status::Running {
        deliver_mail(work, key, instance);
    }
}

/// A timer whose firing waits in the inbox must not fire again.
fn close_timer_of_inbox(work: &mut Work<'_>, key: &InstanceKey, instance: &Instance, number: u64) {
    let Some(Row::Inbox(input)) = work.tables.get(&Key::Inbox(key.clone(), number)) else { return };
    let op = match input {
        TurnInput::Timer { op } => op,
        TurnInput::Step { op, .. } => return work.tables.delete(&Key::Step(key.clone(), op)),
        _ => return,
    };
    if let Some(open) = instance.open.iter().find(|o| o.mark.id == op) {
        work.tables.delete(&Key::Timer(open.until, key.clone(), op));
    }
}

/// Delivers what waited while the instance was parked, in order, as far as it goes.
pub(super) fn deliver_inbox(work: &mut Work<'_>, key: &InstanceKey, instance: &mut Instance) {
    while instance.status == Status::Running && instance.inbox.0 < instance.inbox.1 {
        let row = Key::Inbox(key.clone(), instance.inbox.0);
        let Some(Row::Inbox(input)) = work.tables.get(&row) else { break };
        if still_open(instance, &input) && take(work, key, instance, input).is_err() {
            break;
        }
        instance.inbox.0 += 1;
        work.tables.delete(&row);
    }
}

fn still_open(instance: &Instance, input: &TurnInput) -> bool {
    match input.ends() {
        Ends::One(op) => is_open(instance, op),
        Ends::None | Ends::All => true,
    }
}

/// Hands waiting signals to the receives that wait for them: the oldest receive first, the oldest signal first.
pub(super) fn deliver_mail(work: &mut Work<'_>, key: &InstanceKey, instance: &mut Instance) {
    while instance.status == Status::Running {
        let found = instance.open.iter().find_map(|open| match &open.mark.what {
            MarkKind::Receive(name) => {
                instance.mail.iter().position(|(_, n)| n == name).map(|at| (open.mark.id, at))
            }
            _ => None,
        });
        let Some((op, at)) = found else { return };
        let row = Key::Signal(key.clone(), instance.mail[at].0);
        let Some(Row::Signal(payload)) = work.tables.get(&row) else { return };
        if take(work, key, instance, TurnInput::Signal { op, payload }).is_err() {
            return;
        }
        if !instance.status.has_ended() && !mutated(Mutation::SignalTwice) {
            instance.mail.remove(at);
            work.tables.delete(&row);
        }
    }
}

/// Gives the input to the code. `Err` returns the input: the instance is parked and did not take it.
fn take(
    work: &mut Work<'_>,
    key: &InstanceKey,
    instance: &mut Instance,
    input: TurnInput,
) -> Result<(), TurnInput> {
    if instance.status != Status::Running {
        return Err(input);
    }
    let run = instance.run;
    let (tables, executor, now) = (&mut *work.tables, &mut *work.executor, work.now);
    let mut history = || history(tables, key, instance);
    let answer = executor.turn(key, run, &mut history, now, &input);
    let refused = match answer.end {
        TurnEnd::Parked(ref park) => Some(park.clone()),
        ref end => {
            let ends = matches!(end, TurnEnd::Returned(_));
            bounds::exceeded(work, instance, &input, &answer.ops, ends)
        }
    };
    if let Some(park) = refused {
        park::set(work, key, instance, park);
        return Err(input);
    }
    close(work, key, instance, &input);
    let asked = answer.ops.iter().map(Op::mark).collect();
    record(work, key, instance, Turn { at: now, input, asked });
    instance.updated = now;
    for op in answer.ops {
        open(work, key, instance, op);
    }
    if let TurnEnd::Returned(outcome) = answer.end {
        end::finish(work, key, instance, outcome);
    }
    Ok(())
}

/// Puts a turn behind the others.
fn record(work: &mut Work<'_>, key: &InstanceKey, instance: &mut Instance, turn: Turn) {
    instance.recent.push(turn);
    instance.turns += 1;
    let bytes: usize = instance.recent.iter().map(Turn::size).sum();
    if instance.recent.len() >= work.limits.recent_turns || bytes >= work.limits.recent_bytes {
        let row = Key::Turns(key.clone(), instance.first_recent());
        work.tables.create(row, Row::Turns(std::mem::take(&mut instance.recent)));
    }
}

/// Ends the operation that the input answers.
fn close(work: &mut Work<'_>, key: &InstanceKey, instance: &mut Instance, input: &TurnInput) {
    let op = match input.ends() {
        Ends::None => return,
        Ends::One(op) => op,
        Ends::All => return drop_all(work, key, instance),
    };
    if let Some(at) = instance.open.iter().position(|o| o.mark.id == op) {
        let open = instance.open.remove(at);
        match open.mark.what {
            MarkKind::Run(_) => work.tables.delete(&Key::Step(key.clone(), op)),
            MarkKind::Sleep(_) => work.tables.delete(&Key::Timer(open.until, key.clone(), op)),
            _ => {}
        }
    }
}

/// Puts one operation that the code asks for into the state.
fn open(work: &mut Work<'_>, key: &InstanceKey, instance: &mut Instance, op: Op) {
    let mark = op.mark();
    let run = instance.run;
    let mut until = 0;
    match op.ask {
        Ask::Drop => return drop_one(work, key, instance, op.id),
        Ask::Send { .. } if mutated(Mutation::SendLost) => return,
        Ask::Send { topic, key, value } => return work.actions.push(Action::Send { topic, key, value }),
        Ask::Run { .. } => {
            let step = Step { run, failed_attempts: 0, retry_at: 0, last_failure: None };
            work.tables.create(Key::Step(key.clone(), op.id), Row::Step(step));
            work.actions.push(Action::RunStep {
                key: key.clone(),
                run,
                op: op.id,
                attempt: 1,
                not_before: 0,
                at_once: work.at_once,
            });
        }
        Ask::Sleep { until: due, .. } => {
            let early = if mutated(Mutation::SleepShort) { due.saturating_sub(work.now) / 2 } else { 0 };
            let due = due - early;
            until = due;
            work.tables.create(Key::Timer(due, key.clone(), op.id), Row::Timer(Timer { run }));
            work.actions.push(Action::ArmTimer { due, key: key.clone(), run, op: op.id });
        }
        Ask::Receive { .. } => {}
        Ask::Call { child, input } => {
            let waiter = Some(Waiter::Parent(ParentLink { parent: key.clone(), run, op: op.id }));
            work.route(Command { to: child, ask: CommandAsk::Start { input, waiter } });
        }
    }
    instance.open.push(OpenOp { mark, since: work.now, until });
}

fn drop_one(work: &mut Work<'_>, key: &InstanceKey, instance: &mut Instance, op: OpId) {
    if let Some(at) = instance.open.iter().position(|o| o.mark.id == op) {
        let open = instance.open.remove(at);
        abandon(work, key, instance.run, open);
    }
}

/// Ends every open operation, as a cancel and the end of an instance do.
pub(super) fn drop_all(work: &mut Work<'_>, key: &InstanceKey, instance: &mut Instance) {
    for open in std::mem::take(&mut instance.open) {
        abandon(work, key, instance.run, open);
    }
}

fn abandon(work: &mut Work<'_>, key: &InstanceKey, run: u32, open: OpenOp) {
    let op = open.mark.id;
    match open.mark.what {
        MarkKind::Run(_) => work.tables.delete(&Key::Step(key.clone(), op)),
        MarkKind::Sleep(_) => {
            work.tables.delete(&Key::Timer(open.until, key.clone(), op));
            work.actions.push(Action::DisarmTimer { due: open.until, key: key.clone(), op });
        }
        MarkKind::Call(child) => {
            let by = Some(ParentLink { parent: key.clone(), run, op });
            work.route(Command { to: child, ask: CommandAsk::Cancel { by, reply: None } });
        }
        MarkKind::Receive(_) | MarkKind::Send(_) | MarkKind::Drop => {}
    }
}
