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
    let step = work.tables.get(&Key::Step(key.clone(), op));
    let is_open = matches!(step, Some(Row::Step(s)) if s.run == run && s.failed_attempts + 1 == attempt);
    let instance = if is_open { work.take(&key) } else { work.load(&key) };
    let Some(mut instance) = instance else {
        return work.stray("the result of a step", &key);
    };
    if !is_open {
        return;
    }
    if instance.run == run {
        turn::deliver(work, &key, &mut instance, TurnInput::Step { op, attempts: attempt, outcome });
    }
    work.save(&key, instance);
}
