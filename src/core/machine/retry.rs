//! Retry: takes a parked instance up again. Its history is replayed, then what waited in its inbox is delivered.

use super::{Work, turn};
use crate::core::action::{Action, Reply};
use crate::core::history::MarkKind;
use crate::core::ids::InstanceKey;
use crate::core::input::ReplyTo;
use crate::core::state::{Instance, Key, Row, Status};

pub(super) fn apply(work: &mut Work<'_>, key: InstanceKey, reply: Option<ReplyTo>) {
    let Some(mut instance) = work.load(&key) else {
        return work.reply(reply, Reply::Unknown);
    };
    if matches!(instance.status, Status::Parked(_)) {
        instance.status = Status::Running;
        run_open_steps(work, &key, &instance);
        turn::deliver_inbox(work, &key, &mut instance);
        if instance.status == Status::Running {
            turn::deliver_mail(work, &key, &mut instance);
        }
        work.save(&key, instance);
    }
    work.reply(reply, Reply::Noted);
}

/// The code went from memory when the instance was parked, and with it every attempt that was under way.
fn run_open_steps(work: &mut Work<'_>, key: &InstanceKey, instance: &Instance) {
    for open in instance.open.iter().filter(|o| matches!(o.mark.what, MarkKind::Run(_))) {
        if let Some(Row::Step(step)) = work.tables.get(&Key::Step(key.clone(), open.mark.id)) {
            work.actions.push(Action::RunStep {
                key: key.clone(),
                run: instance.run,
                op: open.mark.id,
                attempt: step.failed_attempts + 1,
                not_before: step.retry_at,
                at_once: false,
            });
        }
    }
}
