//! Signal: delivered to the receive that waits for it, or kept until one does.

use super::{Work, turn};
use crate::core::error::RejectCode;
use crate::core::ids::InstanceKey;
use crate::core::mutation::{Mutation, mutated};
use crate::core::state::{Key, Row, Status};
use bytes::Bytes;
use std::sync::Arc;

pub(super) fn apply(work: &mut Work<'_>, key: InstanceKey, name: Arc<str>, payload: Bytes) {
    let Some(mut instance) = work.load(&key) else {
        return work.dead_letter(
            RejectCode::UnknownInstance,
            format!(
                "signal \"{name}\" for {key}, which was never started; start it first, then send it again"
            ),
        );
    };
    if instance.status.has_ended() {
        return work.dead_letter(
            RejectCode::Ended,
            format!("signal \"{name}\" for {key}, which is {}", instance.status.word()),
        );
    }
    if payload.len() > work.limits.payload_bytes {
        return work.dead_letter(
            RejectCode::PayloadTooLarge,
            format!(
                "signal \"{name}\" for {key}: its payload of {} bytes is over the limit of {}",
                payload.len(),
                work.limits.payload_bytes
            ),
        );
    }
    if instance.mail.len() >= work.limits.mailbox_len {
        return work.dead_letter(
            RejectCode::MailboxFull,
            format!("signal \"{name}\" for {key}: {} signals wait there already", instance.mail.len()),
        );
    }
    if mutated(Mutation::SignalDropped) && !turn::waits_for(&instance, &name) {
        return;
    }
    let number = instance.next_mail;
    instance.next_mail += 1;
    instance.mail.push((number, name));
    work.tables.create(Key::Signal(key.clone(), number), Row::Signal(payload));
    if instance.status == Status::Running {
        turn::deliver_mail(work, &key, &mut instance);
    }
    work.save(&key, instance);
}
