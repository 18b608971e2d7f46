//! Lays file and environment over the defaults, key by key, so that all mistakes are found at once.

use super::environment::{Environment, FILE, PREFIX};
use super::{Config, ConfigError, Problem};
use config::{File, FileFormat, Map, Value, ValueKind};
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

const DEFAULT_FILE: &str = "sakia.toml";

pub(super) fn load(
    path: Option<&Path>,
    variables: impl Iterator<Item = (OsString, OsString)>,
) -> Result<Config, ConfigError> {
    let mut problems = Vec::new();
    let environment = environment(variables, &mut problems);
    let mut sources = config::Config::builder();
    if let Some(path) = file(path, &environment) {
        let name = path.display().to_string();
        match std::fs::read_to_string(&path) {
            Ok(text) => match table(&text, &name) {
                Ok(source) => sources = sources.add_source(source),
                Err(why) => problems.push(Problem::new(&name, why)),
            },
            Err(error) => problems.push(Problem::new(
                &name,
                format!("cannot be read: {error}; correct the path (--config or {FILE})"),
            )),
        }
    }
    let built = sources.add_source(environment).build();
    let table =
        built.and_then(config::Config::try_deserialize::<Map<String, Value>>).unwrap_or_else(|error| {
            problems.push(Problem::new("settings", error.to_string()));
            Map::new()
        });
    let read = read(table, &mut problems);
    problems.extend(read.problems());
    ConfigError::unless_empty(problems).map(|()| read)
}

fn environment(
    variables: impl Iterator<Item = (OsString, OsString)>,
    problems: &mut Vec<Problem>,
) -> Environment {
    let mut all = BTreeMap::new();
    for (name, value) in variables {
        let Ok(name) = name.into_string() else { continue };
        if !name.starts_with(PREFIX) {
            continue;
        }
        match value.into_string() {
            Ok(value) => drop(all.insert(name, value)),
            Err(_) => problems.push(Problem::new(&name, "the variable is not UTF-8; set it anew")),
        }
    }
    Environment(all)
}

fn file(path: Option<&Path>, environment: &Environment) -> Option<PathBuf> {
    let named = path.map(Path::to_path_buf).or_else(|| environment.0.get(FILE).map(PathBuf::from));
    named.or_else(|| Some(PathBuf::from(DEFAULT_FILE)).filter(|p| p.exists()))
}

/// Parsed here and added as a value, so that a mistake in the syntax is one problem beside the others and every value
/// names its file.
fn table(text: &str, name: &str) -> Result<config::Config, String> {
    let source = File::from_str(text, FileFormat::Toml);
    let built = config::Config::builder().add_source(source).build().map_err(|e| e.to_string())?;
    let origin = format!("file {name}");
    let all: Map<String, Value> = built.try_deserialize().map_err(|e| e.to_string())?;
    let mut named = config::Config::builder();
    for (key, value) in all {
        let value = Value::new(Some(&origin), value.kind);
        named = named.set_override(key, value).map_err(|e| e.to_string())?;
    }
    named.build().map_err(|e| e.to_string())
}

fn read(mut table: Map<String, Value>, problems: &mut Vec<Problem>) -> Config {
    let default = Config::default();
    let mut keys = Keys { table: &mut table, problems };
    let read = Config {
        brokers: keys.take("brokers", default.brokers),
        state_dir: keys.take("state_dir", default.state_dir),
        instance_id: keys.take("instance_id", default.instance_id),
        session_timeout_ms: keys.take("session_timeout_ms", default.session_timeout_ms),
        partitions: keys.take("partitions", default.partitions),
        replication: keys.take("replication", default.replication),
        commit_interval_ms: keys.take("commit_interval_ms", default.commit_interval_ms),
        journal_roll_ms: keys.take("journal_roll_ms", default.journal_roll_ms),
        cache_bytes: keys.take("cache_bytes", default.cache_bytes),
        payload_limit_bytes: keys.take("payload_limit_bytes", default.payload_limit_bytes),
        answer_timeout_ms: keys.take("answer_timeout_ms", default.answer_timeout_ms),
        kafka: keys.take_kafka(),
    };
    for (key, value) in table {
        let from = origin(&value);
        problems.push(Problem::new(&key, format!("there is no such setting{from}; correct or remove it")));
    }
    read
}

struct Keys<'a> {
    table: &'a mut Map<String, Value>,
    problems: &'a mut Vec<Problem>,
}

impl Keys<'_> {
    fn take<T: DeserializeOwned>(&mut self, key: &str, default: T) -> T {
        let Some(value) = self.table.remove(key) else { return default };
        let (shown, from) = (value.to_string(), origin(&value));
        match value.try_deserialize() {
            Ok(value) => value,
            Err(error) => {
                let why = match error {
                    config::ConfigError::Type { expected, .. } => format!("it must be {expected}"),
                    other => other.to_string(),
                };
                self.problems.push(Problem::new(key, format!("\"{shown}\" cannot be used{from}: {why}")));
                default
            }
        }
    }

    /// The table of librdkafka properties: `"security.protocol" = …` and `security.protocol = …` alike.
    fn take_kafka(&mut self) -> BTreeMap<String, String> {
        let mut all = BTreeMap::new();
        match self.table.remove("kafka") {
            None => {}
            Some(Value { kind: ValueKind::Table(table), .. }) => flatten("", table, &mut all),
            Some(_) => self.problems.push(Problem::new(
                "kafka",
                "it must be a table of librdkafka properties: [kafka] with lines such as \"linger.ms\" = \"1\"",
            )),
        }
        all
    }
}

fn flatten(prefix: &str, table: Map<String, Value>, all: &mut BTreeMap<String, String>) {
    for (key, value) in table {
        let key = if prefix.is_empty() { key } else { format!("{prefix}.{key}") };
        match value.kind {
            ValueKind::Table(inner) => flatten(&key, inner, all),
            _ => drop(all.insert(key, value.to_string())),
        }
    }
}

fn origin(value: &Value) -> String {
    value.origin().map_or_else(String::new, |from| format!(" (from {from})"))
}
