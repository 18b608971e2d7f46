//! OffsetCommit, OffsetFetch, TxnOffsetCommit.
use super::{Call, code, text};
use crate::mistake::{Mistake, makes};
use crate::state::{CommittedOffset, State, TopicPartition};
use crate::store::Changes;
use crate::txn::{Phase, ProducerIdentity};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use kafka_protocol::messages::offset_fetch_response::{
    OffsetFetchResponsePartition, OffsetFetchResponseTopic,
};
use kafka_protocol::messages::txn_offset_commit_response::{
    TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};
use kafka_protocol::messages::{
    OffsetCommitRequest, OffsetCommitResponse, OffsetFetchRequest, OffsetFetchResponse, TopicName,
    TxnOffsetCommitRequest, TxnOffsetCommitResponse,
};
use std::collections::BTreeMap;

/// Kafka's `offset.metadata.max.bytes`.
const MAX_METADATA_BYTES: usize = 4096;

impl Call<'_> {
    pub(crate) fn offset_commit(&self, request: OffsetCommitRequest) -> OffsetCommitResponse {
        let allowed = self.commit_allowed(&request);
        let mut state = self.node.state();
        let number = state.new_commit();
        let group = request.group_id.as_str();
        let mut changes = Changes::default();
        let mut topics = Vec::with_capacity(request.topics.len());
        for topic in &request.topics {
            let partitions = topic.partitions.iter().map(|p| {
                let metadata = p.committed_metadata.as_deref().unwrap_or_default().to_owned();
                let (offset, leader_epoch) = (p.committed_offset, p.committed_leader_epoch);
                let offset = CommittedOffset { offset, leader_epoch, metadata, number };
                let tp = (topic.name.to_string(), p.partition_index);
                let stored = allowed.and_then(|()| check_offset(&state, &tp, &offset)).map(|()| {
                    changes.offset(group, &tp, &offset);
                    state.offsets.entry(group.to_owned()).or_default().take(tp, offset);
                });
                OffsetCommitResponsePartition::default()
                    .with_partition_index(p.partition_index)
                    .with_error_code(code(&stored))
            });
            let partitions = partitions.collect();
            topics.push(
                OffsetCommitResponseTopic::default()
                    .with_name(topic.name.clone())
                    .with_partitions(partitions),
            );
        }
        if let Err(error) = state.store.commit(changes) {
            topics.iter_mut().flat_map(|t| &mut t.partitions).for_each(|p| p.error_code = error.code());
        }
        OffsetCommitResponse::default().with_topics(topics)
    }

    fn commit_allowed(&self, request: &OffsetCommitRequest) -> Result<(), ResponseError> {
        self.admitted()?;
        let generation = request.generation_id_or_member_epoch;
        let mut groups = self.node.groups.lock();
        match groups.get_mut(request.group_id.as_str()) {
            Some(group) => {
                let instance = request.group_instance_id.as_deref();
                group.check_commit(&request.member_id, instance, generation, self.node.time.instant())
            }
            None if generation < 0 => Ok(()),
            // perhaps a member of a group that the broker lost at its restart: it must join again
            None => Err(ResponseError::IllegalGeneration),
        }
    }

    pub(crate) fn offset_fetch(&self, request: OffsetFetchRequest) -> OffsetFetchResponse {
        if let Err(error) = self.admitted() {
            return OffsetFetchResponse::default().with_error_code(error.code());
        }
        let state = self.node.state();
        let group = state.offsets.get(request.group_id.as_str());
        let mut wanted: BTreeMap<String, Vec<i32>> = BTreeMap::new();
        match &request.topics {
            Some(topics) => topics.iter().for_each(|t| {
                wanted.entry(t.name.to_string()).or_default().extend(&t.partition_indexes);
            }),
            None => group.into_iter().flat_map(|g| g.committed.keys()).for_each(|tp| {
                wanted.entry(tp.0.clone()).or_default().push(tp.1);
            }),
        }
        let topics = wanted.into_iter().map(|(name, indexes)| {
            let partitions = indexes.into_iter().map(|index| {
                let tp = (name.clone(), index);
                let answer = OffsetFetchResponsePartition::default()
                    .with_partition_index(index)
                    .with_committed_leader_epoch(-1)
                    .with_committed_offset(-1)
                    .with_metadata(Some(text("")));
                // KIP-447: a new owner must not start from an offset that an open transaction may replace
                let unstable = group.is_some_and(|g| g.pending.values().any(|m| m.contains_key(&tp)));
                if request.require_stable && unstable && !makes(Mistake::ShowsOffsetsTooEarly) {
                    return answer.with_error_code(ResponseError::UnstableOffsetCommit.code());
                }
                match group.and_then(|g| g.committed.get(&tp)) {
                    Some(found) => answer
                        .with_committed_offset(found.offset)
                        .with_committed_leader_epoch(found.leader_epoch)
                        .with_metadata(Some(text(&found.metadata))),
                    None => answer,
                }
            });
            OffsetFetchResponseTopic::default()
                .with_partitions(partitions.collect())
                .with_name(TopicName(text(&name)))
        });
        OffsetFetchResponse::default().with_topics(topics.collect())
    }

    pub(crate) fn txn_offset_commit(&self, request: TxnOffsetCommitRequest) -> TxnOffsetCommitResponse {
        let group_checked = self.admitted().and_then(|()| self.check_txn_member(&request));
        let mut state = self.node.state();
        let allowed = group_checked.and_then(|()| check_txn_offsets(&state, &request));
        let number = state.new_commit();
        let group = request.group_id.as_str();
        let mut added = BTreeMap::new();
        let mut topics = Vec::with_capacity(request.topics.len());
        for topic in &request.topics {
            let partitions = topic.partitions.iter().map(|p| {
                let metadata = p.committed_metadata.as_deref().unwrap_or_default().to_owned();
                let (offset, leader_epoch) = (p.committed_offset, p.committed_leader_epoch);
                let offset = CommittedOffset { offset, leader_epoch, metadata, number };
                let tp = (topic.name.to_string(), p.partition_index);
                let stored = allowed.and_then(|()| check_offset(&state, &tp, &offset)).map(|()| {
                    added.insert(tp, offset);
                });
                TxnOffsetCommitResponsePartition::default()
                    .with_partition_index(p.partition_index)
                    .with_error_code(code(&stored))
            });
            let partitions = partitions.collect();
            topics.push(
                TxnOffsetCommitResponseTopic::default()
                    .with_name(topic.name.clone())
                    .with_partitions(partitions),
            );
        }
        let mut changes = Changes::default();
        if !added.is_empty() {
            let offsets = state.offsets.entry(group.to_owned()).or_default();
            let pending = offsets.pending.entry(request.producer_id.0).or_default();
            pending.extend(added);
            if !makes(Mistake::LosesPendingOffsetsAtRestart) {
                changes.pending(group, request.producer_id.0, pending);
            }
        }
        if let Err(error) = state.store.commit(changes) {
            topics.iter_mut().flat_map(|t| &mut t.partitions).for_each(|p| p.error_code = error.code());
        }
        TxnOffsetCommitResponse::default().with_topics(topics)
    }

    /// KIP-447: offsets of a member of an older generation are refused.
    fn check_txn_member(&self, request: &TxnOffsetCommitRequest) -> Result<(), ResponseError> {
        if request.generation_id < 0 && request.member_id.is_empty() {
            return Ok(());
        }
        let groups = self.node.groups.lock();
        let group = groups.get(request.group_id.as_str()).ok_or(ResponseError::UnknownMemberId)?;
        group.check(&request.member_id, request.group_instance_id.as_deref(), request.generation_id)
    }
}

fn check_txn_offsets(state: &State, request: &TxnOffsetCommitRequest) -> Result<(), ResponseError> {
    let producer = ProducerIdentity { id: request.producer_id.0, epoch: request.producer_epoch };
    let txn = state.checked_txn(&request.transactional_id, producer).map_err(|error| match error {
        // this request has no PRODUCER_FENCED in any version
        ResponseError::ProducerFenced => ResponseError::InvalidProducerEpoch,
        other => other,
    })?;
    if txn.meta.phase == Phase::Ongoing && txn.meta.groups.contains(request.group_id.as_str()) {
        Ok(())
    } else {
        Err(ResponseError::InvalidTxnState)
    }
}

fn check_offset(state: &State, tp: &TopicPartition, offset: &CommittedOffset) -> Result<(), ResponseError> {
    if state.partition(&tp.0, tp.1).is_none() {
        return Err(ResponseError::UnknownTopicOrPartition);
    }
    if offset.metadata.len() > MAX_METADATA_BYTES {
        Err(ResponseError::OffsetMetadataTooLarge)
    } else {
        Ok(())
    }
}
