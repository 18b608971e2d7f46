//! A partition as Kafka defines it, worked out anew from everything that was ever written whenever it is asked.
use kafka_protocol::ResponseError;
use std::collections::{BTreeMap, BTreeSet};

const REMEMBERED_BATCHES: usize = 5;

/// A record, as a reader sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) offset: i64,
    pub(super) time: i64,
    pub(super) key: String,
    pub(super) value: Option<String>,
}

/// A batch that was appended.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) base: i64,
    pub(super) last: i64,
    pub(super) producer_id: i64,
    pub(super) transactional: bool,
    /// Commit or abort, if this ends a transaction.
    pub(super) marker: Option<bool>,
    pub(super) rows: Vec<Row>,
}

impl Entry {
    fn newest_time(&self) -> i64 {
        self.rows.iter().map(|r| r.time).max().unwrap_or(-1)
    }
}

#[derive(Clone, Debug, Default)]
struct Producer {
    epoch: i16,
    /// First and last sequence number, and offset, of each batch of this epoch.
    batches: Vec<(i32, i32, i64)>,
}

/// One partition.
#[derive(Clone, Debug, Default)]
pub(super) struct Log {
    pub(super) start: i64,
    pub(super) next: i64,
    pub(super) entries: Vec<Entry>,
    /// Offsets that compaction took away.
    gone: BTreeSet<i64>,
    cleaned_to: i64,
    /// Until where, and when, offsets were first compacted.
    cleanings: Vec<(i64, i64)>,
    producers: BTreeMap<i64, Producer>,
}

/// What a client says of the batch that it sends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    pub(super) producer_id: i64,
    pub(super) epoch: i16,
    pub(super) first_sequence: i32,
    pub(super) transactional: bool,
}

impl Log {
    /// Whether the transaction that holds the entry was committed; none while it is open.
    fn outcome(&self, at: usize) -> Option<bool> {
        let id = self.entries[at].producer_id;
        self.entries[at..].iter().filter(|e| e.producer_id == id).find_map(|e| e.marker)
    }

    fn first_open(&self) -> Option<i64> {
        let data = |e: &Entry| e.transactional && e.marker.is_none();
        (0..self.entries.len())
            .find(|at| data(&self.entries[*at]) && self.outcome(*at).is_none())
            .map(|at| self.entries[at].base)
    }

    /// Where committed data ends.
    pub(super) fn stable(&self) -> i64 {
        self.first_open().map_or(self.next, |first| first.max(self.start))
    }

    pub(super) fn end(&self, committed: bool) -> i64 {
        if committed { self.stable() } else { self.next }
    }

    fn is_committed(&self, at: usize) -> bool {
        !self.entries[at].transactional || self.outcome(at) == Some(true)
    }

    /// What a reader sees.
    pub(super) fn view(&self, committed: bool) -> Vec<Row> {
        let end = self.end(committed);
        let visible = |at: &usize| !committed || self.is_committed(*at);
        (0..self.entries.len())
            .filter(visible)
            .flat_map(|at| &self.entries[at].rows)
            .filter(|r| r.offset >= self.start && r.offset < end && !self.gone.contains(&r.offset))
            .filter(|r| !r.key.is_empty())
            .cloned()
            .collect()
    }

    /// The first thing with this time or a later one, markers of transactions included.
    pub(super) fn first_from(&self, time: i64, committed: bool) -> Option<i64> {
        let end = self.end(committed);
        self.entries
            .iter()
            .flat_map(|e| &e.rows)
            .filter(|r| r.offset >= self.start && r.offset < end && !self.gone.contains(&r.offset))
            .find(|r| r.time >= time)
            .map(|r| r.offset)
    }

    /// The offset of the first copy if this is a retry, none if it is to be appended.
    pub(super) fn admit(&self, sent: Sent, count: usize) -> Result<Option<i64>, ResponseError> {
        let Some(known) = self.producers.get(&sent.producer_id) else { return Ok(None) };
        let last = wrapped(i64::from(sent.first_sequence) + count as i64 - 1);
        if sent.epoch == known.epoch {
            let recent = known.batches.iter().rev().take(REMEMBERED_BATCHES);
            for (first_known, last_known, base) in recent {
                if (*first_known, *last_known) == (sent.first_sequence, last) {
                    return Ok(Some(*base));
                }
            }
        }
        if sent.epoch < known.epoch {
            return Err(ResponseError::InvalidProducerEpoch);
        }
        let due = match known.batches.last() {
            Some((_, last, _)) if sent.epoch == known.epoch => wrapped(i64::from(*last) + 1),
            _ => 0,
        };
        if sent.first_sequence != due {
            return Err(ResponseError::OutOfOrderSequenceNumber);
        }
        let in_transaction = (0..self.entries.len()).any(|at| {
            let e = &self.entries[at];
            e.producer_id == sent.producer_id
                && e.transactional
                && e.marker.is_none()
                && self.outcome(at).is_none()
        });
        if in_transaction && !sent.transactional { Err(ResponseError::InvalidTxnState) } else { Ok(None) }
    }

    pub(super) fn append(&mut self, sent: Option<Sent>, rows: &[(String, Option<String>, i64)]) -> i64 {
        let base = self.next;
        let row = |(i, (key, value, time)): (usize, &(String, Option<String>, i64))| Row {
            offset: base + i as i64,
            time: *time,
            key: key.clone(),
            value: value.clone(),
        };
        let last = base + rows.len() as i64 - 1;
        self.entries.push(Entry {
            base,
            last,
            producer_id: sent.map_or(-1, |s| s.producer_id),
            transactional: sent.is_some_and(|s| s.transactional),
            marker: None,
            rows: rows.iter().enumerate().map(row).collect(),
        });
        self.next = last + 1;
        if let Some(sent) = sent {
            let last = wrapped(i64::from(sent.first_sequence) + rows.len() as i64 - 1);
            self.known(sent.producer_id, sent.epoch).batches.push((sent.first_sequence, last, base));
        }
        base
    }

    pub(super) fn mark(&mut self, producer_id: i64, epoch: i16, commit: bool, time: i64) {
        let offset = self.next;
        // no record of anybody, but it has an offset and a time
        let row = Row { offset, time, key: String::new(), value: None };
        self.entries.push(Entry {
            base: offset,
            last: offset,
            producer_id,
            transactional: true,
            marker: Some(commit),
            rows: vec![row],
        });
        self.next += 1;
        self.known(producer_id, epoch);
    }

    fn known(&mut self, id: i64, epoch: i16) -> &mut Producer {
        let producer = self.producers.entry(id).or_default();
        if producer.epoch != epoch {
            *producer = Producer { epoch, batches: Vec::new() };
        }
        producer
    }

    /// Takes away what a compaction at this time takes away.
    pub(super) fn compact(&mut self, now: i64, tombstones_live_ms: i64, lag_ms: i64) {
        let from = self.cleaned_to.max(self.start);
        let stable = self.stable();
        let horizon = self
            .cleanings
            .iter()
            .filter(|(_, at)| at.saturating_add(tombstones_live_ms) <= now)
            .map(|(to, _)| *to)
            .max()
            .unwrap_or(0);
        let mut end = from;
        for entry in self.entries.iter().filter(|e| e.last >= from) {
            if entry.last >= stable || entry.newest_time() > now.saturating_sub(lag_ms) {
                break;
            }
            end = entry.last + 1;
        }
        let mut newest = BTreeMap::new();
        let mut below = Vec::new();
        for at in 0..self.entries.len() {
            for row in self.entries[at].rows.iter().filter(|r| r.offset < end) {
                below.push((row.clone(), self.entries[at].marker.is_none() && self.is_committed(at)));
            }
        }
        for (row, _) in below.iter().filter(|(_, committed)| *committed) {
            newest.insert(row.key.clone(), row.offset);
        }
        for (row, committed) in below {
            let replaced = newest.get(&row.key) != Some(&row.offset);
            let over = row.value.is_none() && row.offset < horizon;
            if !committed || replaced || over {
                self.gone.insert(row.offset);
            }
        }
        if end > self.cleaned_to {
            self.cleaned_to = end;
            self.cleanings.push((end, now));
        }
    }
}

/// Sequence numbers go on at 0 after the largest.
fn wrapped(sequence: i64) -> i32 {
    (sequence % (1 << 31)) as i32
}
