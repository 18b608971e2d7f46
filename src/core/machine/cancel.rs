//! Cancel: every open operation ends with "cancelled", so that `?` unwinds the workflow; compensations then run.

use super::{Work, turn};
use crate::core::action::Reply;
use crate::core::history::TurnInput;
use crate::core::ids::InstanceKey;
use crate::core::input::{ParentLink, ReplyTo};
use crate::core::mutation::{Mutation, mutated};

pub(super) fn apply(work: &mut Work<'_>, key: InstanceKey, by: Option<&ParentLink>, reply: Option<ReplyTo>) {
    let Some(mut instance) = work.load(&key) else {
        return work.reply(reply, Reply::Unknown);
    };
    let not_its_parent = by.is_some() && instance.parent.as_ref() != by;
    let lost = reply.is_some() && mutated(Mutation::CancelLost);
    if not_its_parent || instance.cancelled || instance.status.has_ended() || lost {
        return work.reply(reply, Reply::Noted);
    }
    instance.cancelled = true;
    turn::deliver(work, &key, &mut instance, TurnInput::Cancel);
    work.save(&key, instance);
    work.reply(reply, Reply::Noted);
}
