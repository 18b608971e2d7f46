//! Every version that is served can be answered: the encoder refuses an answer with a field that its version does
//! not have, and the client then sees a closed connection.
use super::*;
use crate::api::Api;
use bytes::BytesMut;
use kafka_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestTopic;
use kafka_protocol::messages::*;
use kafka_protocol::protocol::Encodable;

fn versions(api: Api) -> Vec<i16> {
    let key = Api::SERVED.iter().find(|(served, ..)| *served == api).unwrap().1;
    (0..20).filter(|version| Api::of(key, *version) == Some((api, true))).collect()
}

/// Answers in each version of the API.
fn answers<A: Encodable>(node: &Node, api: Api, ask: impl Fn(&Call<'_>) -> A) {
    assert!(!versions(api).is_empty());
    for version in versions(api) {
        let call = Call { node, version, client_id: "test", refusal: None };
        let encoded = ask(&call).encode(&mut BytesMut::new(), version);
        assert!(encoded.is_ok(), "{api:?} version {version}: {:?}", encoded.err());
    }
}

fn name() -> TopicName {
    TopicName(StrBytes::from_static_str(TOPIC))
}

fn group() -> GroupId {
    GroupId(StrBytes::from_static_str(GROUP))
}

#[test]
fn records_and_offsets_of_partitions_in_every_version() {
    let node = node(&[("message.timestamp.type", "LogAppendTime")]);
    let bytes = testing::batch(&[("k", Some("v"))], None, false, Compression::None);
    let partition = PartitionProduceData::default().with_records(Some(bytes));
    let topic = TopicProduceData::default().with_name(name()).with_partition_data(vec![partition]);
    let request = ProduceRequest::default().with_acks(-1).with_topic_data(vec![topic]);
    answers(&node, Api::Produce, |c| c.produce(request.clone()));
    let topic = FetchTopic::default().with_topic(name()).with_partitions(vec![FetchPartition::default()]);
    let request = FetchRequest::default().with_isolation_level(1).with_topics(vec![topic]);
    answers(&node, Api::Fetch, |c| c.fetch(request.clone()));
    for time in [-3, -2, -1, 0] {
        let partition = ListOffsetsPartition::default().with_timestamp(time);
        let topic = ListOffsetsTopic::default().with_name(name()).with_partitions(vec![partition]);
        let request = ListOffsetsRequest::default().with_topics(vec![topic]);
        answers(&node, Api::ListOffsets, |c| c.list_offsets(request.clone()));
    }
    let partition = DeleteRecordsPartition::default().with_offset(1);
    let topic = DeleteRecordsTopic::default().with_name(name()).with_partitions(vec![partition]);
    let request = DeleteRecordsRequest::default().with_topics(vec![topic]);
    answers(&node, Api::DeleteRecords, |c| c.delete_records(request.clone()));
}

#[test]
fn offsets_of_groups_in_every_version() {
    let node = node(&[]);
    let partition = OffsetCommitRequestPartition::default().with_committed_offset(7);
    let topic = OffsetCommitRequestTopic::default().with_name(name()).with_partitions(vec![partition]);
    let request = OffsetCommitRequest::default()
        .with_group_id(group())
        .with_generation_id_or_member_epoch(-1)
        .with_topics(vec![topic]);
    answers(&node, Api::OffsetCommit, |c| c.offset_commit(request.clone()));
    let topic = OffsetFetchRequestTopic::default().with_name(name()).with_partition_indexes(vec![0]);
    for topics in [Some(vec![topic]), None] {
        let request = OffsetFetchRequest::default().with_group_id(group()).with_topics(topics);
        answers(&node, Api::OffsetFetch, |c| c.offset_fetch(request.clone()));
    }
    let request = HeartbeatRequest::default().with_group_id(group());
    answers(&node, Api::Heartbeat, |c| c.heartbeat(request.clone()));
    let request = JoinGroupRequest::default().with_group_id(group());
    answers(&node, Api::JoinGroup, |c| c.join_group(request.clone()));
    let request = SyncGroupRequest::default().with_group_id(group());
    answers(&node, Api::SyncGroup, |c| c.sync_group(request.clone()));
    let request = LeaveGroupRequest::default().with_group_id(group());
    answers(&node, Api::LeaveGroup, |c| c.leave_group(request.clone()));
    for groups in [vec![group()], Vec::new()] {
        let request = DescribeGroupsRequest::default().with_groups(groups);
        answers(&node, Api::DescribeGroups, |c| c.describe_groups(request.clone()));
    }
    answers(&node, Api::ListGroups, |c| c.list_groups(ListGroupsRequest::default()));
    let request = DeleteGroupsRequest::default().with_groups_names(vec![group()]);
    answers(&node, Api::DeleteGroups, |c| c.delete_groups(request.clone()));
}

#[test]
fn transactions_in_every_version() {
    let node = node(&[]);
    let id = || TransactionalId(StrBytes::from_static_str("x"));
    let request = InitProducerIdRequest::default()
        .with_transactional_id(Some(id()))
        .with_transaction_timeout_ms(1000)
        .with_producer_id(ProducerId(-1))
        .with_producer_epoch(-1);
    answers(&node, Api::InitProducerId, |c| c.init_producer_id(request.clone()));
    let request = AddPartitionsToTxnRequest::default().with_v3_and_below_transactional_id(id());
    answers(&node, Api::AddPartitionsToTxn, |c| c.add_partitions_to_txn(request.clone()));
    let request = AddOffsetsToTxnRequest::default().with_transactional_id(id()).with_group_id(group());
    answers(&node, Api::AddOffsetsToTxn, |c| c.add_offsets_to_txn(request.clone()));
    let request = EndTxnRequest::default().with_transactional_id(id());
    answers(&node, Api::EndTxn, |c| c.end_txn(request.clone()));
    let request = TxnOffsetCommitRequest::default().with_transactional_id(id()).with_group_id(group());
    answers(&node, Api::TxnOffsetCommit, |c| c.txn_offset_commit(request.clone()));
    let request = ListTransactionsRequest::default();
    answers(&node, Api::ListTransactions, |c| c.list_transactions(request.clone()));
    let request = DescribeTransactionsRequest::default().with_transactional_ids(vec![id()]);
    answers(&node, Api::DescribeTransactions, |c| c.describe_transactions(request.clone()));
}

#[test]
fn topics_and_the_cluster_in_every_version() {
    use kafka_protocol::messages::create_topics_request::CreatableTopic;
    use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
    let node = node(&[]);
    for topics in [None, Some(Vec::new())] {
        let request = MetadataRequest::default().with_topics(topics);
        answers(&node, Api::Metadata, |c| c.metadata(request.clone()));
    }
    answers(&node, Api::FindCoordinator, |c| c.find_coordinator(FindCoordinatorRequest::default()));
    let topic = CreatableTopic::default()
        .with_name(TopicName(StrBytes::from_static_str("new")))
        .with_num_partitions(1)
        .with_replication_factor(1);
    let request = CreateTopicsRequest::default().with_topics(vec![topic]);
    answers(&node, Api::CreateTopics, |c| c.create_topics(request.clone()));
    for (kind, name) in [(2, StrBytes::from_static_str(TOPIC)), (4, StrBytes::from_static_str("1"))] {
        let resource = DescribeConfigsResource::default().with_resource_type(kind).with_resource_name(name);
        let request = DescribeConfigsRequest::default().with_resources(vec![resource]);
        answers(&node, Api::DescribeConfigs, |c| c.describe_configs(request.clone()));
    }
    let request = DeleteTopicsRequest::default().with_topic_names(vec![name()]);
    answers(&node, Api::DeleteTopics, |c| c.delete_topics(request.clone()));
}
