//! `SAKIA_…` variables as a source of settings.

use config::{ConfigError, Map, Source, Value, ValueKind};
use std::collections::BTreeMap;

/// What begins the name of every variable of ours.
pub(super) const PREFIX: &str = "SAKIA_";
/// Names the file.
pub(super) const FILE: &str = "SAKIA_CONFIG";
const KAFKA: &str = "kafka_";
/// Variables that belong to others: the command line, the script that runs a Kafka for tests.
const NOT_SETTINGS: &[&str] = &[FILE, "SAKIA_APP", "SAKIA_LOG", "SAKIA_KAFKA_PORT", "SAKIA_KAFKA_VERSION"];

/// The variables whose name begins with [`PREFIX`]. An empty one counts as not set.
#[derive(Debug, Clone)]
pub(super) struct Environment(pub(super) BTreeMap<String, String>);

impl Source for Environment {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, ConfigError> {
        let mut all = Map::new();
        let mut kafka = Map::new();
        for (name, text) in &self.0 {
            let Some(key) = name.strip_prefix(PREFIX) else { continue };
            if text.is_empty() || NOT_SETTINGS.contains(&name.as_str()) || key.starts_with("TEST_") {
                continue;
            }
            let key = key.to_ascii_lowercase();
            let value = Value::new(Some(&format!("variable {name}")), ValueKind::String(text.clone()));
            match key.strip_prefix(KAFKA) {
                // No librdkafka property has an underscore that we could not tell from a dot, but for two old
                // callbacks that cannot be set as text anyway.
                Some(property) => drop(kafka.insert(property.replace('_', "."), value)),
                None => drop(all.insert(key, value)),
            }
        }
        if !kafka.is_empty() {
            all.insert("kafka".into(), Value::new(None, ValueKind::Table(kafka)));
        }
        Ok(all)
    }
}
