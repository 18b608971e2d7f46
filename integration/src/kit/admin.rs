//! Topics: making, looking at, changing.

use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use futures::executor::block_on;
use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::Consumer as _;
use rdkafka::error::RDKafkaErrorCode;

use super::cluster::{Cluster, REQUEST_TIMEOUT};
use super::group::offset_list;
use super::wait::until;

const LEADER_DEADLINE: Duration = Duration::from_secs(15);

fn options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(REQUEST_TIMEOUT))
}

/// Admin calls answer once per name; we always name one.
fn only<T>(answers: Vec<T>) -> Result<T> {
    answers.into_iter().next().context("the answer is empty")
}

impl Cluster {
    fn admin(&self) -> Result<AdminClient<DefaultClientContext>> {
        self.client_config().create().context("an admin client cannot be made")
    }

    /// One CreateTopics request; the broker's refusal comes back as the inner error.
    pub fn request_topic(
        &self,
        name: &str,
        partitions: i32,
        settings: &[(&str, &str)],
    ) -> Result<Result<(), RDKafkaErrorCode>> {
        let mut topic = NewTopic::new(name, partitions, TopicReplication::Fixed(self.replication()));
        for (key, value) in settings {
            topic = topic.set(key, value);
        }
        let answers = block_on(self.admin()?.create_topics([&topic], &options()))?;
        Ok(only(answers)?.map(drop).map_err(|(_, code)| code))
    }

    /// Makes a topic with a unique name that begins with `stem`, and waits until every partition has a leader.
    pub fn topic(&self, stem: &str, partitions: i32, settings: &[(&str, &str)]) -> Result<String> {
        let name = self.unique(stem);
        self.named_topic(&name, partitions, settings)?;
        Ok(name)
    }

    /// As [`Cluster::topic`], with the name given.
    pub fn named_topic(&self, name: &str, partitions: i32, settings: &[(&str, &str)]) -> Result<()> {
        self.request_topic(name, partitions, settings)?
            .map_err(|code| anyhow!("{name} cannot be made: {code}"))?;
        let observer = self.observer()?;
        until("every partition has a leader", LEADER_DEADLINE, || {
            let metadata = observer.fetch_metadata(Some(name), REQUEST_TIMEOUT)?;
            let ready = metadata.topics().first().is_some_and(|topic| {
                topic.error().is_none()
                    && topic.partitions().len() == usize::try_from(partitions).unwrap_or(0)
                    && topic.partitions().iter().all(|partition| partition.leader() >= 0)
            });
            Ok(ready.then_some(()))
        })
    }

    /// Deletes the topic.
    pub fn delete_topic(&self, name: &str) -> Result<()> {
        let answers = block_on(self.admin()?.delete_topics(&[name], &options()))?;
        only(answers)?.map(drop).map_err(|(_, code)| anyhow!("{name} cannot be deleted: {code}"))
    }

    /// Whether a metadata request for everything lists the topic.
    pub fn lists_topic(&self, name: &str) -> Result<bool> {
        let metadata = self.observer()?.fetch_metadata(None, REQUEST_TIMEOUT)?;
        Ok(metadata.topics().iter().any(|topic| topic.name() == name))
    }

    /// One setting of the topic, as DescribeConfigs tells it.
    pub fn topic_setting(&self, name: &str, key: &str) -> Result<Option<String>> {
        let answers =
            block_on(self.admin()?.describe_configs([&ResourceSpecifier::Topic(name)], &options()))?;
        let settings = only(answers)?.map_err(|code| anyhow!("settings of {name}: {code}"))?;
        Ok(settings.get(key).and_then(|entry| entry.value.clone()))
    }

    /// Sets one setting of the topic with the older AlterConfigs request, which resets all others.
    pub fn alter_topic(&self, name: &str, key: &str, value: &str) -> Result<()> {
        self.set_topic(name, &[(key, value)])
    }

    /// Gives the topic these settings, and the defaults for all others.
    pub fn set_topic(&self, name: &str, settings: &[(&str, &str)]) -> Result<()> {
        let none = AlterConfig::new(ResourceSpecifier::Topic(name));
        let change = settings.iter().fold(none, |change, (key, value)| change.set(key, value));
        let answers = block_on(self.admin()?.alter_configs([&change], &options()))?;
        only(answers)?.map(drop).map_err(|(_, code)| anyhow!("{name} cannot be altered: {code}"))
    }

    /// Raises the number of partitions to `count`.
    pub fn grow_topic(&self, name: &str, count: usize) -> Result<()> {
        let answers =
            block_on(self.admin()?.create_partitions([&NewPartitions::new(name, count)], &options()))?;
        only(answers)?.map(drop).map_err(|(_, code)| anyhow!("{name} cannot grow: {code}"))
    }

    /// Deletes the records of the partition before `offset`.
    pub fn delete_records(&self, name: &str, partition: i32, offset: i64) -> Result<()> {
        let before = offset_list(name, partition, offset)?;
        let answer = block_on(self.admin()?.delete_records(&before, &options()))?;
        let element = only(answer.elements())?;
        Ok(element.error()?)
    }

    /// Whether a list of all groups has this one.
    pub fn lists_group(&self, group: &str) -> Result<bool> {
        let groups = self.observer()?.fetch_group_list(None, REQUEST_TIMEOUT)?;
        Ok(groups.groups().iter().any(|listed| listed.name() == group))
    }

    /// Deletes a group that has no members.
    pub fn delete_group(&self, group: &str) -> Result<()> {
        let answers = block_on(self.admin()?.delete_groups(&[group], &options()))?;
        only(answers)?.map(drop).map_err(|(_, code)| anyhow!("{group} cannot be deleted: {code}"))
    }
}
