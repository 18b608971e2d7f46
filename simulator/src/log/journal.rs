//! The fenced append on the simulated Kafka.

use super::{Unclear, ask_until_free, dawdle, lost};
use crate::broker::Place;
use crate::host::SimHost;
use crate::task::Pause;
use crate::wire::{LateEnd, Writer};
use bytes::Bytes;
use sakia::log::{Committed, Journal, JournalAcks, LogError};
use std::sync::Arc;
use std::time::Duration;

pub(super) struct SimJournal {
    host: SimHost,
    id: Arc<str>,
    epoch: u32,
    /// Its connection.
    number: u64,
}

impl SimJournal {
    pub(super) fn connect(
        host: SimHost,
        (id, epoch): (Arc<str>, u32),
        place: Place,
        acks: Arc<dyn JournalAcks>,
    ) -> Self {
        let whose = (host.process, host.life);
        let number = host.sim.world().wire.connect(whose, (id.clone(), epoch), place, acks);
        SimJournal { host, id, epoch, number }
    }

    fn with<T>(&self, f: impl FnOnce(&mut Writer) -> T) -> Result<T, LogError> {
        match self.host.sim.world().wire.writer(self.number) {
            Some(writer) if !writer.is_lost() => Ok(f(writer)),
            _ => Err(lost(&self.id, "an earlier append failed")),
        }
    }

    fn end(&mut self) -> Result<(), LogError> {
        if !self.with(|w| w.added)? {
            return Ok(());
        }
        // A journal's late commit does no harm: its next append is refused.
        commit(&self.host, &self.id, self.epoch)?;
        self.with(|w| w.added = false)
    }
}

/// Commits; librdkafka asks a few times within one call before it gives up. Whether a request may come once more.
pub(super) fn commit(host: &SimHost, id: &Arc<str>, epoch: u32) -> Result<Committed, LogError> {
    dawdle(host, |profile| profile.slow_end, 1_000);
    let mut committed = Committed::Once;
    for _ in 0..3 {
        {
            // Its connection broke: it is sent again, but the first one is still somewhere.
            let mut world = host.sim.world();
            let late = world.profile.end_late;
            if world.fault(late) {
                let of = world.broker.open_number(id, epoch);
                world.wire.late.push(LateEnd { id: id.clone(), epoch, of });
                committed = Committed::MayComeAgain;
            }
        }
        let said = ask_until_free(host, |world| {
            let said = world.broker.end(id, epoch, true);
            world.note(format_args!("EndTxn(commit) of {id}, epoch {epoch}: {said:?}"));
            said
        });
        match said {
            Ok(Ok(())) => return Ok(committed),
            Ok(Err(refusal)) => return Err(lost(id, refusal)),
            Err(Unclear) => {
                committed = Committed::MayComeAgain;
                let mut world = host.sim.world();
                if world.chaos && world.rng.bool() {
                    break;
                }
            }
        }
    }
    Err(lost(id, "the commit was not answered"))
}

impl Journal for SimJournal {
    fn append(&mut self, seq: u64, record: Bytes) -> Result<(), LogError> {
        self.host.pause(Pause::Go);
        self.host.sim.world().check_handed(&record);
        self.with(|w| w.send(seq, record))
    }

    fn roll(&mut self) -> Result<(), LogError> {
        if self.with(|w| w.unanswered())? > 0 {
            return Err(LogError::Unavailable("appends are in flight; roll it later".into()));
        }
        self.end()
    }

    fn close(&mut self) -> Result<(), LogError> {
        while self.with(|w| w.unanswered())? > 0 && self.host.is_alive() {
            self.host.sleep(Duration::from_millis(5));
        }
        self.end()
    }
}

impl Drop for SimJournal {
    fn drop(&mut self) {
        if let Some(writer) = self.host.sim.world().wire.writer(self.number) {
            writer.hang_up();
        }
    }
}
