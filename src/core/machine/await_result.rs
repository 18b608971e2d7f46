//! Await: tells the result, now or when there is one.

use super::{Work, end};
use crate::core::action::Reply;
use crate::core::error::Failure;
use crate::core::ids::InstanceKey;
use crate::core::input::Waiter;

pub(super) fn apply(work: &mut Work<'_>, key: &InstanceKey, waiter: Waiter) {
    let Some(mut instance) = work.load(key) else {
        if let Waiter::Client(to) = waiter {
            work.reply(Some(to), Reply::Unknown);
        }
        return;
    };
    if let Some(outcome) = instance.status.outcome() {
        return end::tell(work, waiter, outcome);
    }
    if instance.waiters.contains(&waiter) {
        return;
    }
    let (waiting, is_client) = (&instance.waiters, |w: &Waiter| matches!(w, Waiter::Client(_)));
    let clients = waiting.iter().filter(|w| is_client(w)).count();
    if is_client(&waiter) {
        if clients >= work.limits.waiters
            && let Some(oldest) = waiting.iter().position(is_client)
        {
            instance.waiters.remove(oldest);
        }
    } else if waiting.len() - clients >= work.limits.parents {
        let text =
            format!("{key} has {} callers that wait for its result, the limit", waiting.len() - clients);
        return end::tell(work, waiter, Err(Failure::permanent(text)));
    }
    instance.waiters.push(waiter);
    work.save(key, instance);
}
