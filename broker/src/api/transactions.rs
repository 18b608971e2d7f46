//! AddPartitionsToTxn, AddOffsetsToTxn, EndTxn.
use super::{Call, code};
use crate::state::TopicPartition;
use crate::store::Changes;
use crate::txn::ProducerIdentity;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::add_partitions_to_txn_response::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnTopicResult,
};
use kafka_protocol::messages::{
    AddOffsetsToTxnRequest, AddOffsetsToTxnResponse, AddPartitionsToTxnRequest, AddPartitionsToTxnResponse,
    EndTxnRequest, EndTxnResponse,
};
use std::collections::BTreeSet;

/// From here on a fenced producer is told so by name (KIP-588).
const FENCED_FROM: i16 = 2;

impl Call<'_> {
    pub(crate) fn add_partitions_to_txn(
        &self,
        request: AddPartitionsToTxnRequest,
    ) -> AddPartitionsToTxnResponse {
        let producer = ProducerIdentity {
            id: request.v3_and_below_producer_id.0,
            epoch: request.v3_and_below_producer_epoch,
        };
        let topics = &request.v3_and_below_topics;
        let wanted: BTreeSet<TopicPartition> =
            topics.iter().flat_map(|t| t.partitions.iter().map(|p| (t.name.to_string(), *p))).collect();
        let mut state = self.node.state();
        let unknown: BTreeSet<TopicPartition> =
            wanted.iter().filter(|tp| state.partition(&tp.0, tp.1).is_none()).cloned().collect();
        let mut changes = Changes::default();
        let added = self
            .admitted()
            .and_then(|()| {
                let id = &request.v3_and_below_transactional_id;
                // Kafka adds all or none; the good ones are told that they were not tried.
                if unknown.is_empty() {
                    state.add_to_txn(id, producer, wanted.iter().cloned(), None, &mut changes)
                } else {
                    state.checked_txn(id, producer).map(|_| ())
                }
            })
            .and_then(|()| state.store.commit(changes))
            .map_err(|error| self.fenced_as(error, FENCED_FROM));
        let result_of = |tp: &TopicPartition| match &added {
            Ok(()) if unknown.contains(tp) => ResponseError::UnknownTopicOrPartition.code(),
            Ok(()) if !unknown.is_empty() => ResponseError::OperationNotAttempted.code(),
            result => code(result),
        };
        let rows = topics.iter().map(|t| {
            let partitions = t.partitions.iter().map(|p| {
                AddPartitionsToTxnPartitionResult::default()
                    .with_partition_index(*p)
                    .with_partition_error_code(result_of(&(t.name.to_string(), *p)))
            });
            AddPartitionsToTxnTopicResult::default()
                .with_name(t.name.clone())
                .with_results_by_partition(partitions.collect())
        });
        AddPartitionsToTxnResponse::default().with_results_by_topic_v3_and_below(rows.collect())
    }

    pub(crate) fn add_offsets_to_txn(&self, request: AddOffsetsToTxnRequest) -> AddOffsetsToTxnResponse {
        let producer = ProducerIdentity { id: request.producer_id.0, epoch: request.producer_epoch };
        let mut state = self.node.state();
        let mut changes = Changes::default();
        let added = self
            .admitted()
            .and_then(|()| {
                let (id, group) = (&request.transactional_id, request.group_id.as_str());
                state.add_to_txn(id, producer, [], Some(group), &mut changes)
            })
            .and_then(|()| state.store.commit(changes))
            .map_err(|error| self.fenced_as(error, FENCED_FROM));
        AddOffsetsToTxnResponse::default().with_error_code(code(&added))
    }

    pub(crate) fn end_txn(&self, request: EndTxnRequest) -> EndTxnResponse {
        let producer = ProducerIdentity { id: request.producer_id.0, epoch: request.producer_epoch };
        let id = request.transactional_id.as_str();
        let mode = self.node.end_mode();
        let mut state = self.node.state();
        let touched = state.txn_partitions(id);
        let mut changes = Changes::default();
        let ended = self
            .admitted()
            .and_then(|()| state.end_txn(id, producer, request.committed, mode, &mut changes))
            .and_then(|()| state.store.commit(changes))
            .map_err(|error| self.fenced_as(error, FENCED_FROM));
        state.wake_partitions(&touched);
        drop(state);
        if !mode.window.is_zero() {
            self.node.wake_clock();
        }
        EndTxnResponse::default().with_error_code(code(&ended))
    }
}
