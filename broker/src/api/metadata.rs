//! Metadata and FindCoordinator: everything is here.
use super::{Call, text, topics};
use crate::node::{CLUSTER_ID, HOST, NODE_ID};
use crate::state::{State, Topic};
use crate::store::Changes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{
    BrokerId, FindCoordinatorRequest, FindCoordinatorResponse, MetadataRequest, MetadataResponse, TopicName,
};
use uuid::Uuid;

impl Call<'_> {
    pub(crate) fn metadata(&self, request: MetadataRequest) -> MetadataResponse {
        let mut state = self.node.state();
        let may_create = request.allow_auto_topic_creation && self.node.config.auto_create_topics;
        let topics = match &request.topics {
            None => state.topics.iter().map(|(name, topic)| described(name, topic)).collect(),
            Some(wanted) => wanted
                .iter()
                .map(|t| match &t.name {
                    Some(name) => self.by_name(&mut state, name, may_create),
                    None => by_id(&state, t.topic_id),
                })
                .collect(),
        };
        let broker = MetadataResponseBroker::default()
            .with_node_id(BrokerId(NODE_ID))
            .with_host(text(HOST))
            .with_port(i32::from(self.node.port));
        MetadataResponse::default()
            .with_brokers(vec![broker])
            .with_cluster_id(Some(text(CLUSTER_ID)))
            .with_controller_id(BrokerId(NODE_ID))
            .with_topics(topics)
    }

    fn by_name(&self, state: &mut State, name: &str, may_create: bool) -> MetadataResponseTopic {
        if may_create && !state.topics.contains_key(name) && topics::check_name(name).is_ok() {
            let mut changes = Changes::default();
            let partitions = self.node.config.default_partitions.max(1) as usize;
            state.grow_topic(name, partitions, None, &mut changes);
            if let Err(error) = state.store.commit(changes) {
                return unknown(name, error);
            }
        }
        match state.topics.get(name) {
            Some(topic) => described(name, topic),
            None if topics::check_name(name).is_err() => unknown(name, ResponseError::InvalidTopicException),
            None => unknown(name, ResponseError::UnknownTopicOrPartition),
        }
    }

    pub(crate) fn find_coordinator(&self, _: FindCoordinatorRequest) -> FindCoordinatorResponse {
        match self.admitted() {
            Ok(()) => FindCoordinatorResponse::default()
                .with_node_id(BrokerId(NODE_ID))
                .with_host(text(HOST))
                .with_port(i32::from(self.node.port)),
            Err(error) => FindCoordinatorResponse::default()
                .with_error_code(error.code())
                .with_node_id(BrokerId(-1))
                .with_port(-1),
        }
    }
}

fn by_id(state: &State, id: Uuid) -> MetadataResponseTopic {
    match state.topics.iter().find(|(_, t)| t.meta.id == id.as_u128()) {
        Some((name, topic)) => described(name, topic),
        None => MetadataResponseTopic::default()
            .with_topic_id(id)
            .with_error_code(ResponseError::UnknownTopicId.code()),
    }
}

fn unknown(name: &str, error: ResponseError) -> MetadataResponseTopic {
    MetadataResponseTopic::default().with_name(Some(TopicName(text(name)))).with_error_code(error.code())
}

fn described(name: &str, topic: &Topic) -> MetadataResponseTopic {
    let partition = |index: usize| {
        MetadataResponsePartition::default()
            .with_partition_index(index as i32)
            .with_leader_id(BrokerId(NODE_ID))
            .with_leader_epoch(super::list_offsets::LEADER_EPOCH)
            .with_replica_nodes(vec![BrokerId(NODE_ID)])
            .with_isr_nodes(vec![BrokerId(NODE_ID)])
    };
    MetadataResponseTopic::default()
        .with_name(Some(TopicName(text(name))))
        .with_topic_id(Uuid::from_u128(topic.meta.id))
        .with_partitions((0..topic.partitions.len()).map(partition).collect())
}
