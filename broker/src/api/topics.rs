//! CreateTopics, DeleteTopics, CreatePartitions, DeleteRecords.
use super::{Call, code, text};
use crate::state::State;
use crate::store::Changes;
use crate::topic_config;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::create_partitions_response::CreatePartitionsTopicResult;
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::create_topics_response::CreatableTopicResult;
use kafka_protocol::messages::delete_records_response::{
    DeleteRecordsPartitionResult, DeleteRecordsTopicResult,
};
use kafka_protocol::messages::delete_topics_response::DeletableTopicResult;
use kafka_protocol::messages::{
    CreatePartitionsRequest, CreatePartitionsResponse, CreateTopicsRequest, CreateTopicsResponse,
    DeleteRecordsRequest, DeleteRecordsResponse, DeleteTopicsRequest, DeleteTopicsResponse,
};
use uuid::Uuid;

const MAX_NAME_BYTES: usize = 249;
/// More than this in one topic is a slip of the pen on a single node.
const MAX_PARTITIONS: i32 = 10_000;
/// Replication factor or partition count that leaves the choice to the broker (KIP-464).
const BROKER_DEFAULT: i32 = -1;
/// DeleteRecords: up to the end.
const TO_THE_END: i64 = -1;

/// An error with the sentence that the client shows.
type Refused = (ResponseError, String);

pub(super) fn check_name(name: &str) -> Result<(), String> {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if name.is_empty() || matches!(name, "." | "..") {
        Err(format!("Topic name {name:?} is not allowed"))
    } else if name.len() > MAX_NAME_BYTES {
        Err(format!("Topic name is longer than {MAX_NAME_BYTES} characters"))
    } else if !name.chars().all(good) {
        Err(format!("Topic name {name:?} may hold only ASCII letters and digits, '.', '_' and '-'"))
    } else {
        Ok(())
    }
}

impl Call<'_> {
    pub(crate) fn create_topics(&self, request: CreateTopicsRequest) -> CreateTopicsResponse {
        let mut state = self.node.state();
        let results = request.topics.iter().map(|topic| {
            let result = CreatableTopicResult::default().with_name(topic.name.clone());
            match self.create_topic(&mut state, topic, request.validate_only) {
                Ok((id, partitions)) => result
                    .with_topic_id(id)
                    .with_num_partitions(partitions as i32)
                    .with_replication_factor(1)
                    .with_configs(None),
                Err((error, message)) => {
                    result.with_error_code(error.code()).with_error_message(Some(text(&message)))
                }
            }
        });
        CreateTopicsResponse::default().with_topics(results.collect())
    }

    fn create_topic(
        &self,
        state: &mut State,
        topic: &CreatableTopic,
        validate_only: bool,
    ) -> Result<(Uuid, usize), Refused> {
        let name = topic.name.as_str();
        check_name(name).map_err(|m| (ResponseError::InvalidTopicException, m))?;
        if state.topics.contains_key(name) {
            return Err((ResponseError::TopicAlreadyExists, format!("Topic '{name}' already exists.")));
        }
        let partitions = self.partition_count(topic)?;
        let mut configs = topic_config::Configs::new();
        for config in &topic.configs {
            let Some(value) = &config.value else { continue };
            topic_config::validate(&config.name, value).map_err(|m| (ResponseError::InvalidConfig, m))?;
            configs.insert(config.name.to_string(), value.to_string());
        }
        if validate_only {
            return Ok((Uuid::nil(), partitions));
        }
        let mut changes = Changes::default();
        let id = state.grow_topic(name, partitions, Some(configs), &mut changes);
        state.store.commit(changes).map_err(|e| (e, "The store refuses writes".to_owned()))?;
        Ok((id, partitions))
    }

    fn partition_count(&self, topic: &CreatableTopic) -> Result<usize, Refused> {
        if !topic.assignments.is_empty() {
            if topic.assignments.iter().any(|a| a.broker_ids.len() != 1) {
                let message = "The embedded broker is a single node: one replica per partition".to_owned();
                return Err((ResponseError::InvalidReplicaAssignment, message));
            }
            return Ok(topic.assignments.len());
        }
        if !matches!(i32::from(topic.replication_factor), 1 | BROKER_DEFAULT) {
            let message = format!(
                "Replication factor {} is not possible: the embedded broker is a single node",
                topic.replication_factor
            );
            return Err((ResponseError::InvalidReplicationFactor, message));
        }
        match topic.num_partitions {
            BROKER_DEFAULT => Ok(self.node.config.default_partitions.max(1) as usize),
            count @ 1..=MAX_PARTITIONS => Ok(count as usize),
            count => {
                Err((ResponseError::InvalidPartitions, format!("Number of partitions cannot be {count}")))
            }
        }
    }

    pub(crate) fn delete_topics(&self, request: DeleteTopicsRequest) -> DeleteTopicsResponse {
        let mut state = self.node.state();
        let results = request.topic_names.iter().map(|name| {
            let mut changes = Changes::default();
            let deleted = if state.delete_topic(name, &mut changes) {
                state.store.commit(changes)
            } else {
                Err(ResponseError::UnknownTopicOrPartition)
            };
            DeletableTopicResult::default().with_name(Some(name.clone())).with_error_code(code(&deleted))
        });
        DeleteTopicsResponse::default().with_responses(results.collect())
    }

    pub(crate) fn create_partitions(&self, request: CreatePartitionsRequest) -> CreatePartitionsResponse {
        let mut state = self.node.state();
        let results = request.topics.iter().map(|topic| {
            let result = CreatePartitionsTopicResult::default().with_name(topic.name.clone());
            match grow(&mut state, topic, request.validate_only) {
                Ok(()) => result,
                Err((error, message)) => {
                    result.with_error_code(error.code()).with_error_message(Some(text(&message)))
                }
            }
        });
        CreatePartitionsResponse::default().with_results(results.collect())
    }

    pub(crate) fn delete_records(&self, request: DeleteRecordsRequest) -> DeleteRecordsResponse {
        let topics = request.topics.iter().map(|topic| {
            let partitions = topic.partitions.iter().map(|p| {
                let low = self.delete_records_of(&topic.name, p.partition_index, p.offset);
                DeleteRecordsPartitionResult::default()
                    .with_partition_index(p.partition_index)
                    .with_low_watermark(*low.as_ref().unwrap_or(&-1))
                    .with_error_code(code(&low))
            });
            DeleteRecordsTopicResult::default()
                .with_name(topic.name.clone())
                .with_partitions(partitions.collect())
        });
        DeleteRecordsResponse::default().with_topics(topics.collect())
    }

    fn delete_records_of(&self, topic: &str, index: i32, before: i64) -> Result<i64, ResponseError> {
        let mut state = self.node.state();
        let found = state.topics.get(topic).ok_or(ResponseError::UnknownTopicOrPartition)?;
        // Kafka: a topic that is only compacted keeps what compaction keeps
        if !topic_config::is_deleted(&found.meta.configs) {
            return Err(ResponseError::PolicyViolation);
        }
        let next = state.partition(topic, index).ok_or(ResponseError::UnknownTopicOrPartition)?.meta.next;
        let before = if before == TO_THE_END { next } else { before };
        if !(0..=next).contains(&before) {
            return Err(ResponseError::OffsetOutOfRange);
        }
        let mut changes = Changes::default();
        state.advance_start(&(topic.to_owned(), index), before, &mut changes);
        state.store.commit(changes)?;
        Ok(state.partition(topic, index).map_or(-1, |p| p.meta.start))
    }
}

fn grow(state: &mut State, topic: &CreatePartitionsTopic, validate_only: bool) -> Result<(), Refused> {
    let unknown = || (ResponseError::UnknownTopicOrPartition, "The topic does not exist.".to_owned());
    let has = state.topics.get(topic.name.as_str()).ok_or_else(unknown)?.partitions.len();
    if topic.count as i64 <= has as i64 || topic.count > MAX_PARTITIONS {
        let message = format!("Topic has {has} partitions; {} is not possible", topic.count);
        return Err((ResponseError::InvalidPartitions, message));
    }
    if validate_only {
        return Ok(());
    }
    let mut changes = Changes::default();
    state.grow_topic(&topic.name, topic.count as usize, None, &mut changes);
    state.store.commit(changes).map_err(|e| (e, "The store refuses writes".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::check_name;

    #[test]
    fn topic_names_follow_kafkas_rules() {
        assert!(check_name("orders.v1_eu-west").is_ok());
        for bad in ["", ".", "..", "a b", "ä", &"x".repeat(250)] {
            assert!(check_name(bad).is_err(), "{bad:?}");
        }
    }
}
