//! DescribeConfigs, AlterConfigs, IncrementalAlterConfigs.
use super::{Call, text};
use crate::state::State;
use crate::store::Changes;
use crate::topic_config::{self, Configs};
use crate::txn;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::alter_configs_response::AlterConfigsResourceResponse as AlterResult;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult,
};
use kafka_protocol::messages::incremental_alter_configs_response::AlterConfigsResourceResponse as IncrementalResult;
use kafka_protocol::messages::{
    AlterConfigsRequest, AlterConfigsResponse, DescribeConfigsRequest, DescribeConfigsResponse,
    IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse,
};

const RESOURCE_TOPIC: i8 = 2;
const RESOURCE_BROKER: i8 = 4;
const SOURCE_TOPIC: i8 = 1;
const SOURCE_STATIC_BROKER: i8 = 4;
const SOURCE_DEFAULT: i8 = 5;

/// Operations of KIP-339.
const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

/// Name, operation, value.
type Edit = (String, i8, Option<String>);
type Refused = (ResponseError, String);

impl Call<'_> {
    pub(crate) fn describe_configs(&self, request: DescribeConfigsRequest) -> DescribeConfigsResponse {
        let state = self.node.state();
        let results = request.resources.iter().map(|resource| {
            let result = DescribeConfigsResult::default()
                .with_resource_type(resource.resource_type)
                .with_resource_name(resource.resource_name.clone());
            match self.describe(&state, resource) {
                Ok(rows) => result.with_configs(rows),
                Err(error) => result.with_error_code(error.code()),
            }
        });
        DescribeConfigsResponse::default().with_results(results.collect())
    }

    fn describe(
        &self,
        state: &State,
        resource: &DescribeConfigsResource,
    ) -> Result<Vec<DescribeConfigsResourceResult>, ResponseError> {
        let keys = &resource.configuration_keys;
        let wanted = |name: &str| keys.as_ref().is_none_or(|keys| keys.iter().any(|k| k.as_str() == name));
        match resource.resource_type {
            RESOURCE_TOPIC => {
                let topic = state.topics.get(resource.resource_name.as_str());
                let configs = &topic.ok_or(ResponseError::UnknownTopicOrPartition)?.meta.configs;
                Ok(topic_config::effective(configs)
                    .filter(|(name, _, _)| wanted(name))
                    .map(|(name, value, default)| {
                        row(name, value, if default { SOURCE_DEFAULT } else { SOURCE_TOPIC })
                    })
                    .collect())
            }
            RESOURCE_BROKER => {
                let all = self.broker_configs();
                let read_only =
                    |(n, v): &(&str, String)| row(n, v, SOURCE_STATIC_BROKER).with_read_only(true);
                Ok(all.iter().filter(|(name, _)| wanted(name)).map(read_only).collect())
            }
            _ => Err(ResponseError::InvalidRequest),
        }
    }

    fn broker_configs(&self) -> Vec<(&'static str, String)> {
        let config = &self.node.config;
        vec![
            ("auto.create.topics.enable", config.auto_create_topics.to_string()),
            ("default.replication.factor", "1".to_owned()),
            (
                "group.initial.rebalance.delay.ms",
                config.group_initial_rebalance_delay.as_millis().to_string(),
            ),
            ("group.min.session.timeout.ms", config.group_min_session_timeout.as_millis().to_string()),
            ("num.partitions", config.default_partitions.to_string()),
            ("transaction.max.timeout.ms", txn::MAX_TIMEOUT_MS.to_string()),
        ]
    }

    pub(crate) fn alter_configs(&self, request: AlterConfigsRequest) -> AlterConfigsResponse {
        let results = request.resources.iter().map(|resource| {
            let edits = resource.configs.iter().map(|c| edit(&c.name, SET, c.value.as_deref())).collect();
            let (kind, name) = (resource.resource_type, &resource.resource_name);
            let result = AlterResult::default().with_resource_type(kind).with_resource_name(name.clone());
            match self.alter(kind, name, edits, true, request.validate_only) {
                Ok(()) => result,
                Err((e, m)) => result.with_error_code(e.code()).with_error_message(Some(text(&m))),
            }
        });
        AlterConfigsResponse::default().with_responses(results.collect())
    }

    pub(super) fn incremental_alter_configs(
        &self,
        request: IncrementalAlterConfigsRequest,
    ) -> IncrementalAlterConfigsResponse {
        let results = request.resources.iter().map(|resource| {
            let one = |c: &kafka_protocol::messages::incremental_alter_configs_request::AlterableConfig| {
                edit(&c.name, c.config_operation, c.value.as_deref())
            };
            let edits = resource.configs.iter().map(one).collect();
            let (kind, name) = (resource.resource_type, &resource.resource_name);
            let result =
                IncrementalResult::default().with_resource_type(kind).with_resource_name(name.clone());
            match self.alter(kind, name, edits, false, request.validate_only) {
                Ok(()) => result,
                Err((e, m)) => result.with_error_code(e.code()).with_error_message(Some(text(&m))),
            }
        });
        IncrementalAlterConfigsResponse::default().with_responses(results.collect())
    }

    fn alter(
        &self,
        kind: i8,
        name: &str,
        edits: Vec<Edit>,
        replace: bool,
        validate_only: bool,
    ) -> Result<(), Refused> {
        if kind != RESOURCE_TOPIC {
            let message = "Only topic configs can be changed on the embedded broker".to_owned();
            return Err((ResponseError::InvalidRequest, message));
        }
        let mut state = self.node.state();
        let unknown = || (ResponseError::UnknownTopicOrPartition, format!("Topic '{name}' does not exist."));
        let topic = state.topics.get(name).ok_or_else(unknown)?;
        let count = topic.partitions.len();
        let mut configs = if replace { Configs::new() } else { topic.meta.configs.clone() };
        for edit in edits {
            apply(&mut configs, edit).map_err(|m| (ResponseError::InvalidConfig, m))?;
        }
        if validate_only {
            return Ok(());
        }
        let mut changes = Changes::default();
        state.grow_topic(name, count, Some(configs), &mut changes);
        state.store.commit(changes).map_err(|e| (e, "The store refuses writes".to_owned()))
    }
}

fn edit(name: &str, operation: i8, value: Option<&str>) -> Edit {
    (name.to_owned(), operation, value.map(str::to_owned))
}

fn apply(configs: &mut Configs, (name, operation, value): Edit) -> Result<(), String> {
    let listed = || configs.get(&name).map_or_else(Vec::new, |v| v.split(',').map(str::to_owned).collect());
    let value = match (operation, value) {
        (DELETE, _) | (SET, None) => {
            configs.remove(&name);
            return Ok(());
        }
        (SET, Some(value)) => value,
        (APPEND, Some(value)) => {
            let mut list: Vec<String> = listed();
            if !list.contains(&value) {
                list.push(value);
            }
            list.join(",")
        }
        (SUBTRACT, Some(value)) => {
            let list: Vec<String> = listed();
            list.into_iter().filter(|v| *v != value).collect::<Vec<_>>().join(",")
        }
        (other, _) => return Err(format!("Unknown operation {other} on {name}")),
    };
    topic_config::validate(&name, &value)?;
    configs.insert(name, value);
    Ok(())
}

fn row(name: &str, value: &str, source: i8) -> DescribeConfigsResourceResult {
    DescribeConfigsResourceResult::default()
        .with_name(text(name))
        .with_value(Some(text(value)))
        .with_config_source(source)
}
