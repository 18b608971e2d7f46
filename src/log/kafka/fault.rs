//! Kafka's errors, sorted by what the caller has to do.

use crate::log::LogError;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

/// The error with what a transactional caller must know of it.
pub(crate) fn text(e: &KafkaError) -> String {
    match e {
        KafkaError::Transaction(t) => {
            let mut s = format!("{} ({:?})", t.string(), t.code());
            for (is, word) in [
                (t.is_fatal(), ", fatal"),
                (t.is_retriable(), ", retriable"),
                (t.txn_requires_abort(), ", abortable"),
            ] {
                if is {
                    s.push_str(word);
                }
            }
            s
        }
        // Display would print the value, which may be a secret.
        KafkaError::ClientConfig(_, why, key, _) => {
            format!("the Kafka property `{key}` is not accepted: {why}")
        }
        e => e.to_string(),
    }
}

/// A client could not be made: the configuration is wrong.
pub(crate) fn creation(what: &str, e: &KafkaError) -> LogError {
    LogError::Refused(format!("cannot create the Kafka client for {what}: {}", text(e)))
}

/// The record itself is at fault, not the moment: it will be refused again.
pub(crate) fn is_refusal(code: Code) -> bool {
    matches!(
        code,
        Code::MessageSizeTooLarge
            | Code::InvalidMessageSize
            | Code::InvalidRecord
            | Code::UnknownTopic
            | Code::UnknownPartition
            | Code::UnknownTopicOrPartition
            | Code::InvalidTopic
            | Code::TopicAuthorizationFailed
            | Code::PolicyViolation
    )
}

/// The brokers asked do not know the topic.
pub(crate) fn is_unknown_topic(code: Code) -> bool {
    matches!(code, Code::UnknownTopic | Code::UnknownTopicOrPartition)
}

/// Every record for that topic would be refused.
pub(crate) fn is_topic_wide(code: Code) -> bool {
    is_unknown_topic(code) || matches!(code, Code::InvalidTopic | Code::TopicAuthorizationFailed)
}

/// What an operator can do about a refused record.
pub(crate) fn refusal(topic: &str, partition: Option<i32>, bytes: usize, code: Code) -> LogError {
    LogError::Refused(refusal_text(topic, partition, bytes, code))
}

pub(crate) fn refusal_text(topic: &str, partition: Option<i32>, bytes: usize, code: Code) -> String {
    let p = partition.map_or_else(String::new, |p| format!(" partition {p}"));
    let remedy = match code {
        Code::MessageSizeTooLarge | Code::InvalidMessageSize => {
            "make the payload smaller, or raise `message.max.bytes` here and `max.message.bytes` of the topic"
        }
        Code::UnknownTopic | Code::UnknownPartition | Code::UnknownTopicOrPartition | Code::InvalidTopic => {
            "create the topic with that many partitions, or correct its name"
        }
        Code::TopicAuthorizationFailed => "grant this principal WRITE on the topic",
        _ => "see the broker's log",
    };
    format!("topic {topic}{p}: a record of {bytes} bytes was refused ({code}); {remedy}")
}

/// Worth asking again within a read-only call.
pub(crate) fn is_passing(code: Code) -> bool {
    matches!(
        code,
        Code::LeaderNotAvailable
            | Code::NotLeaderForPartition
            | Code::OffsetNotAvailable
            | Code::RequestTimedOut
            | Code::BrokerTransportFailure
            | Code::AllBrokersDown
            | Code::OperationTimedOut
            | Code::ReplicaNotAvailable
            | Code::KafkaStorageError
            | Code::UnknownLeaderEpoch
            | Code::FencedLeaderEpoch
            | Code::WaitingForCoordinator
            | Code::CoordinatorLoadInProgress
            | Code::CoordinatorNotAvailable
            | Code::NotCoordinator
            | Code::NetworkException
            | Code::Resolve
            | Code::UnstableOffsetCommit
    )
}

/// A read-only question could not be answered.
pub(crate) fn question(what: &str, e: &KafkaError) -> LogError {
    match e.rdkafka_error_code() {
        Some(Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::UnknownPartition) => {
            // A broker that has just started says so of topics that it has not heard of yet (three brokers, one of
            // them killed): lanes that took it for the truth stood still until somebody else got them.
            LogError::Unavailable(format!(
                "{what}: there is no such topic or partition; if that lasts, create it, or correct the name"
            ))
        }
        Some(
            Code::TopicAuthorizationFailed
            | Code::GroupAuthorizationFailed
            | Code::ClusterAuthorizationFailed,
        ) => LogError::Refused(format!("{what}: {}; grant this principal access", text(e))),
        _ => LogError::Unavailable(format!("{what}: {}", text(e))),
    }
}
