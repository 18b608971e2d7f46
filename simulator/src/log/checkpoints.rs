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
    id: (Arc<str>, u32),
}

impl SimCheckpoints {
    pub(super) fn new(host: SimHost, id: (Arc<str>, u32)) -> Self {
        SimCheckpoints { host, id }
    }

    fn produce(&self, id: &Arc<str>, epoch: u32, records: &[NewRecord]) -> Result<i64, LogError> {
        let mut added = BTreeSet::new();
        let mut last = -1;
        let mut rest = records;
        while !rest.is_empty() {
            // A request carries several records; a transaction of several requests can be cut in between.
            let (now, later) = rest.split_at(self.host.sim.world().rng.usize(1..=3).min(rest.len()));
            rest = later;
            let places: Vec<Place> = now.iter().map(|record| self.place(record)).collect();
            for place in &places {
                if added.insert(place.clone()) {
                    self.told(
                        id,
                        ask_until_free(&self.host, |w| w.broker.add(id, epoch, place, w.now_ms())),
                    )?;
                }
            }
            last = self.told(
                id,
                ask_until_free(&self.host, |w| {
                    let now_ms = w.now_ms();
                    let mut last = Ok(-1);
                    for (record, place) in now.iter().zip(&places) {
                        last = w.broker.produce(id, epoch, place, record, now_ms);
                    }
                    w.note(format_args!("{id}, epoch {epoch}, produces {} records: {last:?}", now.len()));
                    last
                }),
            )?;
        }
        Ok(last)
    }

    fn place(&self, record: &NewRecord) -> Place {
        let by_key = || {
            let lanes = self.host.sim.world().profile.lanes;
            partition_for(record.key.as_deref().unwrap_or_default(), lanes)
        };
        (record.topic.clone(), record.partition.unwrap_or_else(by_key))
    }

    fn told<T>(&self, id: &str, answer: Result<Result<T, Refusal>, Unclear>) -> Result<T, LogError> {
        match answer {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(refusal)) => Err(lost(id, refusal)),
            Err(Unclear) => Err(lost(id, "a record is unacknowledged")),
        }
    }
}

impl Checkpoints for SimCheckpoints {
    fn commit(
        &mut self,
        records: &[NewRecord],
        gate: &mut dyn FnMut() -> Result<(), LogError>,
    ) -> Result<Committed, LogError> {
        let (id, epoch) = self.id.clone();
        let last_offset = self.produce(&id, epoch, records)?;
        if let Err(closed) = gate() {
            let aborted = ask_until_free(&self.host, |world| world.broker.end(&id, epoch, false));
            return self.told(&id, aborted).and(Err(closed));
        }
        let may_come_again = commit(&self.host, &id, epoch)?;
        Ok(Committed { last_offset, may_come_again })
    }
}
