//! How far the journal is durable. Written on a thread of the log's, read by the lane and by its checkpoints.

use super::watched::Watched;
use super::{Event, Host};
use crate::log::{Appended, JournalAcks, LogError};
use crossbeam_channel::Sender;
use std::time::Duration;

/// Shared between the journal, the lane and its checkpoint threads.
pub(super) struct Acks {
    state: Watched<State>,
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
        Acks { state: Watched::default(), events }
    }

    /// Sets what take-over found.
    pub(super) fn begin(&self, seq: u64, offset: i64) {
        let mut state = self.state.lock();
        state.seq = seq;
        state.offset = offset;
    }

    /// The lane has ended: no acknowledgement counts any more.
    pub(super) fn end(&self) {
        self.state.change(|state| {
            state.lost.get_or_insert_with(|| "the lane has ended".into());
        });
    }

    pub(super) fn now(&self) -> State {
        self.state.lock().clone()
    }

    /// Waits until the record `seq` is durable.
    pub(super) fn wait_for(&self, host: &dyn Host, seq: u64, limit: Duration) -> Result<(), LogError> {
        let state = self.state.wait(host, limit, |state| state.lost.is_some() || state.seq >= seq);
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
        self.state.change(|state| match what {
            Appended::Durable { seq, offset } if state.lost.is_none() => {
                debug_assert!(seq == state.seq + 1, "acknowledgements come in order");
                state.seq = seq;
                state.offset = offset;
            }
            Appended::Durable { .. } => {}
            Appended::Lost(why) => {
                state.lost.get_or_insert(why);
            }
        });
        // The lane may have ended.
        let _ = self.events.send(Event::Appended);
    }
}
