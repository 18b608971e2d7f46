//! Attempt failed: counted, and tried again when it is due. The code does not hear of it.

use super::Work;
use crate::core::action::Action;
use crate::core::error::Failure;
use crate::core::ids::{InstanceKey, Millis, OpId};
use crate::core::state::{Key, Row, Step};

pub(super) fn apply(
    work: &mut Work<'_>,
    key: InstanceKey,
    run: u32,
    op: OpId,
    attempt: u32,
    failure: Failure,
    retry_at: Millis,
) {
    if work.load(&key).is_none() {
        return work.stray("a failed attempt of a step", &key);
    }
    let row = Key::Step(key.clone(), op);
    let Some(Row::Step(step)) = work.tables.get(&row) else { return };
    if step.run != run || step.failed_attempts + 1 != attempt {
        return;
    }
    let step = Step { run, failed_attempts: attempt, retry_at, last_failure: Some(failure) };
    work.tables.put(row, Row::Step(step));
    work.actions.push(Action::RunStep {
        key,
        run,
        op,
        attempt: attempt + 1,
        not_before: retry_at,
        at_once: false,
    });
}
