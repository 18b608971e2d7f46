//! Reads everything but the log when the broker starts: time follows topics, producers, groups and
//! transactional ids, never the number of records.
use super::changes::after;
use super::{Store, keys};
use crate::error::BrokerError;
use crate::log::{AbortedTxn, Partition, PartitionMeta, ProducerState};
use crate::state::{
    CommittedOffset, Counters, GroupOffsets, PendingOffsets, Topic, TopicMeta, TopicPartition,
};
use crate::txn::{Txn, TxnMeta};
use keys::KeyReader;
use rocksdb::ReadOptions;
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, HashMap};

impl Store {
    /// Decoded values under a prefix, with the rest of their keys.
    fn under<V: DeserializeOwned>(
        &self,
        prefix: Vec<u8>,
        mut each: impl FnMut(&mut KeyReader<'_>, V) -> Option<()>,
    ) -> Result<(), BrokerError> {
        let corrupt = |key: &[u8]| BrokerError::Corrupt { what: String::from_utf8_lossy(key).into_owned() };
        let mut read = ReadOptions::default();
        read.set_iterate_upper_bound(after(&prefix));
        let mut at = self.db.raw_iterator_opt(read);
        at.seek(&prefix);
        while let (Some(key), Some(value)) = (at.key(), at.value()) {
            let value = postcard::from_bytes(value).map_err(|_| corrupt(key))?;
            each(&mut KeyReader(&key[prefix.len()..]), value).ok_or_else(|| corrupt(key))?;
            at.next();
        }
        at.status().map_err(|e| BrokerError::Storage(e.to_string()))
    }

    pub(crate) fn load_counters(&self) -> Result<Counters, BrokerError> {
        let mut counters = Counters::default();
        self.under(keys::COUNTERS.to_vec(), |_, stored| {
            counters = stored;
            Some(())
        })?;
        Ok(counters)
    }

    pub(crate) fn load_topics(&self) -> Result<BTreeMap<String, Topic>, BrokerError> {
        let mut metas: Vec<(String, TopicMeta)> = Vec::new();
        self.under(vec![keys::TOPIC], |key, meta| {
            metas.push((String::from_utf8(key.0.to_vec()).ok()?, meta));
            Some(())
        })?;
        let mut topics = BTreeMap::new();
        for (name, meta) in metas {
            let partitions =
                meta.partitions.iter().map(|n| self.load_partition(*n)).collect::<Result<_, _>>()?;
            topics.insert(name, Topic { meta, partitions });
        }
        Ok(topics)
    }

    fn load_partition(&self, number: u32) -> Result<Partition, BrokerError> {
        let mut meta = PartitionMeta::default();
        self.under(keys::partition(number), |_, stored| {
            meta = stored;
            Some(())
        })?;
        let mut producers: HashMap<i64, ProducerState> = HashMap::new();
        self.under(keys::of_partition(keys::PRODUCER, number), |key, state| {
            producers.insert(i64::from_be_bytes(key.number()?), state);
            Some(())
        })?;
        let mut aborted = BTreeMap::new();
        self.under(keys::of_partition(keys::ABORTED, number), |_, txn: AbortedTxn| {
            aborted.insert(txn.last, txn);
            Some(())
        })?;
        Ok(Partition::restored(number, meta, producers, aborted))
    }

    pub(crate) fn load_txns(&self) -> Result<BTreeMap<String, Txn>, BrokerError> {
        let mut txns = BTreeMap::new();
        self.under(vec![keys::TXN], |key, meta: TxnMeta| {
            txns.insert(String::from_utf8(key.0.to_vec()).ok()?, Txn::restored(meta));
            Some(())
        })?;
        Ok(txns)
    }

    pub(crate) fn load_offsets(&self) -> Result<BTreeMap<String, GroupOffsets>, BrokerError> {
        let mut groups: BTreeMap<String, GroupOffsets> = BTreeMap::new();
        self.under(vec![keys::OFFSET], |key, offset: CommittedOffset| {
            let group = key.text()?;
            let tp: TopicPartition = (key.text()?, i32::from_be_bytes(key.number()?));
            groups.entry(group).or_default().committed.insert(tp, offset);
            Some(())
        })?;
        self.under(vec![keys::PENDING], |key, offsets: PendingOffsets| {
            let group = key.text()?;
            groups.entry(group).or_default().pending.insert(i64::from_be_bytes(key.number()?), offsets);
            Some(())
        })?;
        Ok(groups)
    }
}
