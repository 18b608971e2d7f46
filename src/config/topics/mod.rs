//! The topics of an app: how they are made, and what is wrong with those that are there.

mod finding;
mod grown;
mod plan;

pub use finding::{Finding, FindingCode, findings};
pub use plan::{TopicSpec, plan};

use crate::log::LogError;
use crate::log::kafka::{Admin, KafkaLog};
use std::collections::BTreeMap;

/// How a topic is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicState {
    /// Its partitions.
    pub partitions: i32,
    /// Its settings, defaults included.
    pub settings: BTreeMap<String, String>,
}

impl TopicState {
    fn setting(&self, key: &str) -> Option<&str> {
        self.settings.get(key).map(String::as_str)
    }
}

/// What an app has to know of its topics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicLayout {
    /// Lanes: partitions of commands, journal and changelog.
    pub partitions: i32,
    /// Partitions of the replies topic.
    pub reply_partitions: i32,
    /// Checkpoints younger than this are still complete in the changelog.
    pub min_compaction_lag_ms: u64,
    /// So long the changelog keeps the mark of a deletion, at least.
    pub keep_deletes_ms: u64,
    /// What could be better, though the app runs.
    pub advice: Vec<Finding>,
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

/// Looks at the topics of an app. Blocks.
///
/// # Errors
/// If they cannot be looked at, or if the app must not run on them: then all findings.
pub fn check(log: &KafkaLog, app: &str) -> Result<TopicLayout, TopicsError> {
    let admin = log.admin();
    // The commands topic says how many lanes there are; without it, one finding per topic says that it is missing.
    let lanes = admin.partitions(&format!("{app}.commands"))?.unwrap_or(1);
    let (mut all, mut changelog) = (Vec::new(), None);
    let mut layout = TopicLayout {
        partitions: lanes,
        reply_partitions: lanes,
        min_compaction_lag_ms: 0,
        keep_deletes_ms: 0,
        advice: Vec::new(),
    };
    for spec in plan(app, lanes) {
        let state = state(admin, &spec.name)?;
        all.extend(findings(&spec, state.as_ref()));
        let Some(state) = state else { continue };
        if spec.name.ends_with(".replies") {
            layout.reply_partitions = state.partitions;
        }
        if spec.name.ends_with(".changelog") {
            let ms = |key| state.setting(key).and_then(|v| v.parse().ok()).unwrap_or(0);
            layout.min_compaction_lag_ms = ms("min.compaction.lag.ms");
            layout.keep_deletes_ms = ms("delete.retention.ms");
            changelog = Some(spec.name);
        }
    }
    // One that is not there, or has another number of partitions, is found already.
    if let Some(changelog) = changelog
        && !all.iter().any(|finding| finding.code == FindingCode::Partitions)
    {
        all.extend(grown::finding(log, &changelog, lanes));
    }
    if all.iter().any(|finding| finding.code.forbids_start()) {
        return Err(TopicsError::Findings(all));
    }
    layout.advice = all;
    Ok(layout)
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
mod tests;
