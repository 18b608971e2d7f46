//! Child ended: ends the call that waits for it.

use super::{Work, turn};
use crate::core::history::{Outcome, TurnInput};
use crate::core::ids::{InstanceKey, OpId};

pub(super) fn apply(work: &mut Work<'_>, key: InstanceKey, run: u32, op: OpId, outcome: Outcome) {
    let Some(mut instance) = work.load(&key) else { return };
    if instance.run != run || !turn::is_open(&instance, op) {
        return;
    }
    turn::deliver(work, &key, &mut instance, TurnInput::Child { op, outcome });
    work.save(&key, instance);
}
