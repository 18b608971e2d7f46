//! Cancel: every open operation ends with "cancelled", so that `?` unwinds the workflow; compensations then run.

use super::{Work, turn};
use crate::core::action::Reply;
use crate::core::history::TurnInput;
use crate::core::ids::InstanceKey;
use crate::core::input::{ParentLink, ReplyTo, Waiter};
use crate::core::mutation::{Mutation, mutated};

pub(super) fn apply(work: &mut Work<'_>, key: InstanceKey, by: Option<&ParentLink>, reply: Option<ReplyTo>) {
    let Some(mut instance) = work.load(&key) else {
        return work.reply(reply, Reply::Unknown);
    };
    if let Some(by) = by
        && instance.parent.as_ref() != Some(by)
    {
        // It waited for the result, and does no longer.
        if let Some(at) =
            instance.waiters.iter().position(|w| matches!(w, Waiter::Parent(link) if link == by))
        {
            instance.waiters.remove(at);
            work.save(&key, instance);
        }
        return work.reply(reply, Reply::Noted);
    }
    let lost = reply.is_some() && mutated(Mutation::CancelLost);
    if instance.cancelled || instance.status.has_ended() || lost {
        return work.reply(reply, Reply::Noted);
    }
    instance.cancelled = true;
    turn::deliver(work, &key, &mut instance, TurnInput::Cancel);
    work.save(&key, instance);
    work.reply(reply, Reply::Noted);
}
