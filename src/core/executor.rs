//! The code of the workflows, as the core sees it.

use crate::core::error::Park;
use crate::core::history::{History, Op, Outcome, TurnInput};
use crate::core::ids::{InstanceKey, Millis};
use bytes::Bytes;

/// Runs the users' code: one input, one answer.
pub trait Executor {
    /// Whether this program has the workflow.
    fn knows(&self, workflow: &str) -> bool;
    /// Whether the payload of a start can be decoded; the text names what is wrong with it.
    fn check_start(&self, workflow: &str, input: &Bytes) -> Result<(), String>;
    /// Delivers one input and runs the code until it waits. If the instance is not in memory, `history` gives its
    /// turns so far, and the executor first replays them, comparing what the code asks with what it asked then. It
    /// runs no code on a history that is not whole.
    fn turn(
        &mut self,
        key: &InstanceKey,
        run: u32,
        history: &mut dyn FnMut() -> History,
        at: Millis,
        input: &TurnInput,
    ) -> Answer;
    /// Drops the instance's code.
    fn forget(&mut self, key: &InstanceKey);
}

/// What the code did with an input.
#[derive(Debug)]
pub struct Answer {
    /// What it asked for, in order.
    pub ops: Vec<Op>,
    /// Where it stands now.
    pub end: TurnEnd,
}

/// Where the code stands after a turn.
#[derive(Debug)]
pub enum TurnEnd {
    /// It waits for open operations.
    Waiting,
    /// It returned.
    Returned(Outcome),
    /// It no longer fits its history, panicked, or waits for something foreign.
    Parked(Park),
}
