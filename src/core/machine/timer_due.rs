//! Timer due: a timer fires by a fact, once.

use super::{Work, turn};
use crate::core::history::TurnInput;
use crate::core::ids::{InstanceKey, Millis, OpId};
use crate::core::state::{Instance, Key, Status};

pub(super) fn apply(work: &mut Work<'_>, key: InstanceKey, run: u32, op: OpId, due: Millis) {
    let instance = work.load(&key);
    if !instance.as_ref().is_some_and(|i| is_open_in(i, op, due))
        && work.tables.get(&Key::Timer(due, key.clone(), op)).is_none()
    {
        return;
    }
    let Some(mut instance) = instance else {
        return work.stray("a due timer", &key);
    };
    if instance.run != run {
        return;
    }
    turn::deliver(work, &key, &mut instance, TurnInput::Timer { op });
    work.save(&key, instance);
}

/// Whether the instance itself says that the timer is there: a million may come due at once, and each look into the
/// store counts. One that is parked does not know: its sleep is open also when its timer has come due and waits.
fn is_open_in(instance: &Instance, op: OpId, due: Millis) -> bool {
    instance.status == Status::Running
        && instance.inbox.0 == instance.inbox.1
        && instance.open.iter().any(|o| o.mark.id == op && o.until == due)
}
