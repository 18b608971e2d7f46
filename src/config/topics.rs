//! The topics of an app: how they are made, and what is wrong with those that are there.

use crate::log::LogError;
use crate::log::kafka::Admin;
use std::collections::BTreeMap;
use std::fmt;

const SECOND_MS: u64 = 1_000;
const HOUR_MS: u64 = 3_600 * SECOND_MS;
const DAY_MS: u64 = 24 * HOUR_MS;
/// Largest record that every topic of ours must take: what our producers may send.
const RECORD_MAX_BYTES: u64 = 2 * 1024 * 1024;

const TIME_KEY: &str = "message.timestamp.type";
/// The time of an input is the broker's: a client whose clock is wrong must not move anybody's timers.
const BROKER_TIME: &str = "LogAppendTime";

/// How a topic should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicSpec {
    /// Its name.
    pub name: String,
    /// Its partitions.
    pub partitions: i32,
    /// Whether it must have exactly as many partitions as the app has lanes.
    pub by_lane: bool,
    /// What it is created with.
    pub settings: Vec<(&'static str, String)>,
    /// Settings without which the app does not run.
    demands: Vec<Demand>,
}

/// How a topic is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicState {
    /// Its partitions.
    pub partitions: i32,
    /// Its settings, defaults included.
    pub settings: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Demand {
    Policy(&'static str),
    /// Records leave only by DeleteRecords.
    NoRetention(&'static str),
    AtLeast(&'static str, u64),
    /// The time of a record is the broker's.
    BrokerTime,
}

/// Kinds of findings. Each has a page in `docs/errors/`; codes are never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FindingCode {
    /// SAKIA-T01: a topic is missing.
    Missing,
    /// SAKIA-T02: two topics that must have equally many partitions do not.
    Partitions,
    /// SAKIA-T03: the cleanup policy is wrong.
    CleanupPolicy,
    /// SAKIA-T04: the journal loses records by age or size.
    Retention,
    /// SAKIA-T05: the topic refuses records that the app may write.
    RecordSize,
    /// SAKIA-T06: the time of a record is whatever its producer says.
    RecordTime,
}

impl FindingCode {
    /// The code as people see it.
    pub fn code(self) -> &'static str {
        match self {
            FindingCode::Missing => "SAKIA-T01",
            FindingCode::Partitions => "SAKIA-T02",
            FindingCode::CleanupPolicy => "SAKIA-T03",
            FindingCode::Retention => "SAKIA-T04",
            FindingCode::RecordSize => "SAKIA-T05",
            FindingCode::RecordTime => "SAKIA-T06",
        }
    }
}

/// Something that is wrong with a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What kind of thing.
    pub code: FindingCode,
    /// The topic.
    pub topic: String,
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub remedy: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} topic {}: {}; {}", self.code.code(), self.topic, self.what, self.remedy)
    }
}

/// What an app has to know of its topics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TopicLayout {
    /// Lanes: partitions of commands, journal and changelog.
    pub partitions: i32,
    /// Partitions of the replies topic.
    pub reply_partitions: i32,
    /// Checkpoints younger than this are still complete in the changelog.
    pub min_compaction_lag_ms: u64,
    /// So long the changelog keeps the mark of a deletion, at least.
    pub keep_deletes_ms: u64,
}

/// Why the topics cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TopicsError {
    /// They could not be looked at.
    #[error(transparent)]
    Log(#[from] LogError),
    /// They are not as they should be.
    #[error("the topics are not as they should be:{}", list(.0))]
    Findings(Vec<Finding>),
}

fn list(findings: &[Finding]) -> String {
    findings.iter().map(|f| format!("\n  {f}")).collect()
}

/// The topics that an app with so many lanes needs.
pub fn plan(app: &str, partitions: i32) -> Vec<TopicSpec> {
    let days = |n: u64| Some(n * DAY_MS);
    let compacted = [
        ("min.compaction.lag.ms", HOUR_MS.to_string()),
        ("delete.retention.ms", DAY_MS.to_string()),
        ("segment.bytes", (64 * 1024 * 1024).to_string()),
    ];
    let mut changelog = spec(app, "changelog", partitions, "compact", compacted.into());
    changelog.demands.push(Demand::AtLeast("max.message.bytes", RECORD_MAX_BYTES));
    let mut journal = spec(app, "journal", partitions, "delete", kept(None));
    journal.demands.extend([
        Demand::NoRetention("retention.ms"),
        Demand::NoRetention("retention.bytes"),
        Demand::AtLeast("max.message.bytes", RECORD_MAX_BYTES),
    ]);
    let mut commands = spec(app, "commands", partitions, "delete", kept(days(7)));
    commands.settings.push((TIME_KEY, BROKER_TIME.to_string()));
    commands.demands.push(Demand::BrokerTime);
    let mut all = vec![
        commands,
        journal,
        changelog,
        spec(app, "replies", partitions, "delete", kept(Some(HOUR_MS))),
        spec(app, "dlq", partitions, "delete", kept(days(30))),
    ];
    for topic in &mut all {
        topic.by_lane = ["commands", "journal", "changelog"]
            .iter()
            .any(|part| topic.name.strip_prefix(app) == Some(&format!(".{part}")));
    }
    all
}

fn kept(time_ms: Option<u64>) -> Vec<(&'static str, String)> {
    let time = time_ms.map_or("-1".to_string(), |ms| ms.to_string());
    vec![("retention.ms", time), ("retention.bytes", "-1".to_string())]
}

fn spec(
    app: &str,
    part: &str,
    partitions: i32,
    policy: &'static str,
    more: Vec<(&'static str, String)>,
) -> TopicSpec {
    let mut settings =
        vec![("cleanup.policy", policy.to_string()), ("max.message.bytes", RECORD_MAX_BYTES.to_string())];
    settings.extend(more);
    TopicSpec {
        name: format!("{app}.{part}"),
        partitions,
        by_lane: false,
        settings,
        demands: vec![Demand::Policy(policy)],
    }
}

/// What is wrong with a topic.
pub fn findings(spec: &TopicSpec, actual: Option<&TopicState>) -> Vec<Finding> {
    let finding =
        |code, what: String, remedy: String| Finding { code, topic: spec.name.clone(), what, remedy };
    let Some(actual) = actual else {
        let remedy = "create it with `topics init`".to_string();
        return vec![finding(FindingCode::Missing, "it does not exist".into(), remedy)];
    };
    let mut found = Vec::new();
    if spec.by_lane && actual.partitions != spec.partitions {
        found.push(finding(
            FindingCode::Partitions,
            format!("it has {} partitions, the commands topic {}", actual.partitions, spec.partitions),
            "partitions must not be added to the topics of an app; restore the topic, or move to a new app name"
                .into(),
        ));
    }
    for demand in &spec.demands {
        let (key, code, fits, wanted) = match *demand {
            Demand::Policy(policy) => {
                let is = setting(actual, "cleanup.policy").unwrap_or(policy);
                ("cleanup.policy", FindingCode::CleanupPolicy, is == policy, policy.to_string())
            }
            Demand::NoRetention(key) => {
                (key, FindingCode::Retention, setting(actual, key) == Some("-1"), "-1".to_string())
            }
            Demand::BrokerTime => {
                let is = setting(actual, TIME_KEY);
                (TIME_KEY, FindingCode::RecordTime, is == Some(BROKER_TIME), BROKER_TIME.to_string())
            }
            Demand::AtLeast(key, least) => {
                let is = setting(actual, key).and_then(|v| v.parse::<u64>().ok());
                (key, FindingCode::RecordSize, is.is_none_or(|is| is >= least), least.to_string())
            }
        };
        if !fits {
            let is = setting(actual, key).unwrap_or("not set");
            found.push(finding(
                code,
                format!("its {key} is {is}, it must be {wanted}"),
                format!(
                    "run kafka-configs.sh --alter --entity-type topics --entity-name {} --add-config {key}={wanted}",
                    spec.name
                ),
            ));
        }
    }
    found
}

fn setting<'a>(state: &'a TopicState, key: &str) -> Option<&'a str> {
    state.settings.get(key).map(String::as_str)
}

/// Looks at the topics of an app. Blocks.
///
/// # Errors
/// If they cannot be looked at, or if the app must not run on them: then all findings.
pub fn check(admin: &Admin, app: &str) -> Result<TopicLayout, TopicsError> {
    // The commands topic says how many lanes there are; without it, one finding per topic says that it is missing.
    let lanes = admin.partitions(&format!("{app}.commands"))?.unwrap_or(1);
    let mut all = Vec::new();
    let mut layout = TopicLayout {
        partitions: lanes,
        reply_partitions: lanes,
        min_compaction_lag_ms: 0,
        keep_deletes_ms: 0,
    };
    for spec in plan(app, lanes) {
        let state = state(admin, &spec.name)?;
        all.extend(findings(&spec, state.as_ref()));
        let Some(state) = state else { continue };
        if spec.name.ends_with(".replies") {
            layout.reply_partitions = state.partitions;
        }
        if spec.name.ends_with(".changelog") {
            let ms = |key| setting(&state, key).and_then(|v| v.parse().ok()).unwrap_or(0);
            layout.min_compaction_lag_ms = ms("min.compaction.lag.ms");
            layout.keep_deletes_ms = ms("delete.retention.ms");
        }
    }
    if all.is_empty() { Ok(layout) } else { Err(TopicsError::Findings(all)) }
}

fn state(admin: &Admin, name: &str) -> Result<Option<TopicState>, LogError> {
    let Some(partitions) = admin.partitions(name)? else { return Ok(None) };
    Ok(Some(TopicState { partitions, settings: admin.settings(name)? }))
}

/// Creates the topics that are missing. Those that exist stay as they are; [`check`] says whether they fit. Blocks.
///
/// # Errors
/// If one cannot be created.
pub fn init(
    admin: &Admin,
    app: &str,
    partitions: i32,
    copies: Option<i32>,
) -> Result<Vec<(String, bool)>, LogError> {
    let lanes = admin.partitions(&format!("{app}.commands"))?.unwrap_or(partitions);
    let mut made = Vec::new();
    for spec in plan(app, lanes) {
        let settings: Vec<(&str, &str)> = spec.settings.iter().map(|(k, v)| (*k, v.as_str())).collect();
        let new = admin.create_topic(&spec.name, spec.partitions, copies, &settings)?;
        made.push((spec.name, new));
    }
    Ok(made)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn as_planned(spec: &TopicSpec) -> TopicState {
        let settings = spec.settings.iter().map(|(k, v)| (k.to_string(), v.clone())).collect();
        TopicState { partitions: spec.partitions, settings }
    }

    fn topic(part: &str) -> TopicSpec {
        plan("payments", 8).into_iter().find(|s| s.name == format!("payments.{part}")).unwrap()
    }

    fn only(found: Vec<Finding>) -> Finding {
        assert_eq!(found.len(), 1, "{found:?}");
        found.into_iter().next().unwrap()
    }

    #[test]
    fn topics_made_as_planned_have_no_findings() {
        for spec in plan("payments", 8) {
            assert_eq!(findings(&spec, Some(&as_planned(&spec))), vec![]);
        }
    }

    #[test]
    fn a_missing_topic_is_found_with_the_command_that_makes_it() {
        let found = only(findings(&topic("journal"), None));
        assert_eq!(found.code, FindingCode::Missing);
        assert!(
            found.to_string().contains("payments.journal: it does not exist; create it with `topics init`")
        );
    }

    #[test]
    fn partition_counts_must_agree_for_lane_topics_only() {
        for (part, code) in [
            ("journal", Some(FindingCode::Partitions)),
            ("changelog", Some(FindingCode::Partitions)),
            ("dlq", None),
        ] {
            let spec = topic(part);
            let state = TopicState { partitions: 4, ..as_planned(&spec) };
            assert_eq!(findings(&spec, Some(&state)).first().map(|f| f.code), code, "{part}");
        }
    }

    #[test]
    fn settings_that_would_lose_records_are_found_by_key() {
        for (part, key, value, code) in [
            ("changelog", "cleanup.policy", "delete", FindingCode::CleanupPolicy),
            ("changelog", "cleanup.policy", "compact,delete", FindingCode::CleanupPolicy),
            ("commands", "cleanup.policy", "compact", FindingCode::CleanupPolicy),
            ("journal", "retention.ms", "604800000", FindingCode::Retention),
            ("journal", "retention.bytes", "1000", FindingCode::Retention),
            ("journal", "max.message.bytes", "1048588", FindingCode::RecordSize),
            ("commands", "message.timestamp.type", "CreateTime", FindingCode::RecordTime),
        ] {
            let spec = topic(part);
            let mut state = as_planned(&spec);
            state.settings.insert(key.into(), value.into());
            let found = only(findings(&spec, Some(&state)));
            assert_eq!(found.code, code);
            assert!(found.what.contains(key) && found.remedy.contains(key), "{found}");
        }
    }
}
