//! One partition: records and markers by offset, what each reader may see of them, deletion and compaction.

use bytes::Bytes;
use sakia::codec::headers::Header;
use sakia::log::{Isolation, NewRecord, OffsetRange, Record};
use std::collections::{BTreeMap, HashMap};

/// Numbers the transactions of the whole broker.
pub(crate) type TxnNumber = u64;

/// What lies at an offset.
#[derive(Debug, Clone)]
pub(crate) enum Content {
    Data { key: Option<Bytes>, value: Option<Bytes>, headers: Vec<Header> },
    Marker,
}

#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) time_ms: u64,
    pub(crate) txn: Option<TxnNumber>,
    /// For a tombstone or a marker that a compaction has seen: when it may go (KIP-534).
    horizon_ms: Option<u64>,
    pub(crate) content: Content,
}

/// Which transactions have which end; `None` = not decided.
pub(crate) type Fates = HashMap<TxnNumber, bool>;

#[derive(Default)]
pub(crate) struct Partition {
    start: i64,
    end: i64,
    entries: BTreeMap<i64, Entry>,
    /// First offset of each transaction that has no marker here yet.
    open: BTreeMap<TxnNumber, i64>,
}

impl Partition {
    pub(crate) fn append(&mut self, time_ms: u64, txn: Option<TxnNumber>, record: &NewRecord) -> i64 {
        let offset = self.end;
        if let Some(number) = txn {
            self.open.entry(number).or_insert(offset);
        }
        let content = Content::Data {
            key: record.key.clone(),
            value: record.value.clone(),
            headers: record.headers.clone(),
        };
        self.entries.insert(offset, Entry { time_ms, txn, horizon_ms: None, content });
        self.end += 1;
        offset
    }

    /// Ends a transaction here. The marker takes an offset of its own.
    pub(crate) fn mark(&mut self, time_ms: u64, txn: TxnNumber) {
        self.open.remove(&txn);
        self.entries
            .insert(self.end, Entry { time_ms, txn: Some(txn), horizon_ms: None, content: Content::Marker });
        self.end += 1;
    }

    /// The last stable offset: below it every transaction is decided.
    pub(crate) fn stable(&self) -> i64 {
        self.open.values().min().copied().unwrap_or(self.end)
    }

    pub(crate) fn range(&self, isolation: Isolation) -> OffsetRange {
        let end = match isolation {
            Isolation::Committed => self.stable(),
            Isolation::Uncommitted => self.end,
        };
        OffsetRange { start: self.start, end }
    }

    /// The next record that a reader may see from an offset on, or where it stands if there is none.
    pub(crate) fn next(
        &self,
        partition: i32,
        from: i64,
        isolation: Isolation,
        fates: &Fates,
    ) -> Result<Record, i64> {
        let end = self.range(isolation).end;
        for (offset, entry) in self.entries.range(from..end.max(from)) {
            let aborted = entry.txn.is_some_and(|t| fates.get(&t) == Some(&false));
            let Content::Data { key, value, headers } = &entry.content else { continue };
            if isolation == Isolation::Committed && aborted {
                continue;
            }
            return Ok(Record {
                partition,
                offset: *offset,
                timestamp_ms: i64::try_from(entry.time_ms).unwrap_or(i64::MAX),
                key: key.clone(),
                value: value.clone(),
                headers: headers.clone(),
            });
        }
        Err(end.max(from))
    }

    /// DeleteRecords.
    pub(crate) fn delete_before(&mut self, before: i64) {
        self.start = self.start.max(before.min(self.end));
        self.entries = self.entries.split_off(&self.start);
    }

    /// Keeps the last record of each key among those that may be cleaned: below the last stable offset and older than
    /// the lag. Aborted records go; tombstones and markers go `keep_deletes_ms` after the first compaction that saw
    /// them. Offsets stay.
    /// Says how many entries went.
    pub(crate) fn compact(&mut self, now_ms: u64, lag_ms: u64, keep_deletes_ms: u64, fates: &Fates) -> usize {
        let stable = self.stable();
        let young = |e: &Entry| e.time_ms + lag_ms > now_ms;
        let until = self.entries.iter().find(|(o, e)| **o >= stable || young(e)).map_or(stable, |(o, _)| *o);
        let aborted = |e: &Entry| e.txn.is_some_and(|t| fates.get(&t) == Some(&false));
        let mut last: HashMap<Bytes, i64> = HashMap::new();
        for (offset, entry) in self.entries.range(..until) {
            if let (Content::Data { key: Some(key), .. }, false) = (&entry.content, aborted(entry)) {
                last.insert(key.clone(), *offset);
            }
        }
        let before = self.entries.len();
        self.entries.retain(|offset, entry| {
            if *offset >= until {
                return true;
            }
            let old = entry.horizon_ms.is_some_and(|horizon| horizon <= now_ms);
            entry.horizon_ms.get_or_insert(now_ms + keep_deletes_ms);
            match &entry.content {
                Content::Marker => !old,
                Content::Data { .. } if aborted(entry) => false,
                Content::Data { key: Some(key), value, .. } => {
                    last.get(key) == Some(offset) && (value.is_some() || !old)
                }
                Content::Data { key: None, .. } => true,
            }
        });
        before - self.entries.len()
    }

    /// What a transaction has written here.
    pub(crate) fn written_by(&self, txn: TxnNumber) -> impl Iterator<Item = (i64, &Entry)> {
        let from = self.open.get(&txn).copied().unwrap_or(self.end);
        let ours = move |(_, e): &(&i64, &Entry)| e.txn == Some(txn);
        self.entries.range(from..).filter(ours).map(|(o, e)| (*o, e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(key: &'static str, value: Option<&'static str>) -> NewRecord {
        NewRecord {
            topic: "t".into(),
            partition: Some(0),
            key: Some(Bytes::from_static(key.as_bytes())),
            value: value.map(|v| Bytes::from_static(v.as_bytes())),
            headers: Vec::new(),
        }
    }

    fn offsets(p: &Partition, isolation: Isolation, fates: &Fates) -> Vec<i64> {
        let mut all = Vec::new();
        let mut from = 0;
        while let Ok(r) = p.next(0, from, isolation, fates) {
            from = r.offset + 1;
            all.push(r.offset);
        }
        all
    }

    #[test]
    fn a_committed_reader_stops_at_an_open_transaction_and_skips_aborted_records_and_markers() {
        let mut p = Partition::default();
        let mut fates = Fates::new();
        p.append(1, Some(1), &record("a", Some("1")));
        p.append(1, Some(2), &record("b", Some("1")));
        fates.insert(2, true);
        p.mark(1, 2);
        assert_eq!(p.stable(), 0, "the first is open, the second waits behind it");
        assert_eq!(offsets(&p, Isolation::Uncommitted, &fates), [0, 1]);
        assert_eq!(offsets(&p, Isolation::Committed, &fates), [0_i64; 0]);
        fates.insert(1, false);
        p.mark(1, 1);
        assert_eq!(offsets(&p, Isolation::Committed, &fates), [1]);
        assert_eq!(p.next(0, 2, Isolation::Committed, &fates), Err(4), "the position passes the markers");
    }

    #[test]
    fn compaction_keeps_the_last_of_each_key_and_what_is_young_or_undecided() {
        let mut p = Partition::default();
        let fates = Fates::new();
        for (time, key, value) in [
            (1, "a", Some("1")),
            (1, "b", Some("1")),
            (2, "a", Some("2")),
            (2, "b", None),
            (90, "a", Some("3")),
        ] {
            p.append(time, None, &record(key, value));
        }
        assert_eq!(p.compact(100, 20, 1_000, &fates), 2);
        assert_eq!(offsets(&p, Isolation::Committed, &fates), [2, 3, 4], "the young one removes nothing yet");
        p.compact(1_099, 20, 1_000, &fates);
        assert_eq!(offsets(&p, Isolation::Committed, &fates), [3, 4], "the tombstone is kept so long");
        p.compact(1_100, 20, 1_000, &fates);
        assert_eq!(offsets(&p, Isolation::Committed, &fates), [4], "and then it goes");
    }
}
