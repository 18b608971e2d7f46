//! Topics and what the cluster says of itself. Everything here blocks.

use super::config::KafkaConfig;
use super::context::PlainContext;
use super::detached::Detached;
use super::fault;
use crate::log::LogError;
use futures::executor::block_on;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

const WAIT: Duration = Duration::from_secs(15);
/// The same for deleting records: a checkpoint waits for it, and it is tried again.
const TRIM_WAIT: Duration = Duration::from_secs(2);

/// Creates and describes topics.
pub struct Admin {
    client: Detached<AdminClient<PlainContext>>,
}

fn options(wait: Duration) -> AdminOptions {
    AdminOptions::new().request_timeout(Some(wait)).operation_timeout(Some(wait))
}

impl Admin {
    /// Checks the configuration. Connects lazily.
    pub fn new(config: &KafkaConfig) -> Result<Admin, LogError> {
        config.check()?;
        let client = config
            .admin()
            .create_with_context(PlainContext::new("admin"))
            .map_err(|e| fault::creation("administration", &e))?;
        Ok(Admin { client: Detached::new(client) })
    }

    /// Creates a topic and waits until it has leaders. `Ok(false)` if it is there already, whatever its settings.
    /// `replication` `None` = the broker's default.
    pub fn create_topic(
        &self,
        name: &str,
        partitions: i32,
        replication: Option<i32>,
        settings: &[(&str, &str)],
    ) -> Result<bool, LogError> {
        let mut topic = NewTopic::new(name, partitions, TopicReplication::Fixed(replication.unwrap_or(-1)));
        for (k, v) in settings {
            topic = topic.set(k, v);
        }
        let what = format!("create topic {name} with {partitions} partitions");
        let made = block_on(self.client.create_topics([&topic], &options(WAIT)))
            .map_err(|e| fault::question(&what, &e))?;
        for r in made {
            match r {
                Ok(_) => {}
                Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => return Ok(false),
                Err((_, code)) => {
                    let said = format!("{what}: {code}");
                    return Err(if fault::is_passing(code) {
                        LogError::Unavailable(said)
                    } else {
                        LogError::Refused(format!("{said}; see the broker's log, or create it by hand"))
                    });
                }
            }
        }
        let deadline = Instant::now() + WAIT;
        while self.leaders(name)? < partitions {
            if Instant::now() > deadline {
                return Err(LogError::Unavailable(format!("topic {name} has no leaders yet")));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(true)
    }

    fn leaders(&self, name: &str) -> Result<i32, LogError> {
        let what = format!("metadata of topic {name}");
        let md =
            self.client.inner().fetch_metadata(Some(name), WAIT).map_err(|e| fault::question(&what, &e))?;
        let with =
            |t: &rdkafka::metadata::MetadataTopic| t.partitions().iter().filter(|p| p.leader() >= 0).count();
        Ok(md.topics().first().map_or(0, |t| i32::try_from(with(t)).unwrap_or(i32::MAX)))
    }

    /// Number of partitions; `None` if there is no such topic.
    pub fn partitions(&self, name: &str) -> Result<Option<i32>, LogError> {
        let what = format!("metadata of topic {name}");
        let md = match self.client.inner().fetch_metadata(Some(name), WAIT) {
            Ok(md) => md,
            Err(KafkaError::MetadataFetch(RDKafkaErrorCode::UnknownTopicOrPartition)) => return Ok(None),
            Err(e) => return Err(fault::question(&what, &e)),
        };
        let Some(t) = md.topics().first() else { return Ok(None) };
        match t.error().map(RDKafkaErrorCode::from) {
            None => Ok(i32::try_from(t.partitions().len()).ok().filter(|n| *n > 0)),
            Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => Ok(None),
            Some(code) => Err(fault::question(&what, &KafkaError::MetadataFetch(code))),
        }
    }

    /// The settings of a topic, defaults included.
    pub fn settings(&self, name: &str) -> Result<BTreeMap<String, String>, LogError> {
        let what = format!("settings of topic {name}");
        let found = block_on(self.client.describe_configs([&ResourceSpecifier::Topic(name)], &options(WAIT)))
            .map_err(|e| fault::question(&what, &e))?;
        let mut all = BTreeMap::new();
        for r in found {
            let r = r.map_err(|code| fault::question(&what, &KafkaError::AdminOp(code)))?;
            all.extend(r.entries.into_iter().map(|e| (e.name, e.value.unwrap_or_default())));
        }
        Ok(all)
    }

    /// Deletes everything below `before`. Deleting what is gone already is no error.
    pub fn delete_records(&self, topic: &str, partition: i32, before: i64) -> Result<(), LogError> {
        let what = format!("delete records of topic {topic} partition {partition} below offset {before}");
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition, Offset::Offset(before))
            .map_err(|e| fault::question(&what, &e))?;
        let done = block_on(self.client.delete_records(&list, &options(TRIM_WAIT)))
            .map_err(|e| fault::question(&what, &e))?;
        for e in done.elements() {
            match e.error() {
                Ok(()) => {}
                Err(e) if e.rdkafka_error_code() == Some(RDKafkaErrorCode::PolicyViolation) => {
                    return Err(LogError::Refused(format!(
                        "{what}: refused by policy; its `cleanup.policy` must contain `delete`"
                    )));
                }
                Err(e) => return Err(fault::question(&what, &e)),
            }
        }
        Ok(())
    }

    /// The cluster's id, to tell one cluster's state folder from another's.
    pub fn cluster_id(&self) -> Result<String, LogError> {
        // One metadata answer first: the call below only looks at what the client knows.
        self.client
            .inner()
            .fetch_metadata(None, WAIT)
            .map_err(|e| fault::question("the cluster's metadata", &e))?;
        self.client
            .inner()
            .fetch_cluster_id(WAIT)
            .ok_or_else(|| LogError::Unavailable("the cluster does not tell its id".into()))
    }
}
