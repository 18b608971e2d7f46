//! Moves records from a user's topic to their lanes: the records and the consumed offset in one transaction.

use super::config::{CHECKPOINT_TRANSACTION_TIMEOUT, KafkaConfig};
use super::membership::Membership;
use super::transaction::Transaction;
use crate::log::{Committed, LogError, NewRecord};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(CHECKPOINT_TRANSACTION_TIMEOUT.as_secs() + 5);

/// Writes moved records. One per bound partition, with an id that is a function of it: the group's generation alone
/// is a weak fence (it refuses an old generation, never a wrong owner).
pub struct IngressWriter {
    transaction: Transaction,
}

impl IngressWriter {
    /// Fences every earlier owner of the id. Blocks (up to `wait`).
    /// `topic` is the one that it moves records to.
    pub fn open(
        config: &KafkaConfig,
        id: &str,
        topic: &str,
        wait: Duration,
    ) -> Result<IngressWriter, LogError> {
        config.check()?;
        let c = config.transactional_producer(id, CHECKPOINT_TRANSACTION_TIMEOUT);
        Ok(IngressWriter { transaction: Transaction::open(&c, id, topic, wait, || Ok(()))? })
    }

    /// Moves one batch: all records, and `next_offset` as the group's position in `topic[partition]`.
    /// `Unavailable` and `RefusedRecord`: nothing was moved, the transaction is aborted. `Lost`: unknown, or the id
    /// is not to be used again; open a new writer, then read the committed offset. Blocks.
    pub fn move_batch(
        &mut self,
        records: &[NewRecord],
        topic: &str,
        partition: i32,
        next_offset: i64,
        membership: &Membership,
    ) -> Result<(), LogError> {
        let deadline = Instant::now() + PATIENCE;
        let mut offsets = TopicPartitionList::new();
        offsets.add_partition_offset(topic, partition, Offset::Offset(next_offset)).map_err(|e| {
            LogError::Refused(format!("topic {topic} partition {partition} offset {next_offset}: {e}"))
        })?;
        // Asked before the transaction begins, so that a failure leaves none open. A rebalance in between is refused
        // by the broker and aborts it.
        let group = membership.group_metadata()?;
        self.transaction.produce(records, deadline)?;
        self.transaction.send_offsets(&offsets, &group, deadline)?;
        if self.transaction.commit(deadline)? == Committed::MayComeAgain {
            let said = "moved, but its commit may come once more, to the next transaction";
            return Err(LogError::Lost(format!("topic {topic} partition {partition}: {said}")));
        }
        Ok(())
    }
}
