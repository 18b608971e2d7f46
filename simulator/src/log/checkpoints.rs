//! Checkpoints on the simulated Kafka.

use super::journal::commit;
use super::{Unclear, ask_until_free, lost};
use crate::broker::{Place, Refusal};
use crate::host::SimHost;
use crate::lanes::partition_for;
use sakia::log::{Checkpoints, Committed, LogError, NewRecord};
use std::collections::BTreeSet;
use std::sync::Arc;

pub(super) struct SimCheckpoints {
    host: SimHost,
    id: Arc<str>,
    epoch: u32,
    /// Partitions that the open transaction has.
    added: BTreeSet<Place>,
}

impl SimCheckpoints {
    pub(super) fn new(host: SimHost, (id, epoch): (Arc<str>, u32)) -> Self {
        SimCheckpoints { host, id, epoch, added: BTreeSet::new() }
    }

    fn place(&self, record: &NewRecord) -> Place {
        let by_key = || {
            let lanes = self.host.sim.world().profile.lanes;
            partition_for(record.key.as_deref().unwrap_or_default(), lanes)
        };
        (record.topic.clone(), record.partition.unwrap_or_else(by_key))
    }

    fn told<T>(&self, answer: Result<Result<T, Refusal>, Unclear>) -> Result<T, LogError> {
        match answer {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(refusal)) => Err(lost(&self.id, refusal)),
            Err(Unclear) => Err(lost(&self.id, "a record is unacknowledged")),
        }
    }
}

impl Checkpoints for SimCheckpoints {
    fn produce(&mut self, records: &[NewRecord]) -> Result<i64, LogError> {
        let (id, epoch) = (self.id.clone(), self.epoch);
        let mut last = -1;
        let mut rest = records;
        while !rest.is_empty() {
            // A request carries several records; a transaction of several requests can be cut in between.
            let (now, later) = rest.split_at(self.host.sim.world().rng.usize(1..=3).min(rest.len()));
            rest = later;
            let places: Vec<Place> = now.iter().map(|record| self.place(record)).collect();
            for place in &places {
                if self.added.insert(place.clone()) {
                    self.told(ask_until_free(&self.host, |w| w.broker.add(&id, epoch, place, w.now_ms())))?;
                }
            }
            last = self.told(ask_until_free(&self.host, |w| {
                let now_ms = w.now_ms();
                let mut last = Ok(-1);
                for (record, place) in now.iter().zip(&places) {
                    last = w.broker.produce(&id, epoch, place, record, now_ms);
                }
                w.note(format_args!("{id}, epoch {epoch}, produces {} records: {last:?}", now.len()));
                last
            }))?;
        }
        Ok(last)
    }

    fn commit(&mut self) -> Result<Committed, LogError> {
        self.added.clear();
        commit(&self.host, &self.id, self.epoch)
    }

    fn abort(&mut self) -> Result<(), LogError> {
        self.added.clear();
        self.told(ask_until_free(&self.host, |world| world.broker.end(&self.id, self.epoch, false)))
    }
}
