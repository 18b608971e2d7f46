//! Start: an id names one instance, however often its start is sent.

use super::{Work, await_result, turn};
use crate::core::error::{Failure, RejectCode};
use crate::core::history::TurnInput;
use crate::core::ids::{InstanceKey, Millis};
use crate::core::input::{Command, CommandAsk, Waiter};
use crate::core::mutation::{Mutation, mutated};
use crate::core::state::Instance;
use bytes::Bytes;

/// A start of the log (`logged` is its record's time) runs its first turn at that time, which may lie before what the lane
/// has applied: if nobody calls the workflow, the steps that this turn asks for start before anything says where among the
/// facts the start has its place, so nothing of them may depend on that.
pub(super) fn apply(
    work: &mut Work<'_>,
    key: InstanceKey,
    input: Bytes,
    waiter: Option<Waiter>,
    logged: Option<Millis>,
) {
    if mutated(if logged.is_some() { Mutation::StartLost } else { Mutation::ChildStartLost }) {
        return;
    }
    if logged.is_some() && matches!(waiter, Some(Waiter::Parent(_))) && work.executor.knows(&key.workflow) {
        work.callees.insert(key.workflow.clone());
    }
    if work.load(&key).is_some() {
        if let Some(waiter) = waiter {
            await_result::apply(work, &key, waiter);
        }
        return;
    }
    if let Some((code, message)) = refusal(work, &key, &input) {
        return refuse(work, waiter, code, message);
    }
    let now = work.now;
    if let Some(at) = logged
        && !mutated(Mutation::StartAtLaneTime)
    {
        work.now = at;
    }
    let is_called = work.callees.contains(&key.workflow) && !mutated(Mutation::CalleesIgnored);
    work.at_once = logged.is_some() && !is_called;
    let mut instance = Box::new(Instance::new(work.now, waiter));
    turn::deliver(work, &key, &mut instance, TurnInput::Start(input));
    work.save(&key, instance);
    work.at_once = false;
    work.now = now;
}

fn refusal(work: &Work<'_>, key: &InstanceKey, input: &Bytes) -> Option<(RejectCode, String)> {
    if !work.executor.knows(&key.workflow) {
        let message = format!(
            "start of {key}: this program has no workflow \"{}\"; register it with app.workflow(…), or correct the \
             header sakia-workflow and send the record again",
            key.workflow
        );
        return Some((RejectCode::UnknownWorkflow, message));
    }
    if input.len() > work.limits.payload_bytes {
        let message = format!(
            "start of {key}: its payload of {} bytes is over the limit of {}; keep large data elsewhere and send a \
             reference",
            input.len(),
            work.limits.payload_bytes
        );
        return Some((RejectCode::PayloadTooLarge, message));
    }
    let error = work.executor.check_start(&key.workflow, input).err()?;
    let message =
        format!("start of {key}: its payload cannot be read: {error}; correct it and send it again");
    Some((RejectCode::Undecodable, message))
}

/// A parent hears of the refusal as the failure of its call; anything else goes to the dead-letter topic.
fn refuse(work: &mut Work<'_>, waiter: Option<Waiter>, code: RejectCode, message: String) {
    match waiter {
        Some(Waiter::Parent(link)) => work.route(Command {
            to: link.parent,
            ask: CommandAsk::ChildEnded {
                run: link.run,
                op: link.op,
                outcome: Err(Failure::permanent(format!("{}: {message}", code.code()))),
            },
        }),
        Some(Waiter::Client(to)) => {
            let failure = Failure::permanent(format!("{}: {message}", code.code()));
            work.reply(Some(to), crate::core::action::Reply::Ended(Err(failure)));
            work.dead_letter(code, message);
        }
        None => work.dead_letter(code, message),
    }
}
