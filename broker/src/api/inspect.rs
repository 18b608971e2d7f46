//! ListTransactions, DescribeTransactions, DescribeProducers (KIP-664): what operators look at when a reader
//! hangs at the last stable offset.
use super::{Call, text};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_producers_response::{
    PartitionResponse, ProducerState, TopicResponse,
};
use kafka_protocol::messages::describe_transactions_response::{TopicData, TransactionState};
use kafka_protocol::messages::list_transactions_response::TransactionState as ListedTransaction;
use kafka_protocol::messages::{
    DescribeProducersRequest, DescribeProducersResponse, DescribeTransactionsRequest,
    DescribeTransactionsResponse, ListTransactionsRequest, ListTransactionsResponse, ProducerId, TopicName,
    TransactionalId,
};
use std::collections::BTreeMap;

impl Call<'_> {
    pub(crate) fn list_transactions(&self, request: ListTransactionsRequest) -> ListTransactionsResponse {
        let state = self.node.state();
        let now = self.node.time.now_ms();
        let rows = state
            .txns
            .iter()
            .filter(|(_, t)| {
                let states = &request.state_filters;
                states.is_empty() || states.iter().any(|s| s.as_str() == t.meta.phase.name())
            })
            .filter(|(_, t)| {
                let ids = &request.producer_id_filters;
                ids.is_empty() || ids.iter().any(|id| id.0 == t.meta.producer_id)
            })
            .filter(|(_, t)| {
                request.duration_filter <= 0 || now - t.meta.started_ms >= request.duration_filter
            })
            .map(|(id, t)| {
                ListedTransaction::default()
                    .with_transactional_id(TransactionalId(text(id)))
                    .with_producer_id(ProducerId(t.meta.producer_id))
                    .with_transaction_state(text(t.meta.phase.name()))
            });
        ListTransactionsResponse::default().with_transaction_states(rows.collect())
    }

    pub(crate) fn describe_transactions(
        &self,
        request: DescribeTransactionsRequest,
    ) -> DescribeTransactionsResponse {
        let state = self.node.state();
        let rows = request.transactional_ids.iter().map(|id| {
            let row = TransactionState::default().with_transactional_id(id.clone());
            let Some(txn) = state.txns.get(id.as_str()) else {
                return row.with_error_code(ResponseError::TransactionalIdNotFound.code());
            };
            let mut topics: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
            for (topic, index) in &txn.meta.partitions {
                topics.entry(topic).or_default().push(*index);
            }
            let topic = |(name, partitions): (&str, Vec<i32>)| {
                TopicData::default().with_topic(TopicName(text(name))).with_partitions(partitions)
            };
            row.with_transaction_state(text(txn.meta.phase.name()))
                .with_transaction_timeout_ms(txn.meta.timeout_ms)
                .with_transaction_start_time_ms(txn.meta.started_ms)
                .with_producer_id(ProducerId(txn.meta.producer_id))
                .with_producer_epoch(txn.meta.epoch)
                .with_topics(topics.into_iter().map(topic).collect())
        });
        DescribeTransactionsResponse::default().with_transaction_states(rows.collect())
    }

    pub(crate) fn describe_producers(&self, request: DescribeProducersRequest) -> DescribeProducersResponse {
        let state = self.node.state();
        let topics = request.topics.iter().map(|topic| {
            let partitions = topic.partition_indexes.iter().map(|index| {
                let row = PartitionResponse::default().with_partition_index(*index);
                let Some(partition) = state.partition(&topic.name, *index) else {
                    return row.with_error_code(ResponseError::UnknownTopicOrPartition.code());
                };
                let producers = partition.producers.iter().map(|(id, p)| {
                    ProducerState::default()
                        .with_producer_id(ProducerId(*id))
                        .with_producer_epoch(i32::from(p.epoch))
                        .with_last_sequence(p.recent.back().map_or(-1, |sent| sent.last_sequence))
                        .with_last_timestamp(p.last_ms)
                        .with_current_txn_start_offset(p.txn_first.unwrap_or(-1))
                });
                row.with_active_producers(producers.collect())
            });
            TopicResponse::default().with_name(topic.name.clone()).with_partitions(partitions.collect())
        });
        DescribeProducersResponse::default().with_topics(topics.collect())
    }
}
