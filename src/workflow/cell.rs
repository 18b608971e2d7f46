//! What an instance's code and its executor share.

use super::run::Attempt;
use super::wake::ReadyQueue;
use crate::core::error::{Failure, Park, ParkCode};
use crate::core::history::{Ask, Op, Outcome};
use crate::core::ids::{InstanceKey, Millis, OpId};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;

/// Shared by the clones of one instance's `Ctx`, its pending operations and the executor. Never borrowed while user
/// code runs.
pub(super) type Shared = Rc<RefCell<Cell>>;

/// The executor's side of one instance.
pub(crate) struct Cell {
    pub(super) app: Arc<str>,
    pub(super) key: InstanceKey,
    pub(super) run: u32,
    /// Time of the input that is being delivered.
    pub(super) now: Millis,
    /// Number of the next operation of the main line.
    pub(super) next_op: u32,
    /// Random draws so far.
    pub(super) draws: u64,
    /// Operations issued since the last input.
    pub(super) asked: Vec<Op>,
    /// Operations whose result the code has not taken.
    pub(super) slots: BTreeMap<OpId, Slot>,
    /// Attempts that ended since somebody asked.
    pub(super) attempts: Vec<Attempt>,
    /// The step whose body is being polled.
    pub(super) stepping: Option<OpId>,
    /// Set while the code is dropped by us: what it drops then is no decision of its own.
    pub(super) quiet: bool,
    /// Why the instance cannot go on.
    pub(super) trouble: Option<Park>,
    /// Under which step bodies are polled.
    pub(super) runtime: Option<tokio::runtime::Handle>,
    pub(super) ready: Arc<ReadyQueue>,
    /// Largest result of a step.
    pub(super) payload_limit: usize,
}

/// One operation that the code waits for.
#[derive(Default)]
pub(super) struct Slot {
    /// Its result, once delivered.
    pub(super) outcome: Option<Outcome>,
    /// Wakes the future that waits for it.
    pub(super) waker: Option<Waker>,
    /// For a step: the attempt that may start.
    pub(super) go: Option<u32>,
    /// For a step: whether an attempt is under way.
    pub(super) running: bool,
}

impl Cell {
    /// Issues an operation of the main line.
    pub(super) fn ask(&mut self, ask: Ask) -> OpId {
        let id = OpId { branch: 0, number: self.next_op };
        self.next_op += 1;
        self.asked.push(Op { id, ask });
        id
    }

    /// Issues an operation that ends with an input.
    pub(super) fn ask_and_wait(&mut self, ask: Ask) -> OpId {
        let id = self.ask(ask);
        self.slots.insert(id, Slot::default());
        id
    }

    /// Delivers the result of an operation.
    pub(super) fn resolve(&mut self, op: OpId, outcome: Outcome) {
        if let Some(slot) = self.slots.get_mut(&op) {
            slot.outcome = Some(outcome);
            if let Some(waker) = slot.waker.take() {
                waker.wake();
            }
        }
    }

    /// Ends every open operation with "cancelled", in the order in which they were issued.
    pub(super) fn cancel(&mut self) {
        let open: Vec<OpId> =
            self.slots.iter().filter(|(_, s)| s.outcome.is_none()).map(|(id, _)| *id).collect();
        for op in open {
            self.resolve(op, Err(Failure::cancelled()));
        }
    }

    /// Whether the code waits for anything that an input can end.
    pub(super) fn waits(&self) -> bool {
        self.slots.values().any(|s| s.outcome.is_none())
    }

    /// Whether an attempt of a step is under way, or has ended and nobody has asked yet: an input that is delivered
    /// meanwhile polls the body too.
    pub(super) fn is_running_a_step(&self) -> bool {
        !self.attempts.is_empty() || self.slots.values().any(|s| s.running || s.go.is_some())
    }

    /// Notes that a recorded payload does not fit the type that the code asks for.
    pub(super) fn undecodable(&mut self, what: &str, error: &str) {
        let message = format!("{what}: its payload does not fit the type that the code asks for: {error}");
        self.trouble.get_or_insert(Park::new(ParkCode::Undecodable, message));
    }

    /// Notes that a payload of the code's cannot be written.
    pub(super) fn unencodable(&mut self, what: &str, error: &str) {
        let message = format!("{what}: its payload cannot be written: {error}");
        self.trouble.get_or_insert(Park::new(ParkCode::Undecodable, message));
    }
}
