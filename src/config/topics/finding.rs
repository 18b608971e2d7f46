//! What is wrong with a topic, and what to do about it.

use super::TopicState;
use super::plan::{Bound, Demand, TopicSpec};
use std::fmt;

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
    /// SAKIA-T07: commands may be deleted before they are applied.
    CommandsLost,
    /// SAKIA-T08: the changelog is compacted so early that a restore cannot see a torn checkpoint.
    TornUnseen,
    /// SAKIA-T09: the changelog forgets deletions before a restore can have ended.
    DeletesForgotten,
    /// SAKIA-T10: a setting makes restores slow. The app runs all the same.
    Slow,
    /// SAKIA-T11: partitions were added to all topics.
    Grown,
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
            FindingCode::CommandsLost => "SAKIA-T07",
            FindingCode::TornUnseen => "SAKIA-T08",
            FindingCode::DeletesForgotten => "SAKIA-T09",
            FindingCode::Slow => "SAKIA-T10",
            FindingCode::Grown => "SAKIA-T11",
        }
    }

    /// Whether the app must not run on it. The others cost speed and break nothing.
    pub fn forbids_start(self) -> bool {
        self != FindingCode::Slow
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

/// What is wrong with a topic.
pub fn findings(spec: &TopicSpec, actual: Option<&TopicState>) -> Vec<Finding> {
    let finding =
        |code, what: String, remedy: String| Finding { code, topic: spec.name.clone(), what, remedy };
    let Some(actual) = actual else {
        let remedy = "create it with `topics init`".to_string();
        return vec![finding(FindingCode::Missing, "it does not exist".into(), remedy)];
    };
    let mut found: Vec<Finding> = Vec::new();
    if spec.by_lane && actual.partitions != spec.partitions {
        found.push(finding(
            FindingCode::Partitions,
            format!("it has {} partitions, the commands topic {}", actual.partitions, spec.partitions),
            "partitions must not be added to the topics of an app; restore the topic, or move to a new app name"
                .into(),
        ));
    }
    let mut named: Vec<&str> = Vec::new();
    for demand in &spec.demands {
        // What forbids the start stands before what is slow: one setting, one finding.
        if demand.bound.fits(actual.setting(demand.key)) || named.contains(&demand.key) {
            continue;
        }
        named.push(demand.key);
        found.push(finding(demand.code, said(demand, actual), remedy(demand, spec)));
    }
    found
}

impl Bound {
    fn fits(self, value: Option<&str>) -> bool {
        let number = |value: &str| match value {
            "-1" => Some(f64::INFINITY),
            other => other.parse::<f64>().ok(),
        };
        match self {
            Bound::Is(wanted) => value == Some(wanted),
            // A broker that does not tell a number has one that nobody set.
            Bound::AtLeast(least) => value.and_then(number).is_none_or(|is| is >= least as f64),
            Bound::AtMost(most) => value.and_then(number).is_none_or(|is| is <= most),
        }
    }
}

fn said(demand: &Demand, actual: &TopicState) -> String {
    let is = actual.setting(demand.key).unwrap_or("not set");
    let wanted = match demand.bound {
        Bound::Is(wanted) => wanted.to_string(),
        Bound::AtLeast(least) => format!("at least {least}"),
        Bound::AtMost(most) => format!("at most {most}"),
    };
    if demand.because.is_empty() {
        format!("its {} is {is}, it must be {wanted}", demand.key)
    } else {
        format!("its {} is {is}, it should be {wanted}: {}", demand.key, demand.because)
    }
}

/// The value that `topics init` would have given, if it gives one.
fn remedy(demand: &Demand, spec: &TopicSpec) -> String {
    let planned = spec.settings.iter().find(|(key, _)| *key == demand.key).map(|(_, value)| value.clone());
    let value = planned.unwrap_or_else(|| match demand.bound {
        Bound::Is(wanted) => wanted.to_string(),
        Bound::AtLeast(least) => least.to_string(),
        Bound::AtMost(most) => most.to_string(),
    });
    format!(
        "run kafka-configs.sh --alter --entity-type topics --entity-name {} --add-config {}={value}",
        spec.name, demand.key
    )
}
