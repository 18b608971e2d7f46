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
                Err(error) => problems.push(Problem::new(&name, error.to_string())),
            },
            Err(error) => problems.push(Problem::new(
                &name,
                format!("cannot be read: {error}; correct the path (--config or {FILE})"),
            )),
        }
    }
    let built = sources.add_source(environment).build();
    let table = built.and_then(|built| built.cache.into_table()).unwrap_or_else(|error| {
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

/// A file's settings. Parsed before the rest, so that a mistake in the syntax is one problem beside the others.
#[derive(Debug, Clone)]
struct Settings(Map<String, Value>);

impl config::Source for Settings {
    fn clone_into_box(&self) -> Box<dyn config::Source + Send + Sync> {
        Box::new(self.clone())
    }
    fn collect(&self) -> Result<Map<String, Value>, config::ConfigError> {
        Ok(self.0.clone())
    }
}

/// Every value names its file; `[kafka]` has flat keys, as in the environment, so that one can lie over the other.
fn table(text: &str, name: &str) -> Result<Settings, config::ConfigError> {
    let source = File::from_str(text, FileFormat::Toml);
    let all = config::Config::builder().add_source(source).build()?.cache.into_table()?;
    let origin = format!("file {name}");
    let named = |(key, value): (String, Value)| {
        let kind = match value.kind {
            ValueKind::Table(inner) if key == "kafka" => {
                let mut flat = BTreeMap::new();
                flatten("", inner, &mut flat);
                ValueKind::from(flat.into_iter().collect::<Map<_, _>>())
            }
            kind => kind,
        };
        (key, Value::new(Some(&origin), kind))
    };
    Ok(Settings(all.into_iter().map(named).collect()))
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
        restore_bytes: keys.take("restore_bytes", default.restore_bytes),
        payload_limit_bytes: keys.take("payload_limit_bytes", default.payload_limit_bytes),
        http_address: keys.take("http_address", default.http_address),
        http_insecure: keys.take("http_insecure", default.http_insecure),
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

    /// The table of librdkafka properties.
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

/// `"security.protocol" = …` and `security.protocol = …` alike.
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
