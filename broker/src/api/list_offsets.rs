//! ListOffsets and OffsetForLeaderEpoch.
use super::{Call, code};
use crate::log::{BatchHeader, records};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};
use kafka_protocol::messages::offset_for_leader_epoch_response::{
    EpochEndOffset, OffsetForLeaderTopicResult,
};
use kafka_protocol::messages::{
    ListOffsetsRequest, ListOffsetsResponse, OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse,
};
use std::ops::ControlFlow;

const READ_COMMITTED: i8 = 1;
const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
/// The record with the greatest timestamp (KIP-734).
const MAX_TIMESTAMP: i64 = -3;
/// A single node never elects another leader.
pub(super) const LEADER_EPOCH: i32 = 0;

const LEADER_EPOCH_FROM: i16 = 4;

/// Offset and timestamp, both -1 for "none".
type Found = (i64, i64);

impl Call<'_> {
    pub(crate) fn list_offsets(&self, request: ListOffsetsRequest) -> ListOffsetsResponse {
        let committed_only = request.isolation_level == READ_COMMITTED;
        let topics = request.topics.into_iter().map(|topic| {
            let partitions = topic.partitions.iter().map(|wanted| {
                let found =
                    self.find_offset(&topic.name, wanted.partition_index, wanted.timestamp, committed_only);
                let (offset, timestamp) = *found.as_ref().unwrap_or(&(-1, -1));
                let answer = ListOffsetsPartitionResponse::default()
                    .with_partition_index(wanted.partition_index)
                    .with_error_code(code(&found))
                    .with_offset(offset)
                    .with_timestamp(timestamp);
                // the encoder refuses a field that the version does not have
                if self.version < LEADER_EPOCH_FROM { answer } else { answer.with_leader_epoch(LEADER_EPOCH) }
            });
            ListOffsetsTopicResponse::default().with_partitions(partitions.collect()).with_name(topic.name)
        });
        ListOffsetsResponse::default().with_topics(topics.collect())
    }

    fn find_offset(
        &self,
        topic: &str,
        index: i32,
        timestamp: i64,
        committed_only: bool,
    ) -> Result<Found, ResponseError> {
        self.admitted()?;
        let state = self.node.state();
        let partition = state.partition(topic, index).ok_or(ResponseError::UnknownTopicOrPartition)?;
        let (number, start) = (partition.number, partition.meta.start);
        let end = partition.visible_end(committed_only);
        drop(state);
        match timestamp {
            EARLIEST => Ok((start, -1)),
            LATEST => Ok((end, -1)),
            MAX_TIMESTAMP => self.newest_record(number, start, end),
            wanted => self.first_record_from(number, start, end, wanted),
        }
    }

    /// The first record with this timestamp or a later one, markers of transactions included, as in Kafka. Reads all batches before it: the embedded broker
    /// keeps no index by time.
    fn first_record_from(
        &self,
        number: u32,
        start: i64,
        end: i64,
        wanted: i64,
    ) -> Result<Found, ResponseError> {
        let mut found = (-1, -1);
        self.node.store.scan(number, start, end, |_, bytes| {
            let Ok(header) = BatchHeader::parse(&bytes) else { return ControlFlow::Continue(()) };
            if header.max_timestamp < wanted {
                return ControlFlow::Continue(());
            }
            let Ok(body) = records::uncompressed(&header, &bytes) else { return ControlFlow::Continue(()) };
            let mut rows = records::records(&header, &body).flatten();
            match rows.find(|r| r.timestamp >= wanted && r.offset >= start) {
                Some(record) => {
                    found = (record.offset, record.timestamp);
                    ControlFlow::Break(())
                }
                None => ControlFlow::Continue(()),
            }
        })?;
        Ok(found)
    }

    fn newest_record(&self, number: u32, start: i64, end: i64) -> Result<Found, ResponseError> {
        let mut found = (-1, -1);
        self.node.store.scan(number, start, end, |_, bytes| {
            if let Ok(header) = BatchHeader::parse(&bytes)
                && header.max_timestamp > found.1
                && let Ok(body) = records::uncompressed(&header, &bytes)
            {
                // the first one if there are several
                for record in records::records(&header, &body).flatten() {
                    if record.timestamp > found.1 {
                        found = (record.offset, record.timestamp);
                    }
                }
            }
            ControlFlow::Continue(())
        })?;
        Ok(found)
    }

    pub(super) fn offset_for_leader_epoch(
        &self,
        request: OffsetForLeaderEpochRequest,
    ) -> OffsetForLeaderEpochResponse {
        let state = self.node.state();
        let topics = request.topics.into_iter().map(|topic| {
            let partitions = topic.partitions.iter().map(|wanted| {
                let answer = EpochEndOffset::default().with_partition(wanted.partition);
                match state.partition(&topic.topic, wanted.partition) {
                    Some(p) => answer.with_leader_epoch(LEADER_EPOCH).with_end_offset(p.meta.next),
                    None => answer
                        .with_error_code(ResponseError::UnknownTopicOrPartition.code())
                        .with_leader_epoch(-1)
                        .with_end_offset(-1),
                }
            });
            OffsetForLeaderTopicResult::default()
                .with_partitions(partitions.collect())
                .with_topic(topic.topic)
        });
        OffsetForLeaderEpochResponse::default().with_topics(topics.collect())
    }
}
