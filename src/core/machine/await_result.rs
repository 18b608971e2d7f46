//! Await: tells the result, now or when there is one.

use super::{Work, end};
use crate::core::action::Reply;
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
    if instance.waiters.len() >= work.limits.waiters
        && let Some(oldest) = instance.waiters.iter().position(|w| matches!(w, Waiter::Client(_)))
    {
        instance.waiters.remove(oldest);
    }
    instance.waiters.push(waiter);
    work.save(key, instance);
}
