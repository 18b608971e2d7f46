//! The changes of one request, collected into one write batch.
use super::keys;
use crate::log::{AbortedTxn, Partition, ProducerState};
use crate::state::{CommittedOffset, Counters, PendingOffsets, TopicMeta, TopicPartition};
use crate::txn::TxnMeta;
use rocksdb::WriteBatch;
use serde::Serialize;

/// Collects writes; nothing is stored before `Store::commit`.
#[derive(Default)]
pub(crate) struct Changes(WriteBatch);

impl Changes {
    fn put(&mut self, key: impl AsRef<[u8]>, value: &impl Serialize) {
        // Encoding into a growing buffer fails for no type that is stored here: all are plain data.
        match postcard::to_stdvec(value) {
            Ok(bytes) => self.0.put(key, bytes),
            Err(error) => tracing::error!(%error, "a value was not encoded"),
        }
    }

    fn delete_all(&mut self, prefix: Vec<u8>) {
        let end = after(&prefix);
        self.0.delete_range(prefix, end);
    }

    pub(crate) fn counters(&mut self, counters: &Counters) {
        self.put(keys::COUNTERS, counters);
    }

    pub(crate) fn topic(&mut self, name: &str, meta: &TopicMeta) {
        self.put(keys::topic(name), meta);
    }

    pub(crate) fn delete_topic(&mut self, name: &str, partitions: &[Partition]) {
        self.0.delete(keys::topic(name));
        for partition in partitions {
            self.0.delete(keys::partition(partition.number));
            for tag in [keys::PRODUCER, keys::ABORTED, keys::LOG] {
                self.delete_all(keys::of_partition(tag, partition.number));
            }
        }
    }

    pub(crate) fn batch(&mut self, partition: u32, base_offset: i64, bytes: &[u8]) {
        self.0.put(keys::in_partition(keys::LOG, partition, base_offset), bytes);
    }

    pub(crate) fn delete_batch(&mut self, partition: u32, base_offset: i64) {
        self.0.delete(keys::in_partition(keys::LOG, partition, base_offset));
    }

    /// Deletes the batches that begin in `from..to`.
    pub(crate) fn delete_batches(&mut self, partition: u32, from: i64, to: i64) {
        let key = |offset| keys::in_partition(keys::LOG, partition, offset);
        self.0.delete_range(key(from), key(to));
    }

    pub(crate) fn partition(&mut self, partition: &Partition) {
        self.put(keys::partition(partition.number), &partition.meta);
    }

    pub(crate) fn producer(&mut self, partition: u32, producer_id: i64, state: &ProducerState) {
        self.put(keys::in_partition(keys::PRODUCER, partition, producer_id), state);
    }

    pub(crate) fn delete_producer(&mut self, partition: u32, producer_id: i64) {
        self.0.delete(keys::in_partition(keys::PRODUCER, partition, producer_id));
    }

    pub(crate) fn aborted(&mut self, partition: u32, txn: &AbortedTxn) {
        self.put(keys::in_partition(keys::ABORTED, partition, txn.last), txn);
    }

    pub(crate) fn delete_aborted(&mut self, partition: u32, last: i64) {
        self.0.delete(keys::in_partition(keys::ABORTED, partition, last));
    }

    pub(crate) fn txn(&mut self, id: &str, meta: &TxnMeta) {
        self.put(keys::txn(id), meta);
    }

    pub(crate) fn offset(&mut self, group: &str, tp: &TopicPartition, offset: &CommittedOffset) {
        self.put(keys::offset(group, tp), offset);
    }

    pub(crate) fn delete_offset(&mut self, group: &str, tp: &TopicPartition) {
        self.0.delete(keys::offset(group, tp));
    }

    pub(crate) fn pending(&mut self, group: &str, producer_id: i64, offsets: &PendingOffsets) {
        self.put(keys::pending(group, producer_id), offsets);
    }

    pub(crate) fn delete_pending(&mut self, group: &str, producer_id: i64) {
        self.0.delete(keys::pending(group, producer_id));
    }

    pub(crate) fn delete_group(&mut self, group: &str) {
        self.delete_all(keys::group(keys::OFFSET, group));
        self.delete_all(keys::group(keys::PENDING, group));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn into_batch(self) -> WriteBatch {
        self.0
    }
}

/// The first key that does not begin with `prefix`. No prefix here is all 0xff: each begins with a tag.
pub(crate) fn after(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while end.last() == Some(&0xff) {
        end.pop();
    }
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    end
}
