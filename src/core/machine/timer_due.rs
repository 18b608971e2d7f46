//! Timer due: a timer fires by a fact, once.

use super::{Work, turn};
use crate::core::history::TurnInput;
use crate::core::ids::{InstanceKey, Millis, OpId};
use crate::core::state::Key;

pub(super) fn apply(work: &mut Work<'_>, key: InstanceKey, run: u32, op: OpId, due: Millis) {
    if work.tables.get(&Key::Timer(due, key.clone(), op)).is_none() {
        return;
    }
    let Some(mut instance) = work.load(&key) else {
        return work.stray("a due timer", &key);
    };
    if instance.run != run {
        return;
    }
    turn::deliver(work, &key, &mut instance, TurnInput::Timer { op });
    work.save(&key, instance);
}
