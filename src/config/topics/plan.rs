//! The one table of what the topics of an app are made with and checked against.

use super::FindingCode;

const SECOND_MS: u64 = 1_000;
const MINUTE_MS: u64 = 60 * SECOND_MS;
const HOUR_MS: u64 = 60 * MINUTE_MS;
const DAY_MS: u64 = 24 * HOUR_MS;
const MIB: u64 = 1024 * 1024;
/// Largest record that every topic of ours must take: what our producers may send.
const RECORD_MAX_BYTES: u64 = 2 * MIB;
/// A restore looks for torn checkpoints among records younger than half of `min.compaction.lag.ms`. The owner that may
/// have torn one is missed only after its session timeout, 6 s unless set, so half of the lag must be at least that.
const LAG_LEAST_MS: u64 = 12 * SECOND_MS;
/// A restore must end within half of `delete.retention.ms`, or it begins anew, over and over. Ten million keys take well
/// under a minute beside a broker, but not every network is as near.
const DELETES_LEAST_MS: u64 = 10 * MINUTE_MS;
/// Commands wait on Kafka while no process runs. What was acknowledged must survive a bad day.
const COMMANDS_LEAST_MS: u64 = DAY_MS;

/// What a setting may be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Bound {
    /// This, word for word.
    Is(&'static str),
    /// This number or more; −1 is no limit.
    AtLeast(u64),
    /// This number or less.
    AtMost(f64),
}

/// Something that is asked of a setting.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Demand {
    pub(super) key: &'static str,
    pub(super) bound: Bound,
    pub(super) code: FindingCode,
    /// Why, if it is not in the code's name.
    pub(super) because: &'static str,
}

/// How a topic should be.
#[derive(Debug, Clone, PartialEq)]
pub struct TopicSpec {
    /// Its name.
    pub name: String,
    /// Its partitions.
    pub partitions: i32,
    /// Whether it must have exactly as many partitions as the app has lanes.
    pub by_lane: bool,
    /// What it is created with.
    pub settings: Vec<(&'static str, String)>,
    /// Without these the app does not run, or not well: the code says which.
    pub(super) demands: Vec<Demand>,
}

const fn demand(key: &'static str, bound: Bound, code: FindingCode) -> Demand {
    Demand { key, bound, code, because: "" }
}

const fn advice(key: &'static str, bound: Bound, because: &'static str) -> Demand {
    Demand { key, bound, code: FindingCode::Slow, because }
}

/// One topic, without what all of them have.
struct Part {
    name: &'static str,
    by_lane: bool,
    policy: &'static str,
    settings: &'static [(&'static str, u64)],
    demands: &'static [Demand],
}

const TIME: (&str, &str) = ("message.timestamp.type", "LogAppendTime");
const RECORD_SIZE: Demand =
    demand("max.message.bytes", Bound::AtLeast(RECORD_MAX_BYTES), FindingCode::RecordSize);

const PARTS: [Part; 5] = [
    Part {
        name: "commands",
        by_lane: true,
        policy: "delete",
        settings: &[("retention.ms", 7 * DAY_MS)],
        demands: &[
            // The time of an input is the broker's: a client whose clock is wrong must not move anybody's timers.
            demand(TIME.0, Bound::Is(TIME.1), FindingCode::RecordTime),
            demand("retention.ms", Bound::AtLeast(COMMANDS_LEAST_MS), FindingCode::CommandsLost),
            demand("retention.bytes", Bound::Is("-1"), FindingCode::CommandsLost),
        ],
    },
    Part {
        name: "journal",
        by_lane: true,
        policy: "delete",
        settings: &[],
        demands: &[
            // Records leave only by DeleteRecords.
            demand("retention.ms", Bound::Is("-1"), FindingCode::Retention),
            demand("retention.bytes", Bound::Is("-1"), FindingCode::Retention),
        ],
    },
    Part {
        name: "changelog",
        by_lane: true,
        policy: "compact",
        settings: &[
            ("min.compaction.lag.ms", HOUR_MS),
            ("delete.retention.ms", DAY_MS),
            ("segment.bytes", 64 * MIB),
            ("segment.ms", 7 * DAY_MS),
        ],
        demands: &[
            demand("min.compaction.lag.ms", Bound::AtLeast(LAG_LEAST_MS), FindingCode::TornUnseen),
            demand("delete.retention.ms", Bound::AtLeast(DELETES_LEAST_MS), FindingCode::DeletesForgotten),
            advice(
                "delete.retention.ms",
                Bound::AtLeast(DAY_MS),
                "a store that is older than half of it is thrown away and restored from the beginning",
            ),
            advice(
                "segment.bytes",
                Bound::AtMost((256 * MIB) as f64),
                "the segment that is being written is never compacted, and every restore reads all of it",
            ),
            advice(
                "segment.ms",
                Bound::AtMost((7 * DAY_MS) as f64),
                "the segment that is being written is never compacted, and every restore reads all of it",
            ),
            advice(
                "min.compaction.lag.ms",
                Bound::AtMost(DAY_MS as f64),
                "records of that age are never compacted, and every restore reads all of them",
            ),
            advice(
                "min.cleanable.dirty.ratio",
                Bound::AtMost(0.5),
                "compaction waits until so large a share of the log is out of date, and every restore reads it",
            ),
            advice(
                "max.compaction.lag.ms",
                Bound::AtLeast(HOUR_MS),
                "the broker compacts the whole topic that often, however little has changed",
            ),
        ],
    },
    Part {
        name: "replies",
        by_lane: false,
        policy: "delete",
        settings: &[("retention.ms", HOUR_MS)],
        demands: &[],
    },
    Part {
        name: "dlq",
        by_lane: false,
        policy: "delete",
        settings: &[("retention.ms", 30 * DAY_MS)],
        demands: &[],
    },
];

/// The topics that an app with so many lanes needs.
pub fn plan(app: &str, partitions: i32) -> Vec<TopicSpec> {
    PARTS.iter().map(|part| spec(part, app, partitions)).collect()
}

fn spec(part: &Part, app: &str, partitions: i32) -> TopicSpec {
    let mut settings = vec![
        ("cleanup.policy", part.policy.to_string()),
        ("max.message.bytes", RECORD_MAX_BYTES.to_string()),
    ];
    settings.extend(part.settings.iter().map(|(key, value)| (*key, value.to_string())));
    let mut demands =
        vec![demand("cleanup.policy", Bound::Is(part.policy), FindingCode::CleanupPolicy), RECORD_SIZE];
    for demand in part.demands {
        // What has to be so is so from the beginning, whatever the broker's own default.
        if let Bound::Is(value) = demand.bound
            && settings.iter().all(|(key, _)| *key != demand.key)
        {
            settings.push((demand.key, value.to_string()));
        }
        demands.push(*demand);
    }
    if part.policy == "delete" && settings.iter().all(|(key, _)| *key != "retention.bytes") {
        settings.push(("retention.bytes", "-1".to_string()));
    }
    let name = format!("{app}.{}", part.name);
    TopicSpec { name, partitions, by_lane: part.by_lane, settings, demands }
}
