//! The log of a partition: batches, what is known about their producers, and what readers may see.
pub(crate) mod batch;
pub(crate) mod partition;
pub(crate) mod records;

pub(crate) use batch::BatchHeader;
pub(crate) use partition::{AbortedTxn, Partition, PartitionMeta, ProducerState};
