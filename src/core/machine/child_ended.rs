//! Child ended: ends the call that waits for it.

use super::{Work, turn};
use crate::core::error::Failure;
use crate::core::history::{Outcome, TurnInput};
use crate::core::ids::{InstanceKey, OpId};
use crate::core::mutation::{Mutation, mutated};

pub(super) fn apply(work: &mut Work<'_>, key: InstanceKey, run: u32, op: OpId, outcome: Outcome) {
    if mutated(Mutation::ChildEndLost) {
        return;
    }
    let Some(mut instance) = work.load(&key) else { return };
    if instance.run != run || !turn::is_open(&instance, op) {
        return;
    }
    let outcome = match mutated(Mutation::ChildOutcomeLost) {
        true => Err(Failure::permanent("its outcome is lost")),
        false => outcome,
    };
    turn::deliver(work, &key, &mut instance, TurnInput::Child { op, outcome });
    work.save(&key, instance);
}
