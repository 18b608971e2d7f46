//! An operation that was issued and has not ended. Dropping it cancels it, and the drop is part of the history.

use super::cell::Shared;
use super::payload;
use crate::core::history::{Ask, Op, Outcome};
use crate::core::ids::OpId;
use serde::de::DeserializeOwned;
use std::task::{Context, Poll};

/// Issued at the first poll, ended by an input.
pub(super) struct Pending {
    pub(super) cell: Shared,
    id: Option<OpId>,
    done: bool,
}

impl Pending {
    pub(super) fn new(cell: &Shared) -> Self {
        Pending { cell: cell.clone(), id: None, done: false }
    }

    /// Issues the operation if that has not happened.
    pub(super) fn issue(&mut self, ask: impl FnOnce(&Shared) -> Ask) -> OpId {
        *self.id.get_or_insert_with(|| {
            let ask = ask(&self.cell);
            self.cell.borrow_mut().ask_and_wait(ask)
        })
    }

    /// The result, once it was delivered.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Outcome> {
        let Some(id) = self.id else { return Poll::Pending };
        let mut cell = self.cell.borrow_mut();
        let Some(slot) = cell.slots.get_mut(&id) else { return Poll::Pending };
        match slot.outcome.take() {
            None => {
                slot.waker = Some(cx.waker().clone());
                Poll::Pending
            }
            Some(outcome) => {
                cell.slots.remove(&id);
                self.done = true;
                Poll::Ready(outcome)
            }
        }
    }

    /// Turns a delivered payload into a value. A payload that does not fit parks the instance: its future stays
    /// pending and the executor sees the trouble.
    pub(super) fn decode<T: DeserializeOwned>(&self, what: &str, bytes: &[u8]) -> Poll<T> {
        match payload::decode(bytes) {
            Ok(value) => Poll::Ready(value),
            Err(error) => {
                self.cell.borrow_mut().undecodable(what, &error);
                Poll::Pending
            }
        }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        let (Some(id), false) = (self.id, self.done) else { return };
        // A panic unwinds through here while the cell may be borrowed; the instance is parked then anyway.
        if let Ok(mut cell) = self.cell.try_borrow_mut() {
            cell.slots.remove(&id);
            if !cell.quiet {
                cell.asked.push(Op { id, ask: Ask::Drop });
            }
        }
    }
}
