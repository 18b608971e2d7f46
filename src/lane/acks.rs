//! How far the journal is durable. Written on a thread of the log's, read by the lane and by its checkpoints.

use super::{Event, Host};
use crate::log::{Appended, JournalAcks, LogError};
use crossbeam_channel::Sender;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Shared between the journal, the lane and its checkpoint thread.
pub(super) struct Acks {
    state: Mutex<State>,
    changed: Condvar,
    events: Sender<Event>,
}

#[derive(Debug, Default, Clone)]
pub(super) struct State {
    /// Every record up to this sequence is durable.
    pub(super) seq: u64,
    /// Offset of that record.
    pub(super) offset: i64,
    /// Set when an append failed: the lane is lost.
    pub(super) lost: Option<String>,
}

impl Acks {
    pub(super) fn new(events: Sender<Event>) -> Self {
        Acks { state: Mutex::default(), changed: Condvar::new(), events }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets what take-over found.
    pub(super) fn begin(&self, seq: u64, offset: i64) {
        let mut state = self.lock();
        state.seq = seq;
        state.offset = offset;
    }

    pub(super) fn now(&self) -> State {
        self.lock().clone()
    }

    /// Waits until the record `seq` is durable.
    pub(super) fn wait_for(&self, host: &dyn Host, seq: u64, limit: Duration) -> Result<(), LogError> {
        let settled = |state: &State| state.lost.is_some() || state.seq >= seq;
        host.wait(limit, &mut |block| {
            let waiting = self.changed.wait_timeout_while(self.lock(), block, |state| !settled(state));
            settled(&waiting.unwrap_or_else(PoisonError::into_inner).0)
        });
        let state = self.lock();
        match &state.lost {
            Some(why) => Err(LogError::Lost(why.clone())),
            None if state.seq >= seq => Ok(()),
            None => {
                Err(LogError::Lost(format!("journal record {seq} was not acknowledged within {limit:?}")))
            }
        }
    }
}

impl JournalAcks for Acks {
    fn appended(&self, what: Appended) {
        let mut state = self.lock();
        match what {
            Appended::Durable { seq, offset } if state.lost.is_none() => {
                debug_assert!(seq == state.seq + 1, "acknowledgements come in order");
                state.seq = seq;
                state.offset = offset;
            }
            Appended::Durable { .. } => {}
            Appended::Lost(why) => {
                state.lost.get_or_insert(why);
            }
        }
        drop(state);
        self.changed.notify_all();
        // The lane may have ended.
        let _ = self.events.send(Event::Appended);
    }
}
