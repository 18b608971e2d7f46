//! Whether partitions were added to all topics of an app alike. Nothing in the topics themselves tells, but the state in
//! the changelog does: each position holds the number of lanes at its time.

use super::finding::{Finding, FindingCode};
use crate::codec::{key, row};
use crate::core::state::{Key, Row};
use crate::log::{Isolation, Log, LogError, LogReader, OffsetRange};
use std::time::Duration;

/// How many of the last records are looked at: each checkpoint ends with a position.
const LAST: i64 = 1_000;
/// How long the log may stay silent.
const SILENCE_MAX: Duration = Duration::from_secs(5);

/// What is wrong with the number of partitions of the changelog, by the state of the first lane that has any. Blocks.
pub(super) fn finding(log: &dyn Log, changelog: &str, partitions: i32) -> Result<Option<Finding>, LogError> {
    for partition in 0..partitions {
        let OffsetRange { start, end } = log.offsets(changelog, partition, Isolation::Committed)?;
        let from = start.max(end - LAST);
        if from >= end {
            continue;
        }
        let mut reader = log.read(changelog, partition, from, Isolation::Committed)?;
        if let Some(then) = lanes_then(&mut *reader, end)? {
            return Ok((then != partitions).then(|| grown(changelog, then, partitions)));
        }
    }
    Ok(None)
}

/// The number of lanes in the last position before `end`. What cannot be read is for the lane to tell.
fn lanes_then(reader: &mut dyn LogReader, end: i64) -> Result<Option<i32>, LogError> {
    let position = key::encode(&Key::Position);
    let mut then = None;
    while reader.position()? < end {
        let Some(record) = reader.next(SILENCE_MAX)? else { break };
        if record.key.as_ref() == Some(&position)
            && let Some(Ok(Row::Position(read))) = record.value.map(|v| row::decode(&Key::Position, &v))
            && read.partitions > 0
        {
            then = Some(read.partitions);
        }
    }
    Ok(then)
}

fn grown(changelog: &str, then: i32, now: i32) -> Finding {
    Finding {
        code: FindingCode::Grown,
        topic: changelog.into(),
        what: format!("it has {now} partitions, but its state was written when there were {then}"),
        remedy: "ids now belong to lanes that do not know them: make the topics anew from a copy, or move to a new app name"
            .into(),
    }
}
