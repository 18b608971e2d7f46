//! Random numbers that a replay draws again: derived from the instance's name and a counter.

use crate::core::ids::InstanceKey;
use uuid::Uuid;

/// Version 5 namespace of all that is derived from an instance. Never change it: replays depend on it.
const NAMESPACE: Uuid = Uuid::from_u128(0x9f1c_6e0b_54b1_4d6e_9d43_7a1d_5ab0_11c7);

/// The `number`th draw of an instance's run.
pub(super) fn draw(app: &str, key: &InstanceKey, run: u32, number: u64) -> Uuid {
    let name = format!("{app}\0{}\0{}\0{run}\0{number}", key.workflow, key.id);
    Uuid::new_v5(&NAMESPACE, name.as_bytes())
}
