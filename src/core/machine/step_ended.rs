//! Step ended: its result is the only result, for ever.

use super::{Work, turn};
use crate::core::history::{Outcome, TurnInput};
use crate::core::ids::{InstanceKey, OpId};
use crate::core::state::{Key, Row};

pub(super) fn apply(
    work: &mut Work<'_>,
    key: InstanceKey,
    run: u32,
    op: OpId,
    attempt: u32,
    outcome: Outcome,
) {
    let Some(mut instance) = work.load(&key) else {
        return work.stray("the result of a step", &key);
    };
    let Some(Row::Step(step)) = work.tables.get(&Key::Step(key.clone(), op)) else { return };
    if instance.run != run || step.run != run || step.failed_attempts + 1 != attempt {
        return;
    }
    turn::deliver(work, &key, &mut instance, TurnInput::Step { op, attempts: attempt, outcome });
    work.save(&key, instance);
}
