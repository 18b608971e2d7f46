//! Topic configs: the names Kafka knows, their defaults, and what values they take.
use std::collections::BTreeMap;

#[derive(Clone, Copy)]
enum Kind {
    Number { min: i64 },
    Ratio,
    Bool,
    OneOf(&'static [&'static str]),
    Policy,
    Text,
}

const MAX: &str = "9223372036854775807";

/// Name, default, kind. Those that the broker acts on are marked; the others are stored and shown.
const TOPIC_CONFIGS: &[(&str, &str, Kind)] = &[
    (CLEANUP_POLICY, "delete", Kind::Policy), // acted on
    (
        "compression.type",
        "producer",
        Kind::OneOf(&["producer", "uncompressed", "gzip", "snappy", "lz4", "zstd"]),
    ),
    (DELETE_RETENTION_MS, "86400000", Kind::Number { min: 0 }), // acted on
    ("file.delete.delay.ms", "60000", Kind::Number { min: 0 }),
    ("flush.messages", MAX, Kind::Number { min: 1 }),
    ("flush.ms", MAX, Kind::Number { min: 0 }),
    ("follower.replication.throttled.replicas", "", Kind::Text),
    ("index.interval.bytes", "4096", Kind::Number { min: 0 }),
    ("leader.replication.throttled.replicas", "", Kind::Text),
    ("max.compaction.lag.ms", MAX, Kind::Number { min: 1 }),
    (MAX_MESSAGE_BYTES, "1048588", Kind::Number { min: 0 }), // acted on
    (TIMESTAMP_AFTER_MAX_MS, "3600000", Kind::Number { min: 0 }), // acted on, by a batch's newest record
    ("message.timestamp.before.max.ms", MAX, Kind::Number { min: 0 }),
    (MESSAGE_TIMESTAMP_TYPE, "CreateTime", Kind::OneOf(&["CreateTime", LOG_APPEND_TIME])), // acted on
    (MIN_CLEANABLE_DIRTY_RATIO, "0.5", Kind::Ratio),                                       // acted on
    (MIN_COMPACTION_LAG_MS, "0", Kind::Number { min: 0 }),                                 // acted on
    (MIN_INSYNC_REPLICAS, "1", Kind::Number { min: 1 }),                                   // acted on
    ("preallocate", "false", Kind::Bool),
    (RETENTION_BYTES, "-1", Kind::Number { min: -1 }), // acted on
    (RETENTION_MS, "604800000", Kind::Number { min: -1 }), // acted on
    ("segment.bytes", "1073741824", Kind::Number { min: 14 }),
    ("segment.index.bytes", "10485760", Kind::Number { min: 4 }),
    ("segment.jitter.ms", "0", Kind::Number { min: 0 }),
    ("segment.ms", "604800000", Kind::Number { min: 1 }),
    ("unclean.leader.election.enable", "false", Kind::Bool),
];

pub(crate) const CLEANUP_POLICY: &str = "cleanup.policy";
pub(crate) const DELETE_RETENTION_MS: &str = "delete.retention.ms";
pub(crate) const MAX_MESSAGE_BYTES: &str = "max.message.bytes";
pub(crate) const MESSAGE_TIMESTAMP_TYPE: &str = "message.timestamp.type";
const LOG_APPEND_TIME: &str = "LogAppendTime";
pub(crate) const MIN_CLEANABLE_DIRTY_RATIO: &str = "min.cleanable.dirty.ratio";
pub(crate) const MIN_COMPACTION_LAG_MS: &str = "min.compaction.lag.ms";
pub(crate) const MIN_INSYNC_REPLICAS: &str = "min.insync.replicas";
pub(crate) const RETENTION_BYTES: &str = "retention.bytes";
pub(crate) const RETENTION_MS: &str = "retention.ms";
pub(crate) const TIMESTAMP_AFTER_MAX_MS: &str = "message.timestamp.after.max.ms";

/// Values that were set for a topic.
pub(crate) type Configs = BTreeMap<String, String>;

/// Whether Kafka would take this value; the message says why not.
pub(crate) fn validate(name: &str, value: &str) -> Result<(), String> {
    let Some((_, _, kind)) = TOPIC_CONFIGS.iter().find(|(known, _, _)| *known == name) else {
        return Err(format!("Unknown topic config name: {name}"));
    };
    let good = match kind {
        Kind::Number { min } => value.parse::<i64>().is_ok_and(|n| n >= *min),
        Kind::Ratio => value.parse::<f64>().is_ok_and(|r| (0.0..=1.0).contains(&r)),
        Kind::Bool => matches!(value, "true" | "false"),
        Kind::OneOf(values) => values.contains(&value),
        Kind::Policy => value.split(',').all(|part| matches!(part.trim(), "compact" | "delete")),
        Kind::Text => true,
    };
    if good { Ok(()) } else { Err(format!("Invalid value {value} for configuration {name}")) }
}

/// All configs with their effective values; the flag says that it is a default.
pub(crate) fn effective(configs: &Configs) -> impl Iterator<Item = (&'static str, &str, bool)> {
    TOPIC_CONFIGS.iter().map(|(name, default, _)| match configs.get(*name) {
        Some(value) => (*name, value.as_str(), false),
        None => (*name, *default, true),
    })
}

fn value<'a>(configs: &'a Configs, name: &str) -> &'a str {
    let default = TOPIC_CONFIGS.iter().find(|(known, _, _)| *known == name).map_or("", |(_, d, _)| *d);
    configs.get(name).map_or(default, String::as_str)
}

/// A number; stored values have been validated, so the fallback is never met.
pub(crate) fn number(configs: &Configs, name: &str) -> i64 {
    value(configs, name).parse().unwrap_or(0)
}

pub(crate) fn ratio(configs: &Configs, name: &str) -> f64 {
    value(configs, name).parse().unwrap_or(0.5)
}

fn has_policy(configs: &Configs, policy: &str) -> bool {
    value(configs, CLEANUP_POLICY).split(',').any(|part| part.trim() == policy)
}

pub(crate) fn is_compacted(configs: &Configs) -> bool {
    has_policy(configs, "compact")
}

pub(crate) fn is_deleted(configs: &Configs) -> bool {
    has_policy(configs, "delete")
}

/// Whether records take the broker's time instead of their producer's.
pub(crate) fn stamps_append_time(configs: &Configs) -> bool {
    value(configs, MESSAGE_TIMESTAMP_TYPE) == LOG_APPEND_TIME
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_is_a_valid_value() {
        for (name, default, _) in TOPIC_CONFIGS {
            assert_eq!(validate(name, default), Ok(()), "{name}");
        }
    }

    #[test]
    fn unknown_names_and_bad_values_are_refused() {
        assert!(validate("retention.msec", "1").is_err());
        assert!(validate(RETENTION_MS, "soon").is_err());
        assert!(validate(CLEANUP_POLICY, "compact,delete").is_ok());
        assert!(validate(CLEANUP_POLICY, "shrink").is_err());
    }
}
