//! A simulated Kafka: partitions, and the coordinator of transactions with its epochs.
//!
//! Modelled as the old protocol does it (librdkafka speaks no other): ending a transaction is decided first, and its
//! markers reach the partitions one by one, later; until all have, the id answers "concurrent". A produce to a
//! partition that is not in the open transaction is refused (KIP-890, part 1), so a late EndTxn tears a transaction but
//! never leaves one hanging.
//!
//! A broker that restarts may skip markers, as Kafka 4.3.1 does on a partition that has no leader for a moment: the
//! transaction is called complete, and hangs until the next one of its id, with the same end, writes a marker there.
//! (With the other end it would take the hanging one along. Nothing can be done against that, so it is not modelled.)

mod partition;

pub(crate) use partition::{Content, Entry, TxnNumber};

use partition::{Fates, Partition};
use sakia::log::{Isolation, NewRecord, OffsetRange, Record};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A topic and a partition.
pub(crate) type Place = (Arc<str>, i32);

/// Why the broker refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// A newer epoch exists.
    Fenced,
    /// The last transaction of the id is not finished: ask again.
    Concurrent,
    /// Not in this state.
    Invalid,
}

/// A decided transaction, and the partitions that have no marker of it.
struct Ending {
    number: TxnNumber,
    places: BTreeSet<Place>,
    /// No partition has one yet.
    unseen: bool,
}

/// One transactional id.
#[derive(Default)]
struct Producer {
    epoch: u32,
    open: Option<Open>,
    /// Its markers are on their way.
    ending: Option<Ending>,
    /// These have no markers, and nobody remembers that.
    skipped: Vec<Ending>,
    /// How the last one ended.
    last: Option<bool>,
}

struct Open {
    number: TxnNumber,
    places: BTreeSet<Place>,
    began_ms: u64,
}

/// A transaction that was just decided.
pub(crate) struct Decided {
    pub(crate) id: Arc<str>,
    pub(crate) epoch: u32,
    pub(crate) committed: bool,
    /// What it wrote, in order of place and offset.
    pub(crate) written: Vec<(Place, i64, Entry)>,
}

#[derive(Default)]
pub(crate) struct Broker {
    partitions: BTreeMap<Place, Partition>,
    producers: BTreeMap<Arc<str>, Producer>,
    fates: Fates,
    next_number: TxnNumber,
    /// Counts restarts: a request that was under way over one has an unclear outcome.
    pub(crate) generation: u32,
    /// Decided since somebody looked.
    pub(crate) decided: Vec<Decided>,
}

impl Broker {
    /// InitProducerId: aborts what is open, and then hands out the next epoch.
    pub(crate) fn init(&mut self, id: &Arc<str>, bump: bool) -> Result<u32, Refusal> {
        let producer = self.producers.entry(id.clone()).or_default();
        if producer.ending.is_some() {
            return Err(Refusal::Concurrent);
        }
        if producer.open.is_some() && bump {
            producer.epoch += 1;
            self.decide(id, false);
            return Err(Refusal::Concurrent);
        }
        if bump {
            producer.epoch += 1;
        }
        Ok(producer.epoch)
    }

    /// Adds a partition to the open transaction, or opens one with it.
    pub(crate) fn add(
        &mut self,
        id: &Arc<str>,
        epoch: u32,
        place: &Place,
        now_ms: u64,
    ) -> Result<(), Refusal> {
        let number = self.next_number;
        let producer = self.producer(id, epoch)?;
        if producer.ending.is_some() {
            return Err(Refusal::Concurrent);
        }
        let open = producer.open.get_or_insert(Open { number, places: BTreeSet::new(), began_ms: now_ms });
        open.places.insert(place.clone());
        if open.number == number {
            self.next_number += 1;
        }
        Ok(())
    }

    /// Writes to a partition that is in the open transaction.
    pub(crate) fn produce(
        &mut self,
        id: &Arc<str>,
        epoch: u32,
        place: &Place,
        record: &NewRecord,
        now_ms: u64,
    ) -> Result<i64, Refusal> {
        let producer = self.producer(id, epoch)?;
        match &producer.open {
            Some(open) if open.places.contains(place) => {
                let number = open.number;
                let partition = self.partitions.entry(place.clone()).or_default();
                Ok(partition.append(now_ms, Some(number), record))
            }
            _ => Err(Refusal::Invalid),
        }
    }

    /// Writes outside of any transaction.
    pub(crate) fn produce_plain(&mut self, place: &Place, record: &NewRecord, now_ms: u64) -> i64 {
        self.partitions.entry(place.clone()).or_default().append(now_ms, None, record)
    }

    /// EndTxn. One that comes again after the end is answered as the first was.
    pub(crate) fn end(&mut self, id: &Arc<str>, epoch: u32, commit: bool) -> Result<(), Refusal> {
        let producer = self.producer(id, epoch)?;
        if producer.ending.is_some() {
            return Err(Refusal::Concurrent);
        }
        if producer.open.is_some() {
            self.decide(id, commit);
            return Ok(());
        }
        if producer.last == Some(commit) { Ok(()) } else { Err(Refusal::Invalid) }
    }

    /// Aborts a transaction for its owner, and fences it: what the coordinator does after the transaction's timeout.
    pub(crate) fn expire(&mut self, id: &Arc<str>) {
        if let Some(producer) = self.producers.get_mut(id)
            && producer.open.is_some()
        {
            producer.epoch += 1;
            self.decide(id, false);
        }
    }

    fn opened(&self, id: &Arc<str>, epoch: u32) -> Option<&Open> {
        self.producers.get(id).filter(|p| p.epoch == epoch).and_then(|p| p.open.as_ref())
    }

    /// The id's open transaction.
    pub(crate) fn open_number(&self, id: &Arc<str>, epoch: u32) -> Option<TxnNumber> {
        self.opened(id, epoch).map(|open| open.number)
    }

    /// Whether the id has an open transaction with records in it.
    pub(crate) fn has_written(&self, id: &Arc<str>, epoch: u32) -> bool {
        let open = self.opened(id, epoch);
        let wrote = |open: &Open, place| {
            self.partitions.get(place).is_some_and(|p| p.written_by(open.number).next().is_some())
        };
        open.is_some_and(|open| open.places.iter().any(|place| wrote(open, place)))
    }

    /// Ids whose transaction is open since before a time.
    pub(crate) fn open_since(&self, before_ms: u64) -> Vec<Arc<str>> {
        let old = |p: &Producer| p.open.as_ref().is_some_and(|o| o.began_ms <= before_ms);
        self.producers.iter().filter(|(_, p)| old(p)).map(|(id, _)| id.clone()).collect()
    }

    /// Markers that are still to be written.
    pub(crate) fn pending_markers(&self) -> Vec<(Arc<str>, Place)> {
        let of = |(id, p): (&Arc<str>, &Producer)| {
            let places = p.ending.as_ref().map(|ending| ending.places.clone()).unwrap_or_default();
            places.into_iter().map(|place| (id.clone(), place)).collect::<Vec<_>>()
        };
        self.producers.iter().flat_map(of).collect()
    }

    /// Writes one of them. The id is free again when it was the last.
    pub(crate) fn write_marker(&mut self, id: &Arc<str>, place: &Place, now_ms: u64) {
        let Some(producer) = self.producers.get_mut(id) else { return };
        let Some(ending) = &mut producer.ending else { return };
        if !ending.places.remove(place) {
            return;
        }
        ending.unseen = false;
        let fate = self.fates.get(&ending.number);
        let mut ended = vec![ending.number];
        for hanging in producer.skipped.iter_mut().filter(|e| self.fates.get(&e.number) == fate) {
            ended.extend(hanging.places.remove(place).then_some(hanging.number));
        }
        // It may have been added to the transaction, and nothing written to it.
        if let Some(partition) = self.partitions.get_mut(place) {
            ended.into_iter().for_each(|number| partition.mark(now_ms, number));
        }
        producer.skipped.retain(|hanging| !hanging.places.is_empty());
        if ending.places.is_empty() {
            producer.ending = None;
        }
    }

    /// Ids of which no marker is written yet.
    pub(crate) fn unseen(&self) -> Vec<Arc<str>> {
        let unseen = |p: &Producer| p.ending.as_ref().is_some_and(|ending| ending.unseen);
        self.producers.iter().filter(|(_, p)| unseen(p)).map(|(id, _)| id.clone()).collect()
    }

    /// Forgets to write the markers of an id's transaction.
    pub(crate) fn skip_markers(&mut self, id: &Arc<str>) {
        if let Some(producer) = self.producers.get_mut(id) {
            producer.skipped.extend(producer.ending.take());
        }
    }

    /// Writes every marker that was skipped.
    pub(crate) fn write_skipped(&mut self, now_ms: u64) {
        for hanging in self.producers.values_mut().flat_map(|p| std::mem::take(&mut p.skipped)) {
            for place in &hanging.places {
                if let Some(partition) = self.partitions.get_mut(place) {
                    partition.mark(now_ms, hanging.number);
                }
            }
        }
    }

    pub(crate) fn range(&self, place: &Place, isolation: Isolation) -> OffsetRange {
        self.partitions.get(place).map_or(OffsetRange { start: 0, end: 0 }, |p| p.range(isolation))
    }

    pub(crate) fn next(&self, place: &Place, from: i64, isolation: Isolation) -> Result<Record, i64> {
        match self.partitions.get(place) {
            Some(partition) => partition.next(place.1, from, isolation, &self.fates),
            None => Err(from),
        }
    }

    pub(crate) fn delete_before(&mut self, place: &Place, before: i64) {
        if let Some(partition) = self.partitions.get_mut(place) {
            partition.delete_before(before);
        }
    }

    pub(crate) fn compact(&mut self, place: &Place, now_ms: u64, lag_ms: u64, keep_deletes_ms: u64) -> usize {
        let Some(partition) = self.partitions.get_mut(place) else { return 0 };
        partition.compact(now_ms, lag_ms, keep_deletes_ms, &self.fates)
    }

    fn producer(&mut self, id: &Arc<str>, epoch: u32) -> Result<&mut Producer, Refusal> {
        match self.producers.get_mut(id) {
            Some(producer) if producer.epoch == epoch => Ok(producer),
            _ => Err(Refusal::Fenced),
        }
    }

    fn decide(&mut self, id: &Arc<str>, commit: bool) {
        let Some(producer) = self.producers.get_mut(id) else { return };
        let Some(open) = producer.open.take() else { return };
        let mut written = Vec::new();
        for place in &open.places {
            if let Some(partition) = self.partitions.get(place) {
                let ours = partition.written_by(open.number);
                written.extend(ours.map(|(offset, entry)| (place.clone(), offset, entry.clone())));
            }
        }
        self.fates.insert(open.number, commit);
        producer.last = Some(commit);
        producer.ending = Some(Ending { number: open.number, places: open.places, unseen: true });
        let epoch = producer.epoch;
        self.decided.push(Decided { id: id.clone(), epoch, committed: commit, written });
    }
}
