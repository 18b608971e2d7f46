//! Whether partitions were added to all topics of an app alike. Nothing in the topics themselves tells, but the state in
//! the changelog does: each position holds the number of lanes at its time.

use super::finding::{Finding, FindingCode};
use crate::codec::{key, row};
use crate::core::state::{Key, Row};
use crate::log::{Isolation, Log, LogError, LogReader, OffsetRange};
use std::time::{Duration, Instant};

/// How many of the last records are looked at: each checkpoint ends with a position.
const LAST: i64 = 1_000;
/// How long reading may take, over all lanes. If it takes longer, each lane still looks at its own state.
const PATIENCE: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(100);

/// What is wrong with the number of partitions of the changelog, by the state of the first lane that has any. What cannot
/// be read is for the lanes to tell: they wait until it can be. Blocks.
pub(super) fn finding(log: &dyn Log, changelog: &str, partitions: i32) -> Option<Finding> {
    let until = Instant::now() + PATIENCE;
    let then = (0..partitions)
        .take_while(|_| Instant::now() < until)
        .find_map(|partition| in_state(log, changelog, partition, until).transpose());
    match then? {
        Ok(then) => (then != partitions).then(|| grown(changelog, then, partitions)),
        Err(error) => {
            tracing::warn!("{changelog} could not be read to see whether partitions were added: {error}");
            None
        }
    }
}

/// The number of lanes by the state of one of them, if it has any.
fn in_state(log: &dyn Log, changelog: &str, partition: i32, until: Instant) -> Result<Option<i32>, LogError> {
    let OffsetRange { start, end } = log.offsets(changelog, partition, Isolation::Committed)?;
    let from = start.max(end - LAST);
    if from >= end {
        return Ok(None);
    }
    let mut reader = log.read(changelog, partition, from, Isolation::Committed)?;
    lanes_then(&mut *reader, end, until)
}

/// The number of lanes in the last position before `end`.
fn lanes_then(reader: &mut dyn LogReader, end: i64, until: Instant) -> Result<Option<i32>, LogError> {
    let position = key::encode(&Key::Position);
    let mut then = None;
    while reader.position()? < end && Instant::now() < until {
        // None came yet, or only the marker of a transaction.
        let Some(record) = reader.next(POLL)? else { continue };
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::state::Position;
    use crate::log::Record;

    /// A record with a position in it at each of some offsets, markers at the others.
    struct Tail(i64, fn(i64) -> Option<Position>);

    impl LogReader for Tail {
        fn next(&mut self, _: Duration) -> Result<Option<Record>, LogError> {
            self.0 += 1;
            Ok((self.1)(self.0 - 1).map(|position| Record {
                partition: 0,
                offset: self.0 - 1,
                timestamp_ms: 0,
                key: Some(key::encode(&Key::Position)),
                value: Some(row::encode(&Row::Position(position))),
                headers: Vec::new(),
            }))
        }

        fn position(&mut self) -> Result<i64, LogError> {
            Ok(self.0)
        }
    }

    #[test]
    fn the_last_position_counts_and_markers_end_nothing() {
        let mut tail = Tail(0, |offset| {
            let partitions = if offset < 4 { 2 } else { 8 };
            (offset % 2 == 1).then(|| Position { partitions, ..Position::default() })
        });
        let until = Instant::now() + PATIENCE;
        assert_eq!(lanes_then(&mut tail, 6, until).unwrap(), Some(8));
        assert_eq!(lanes_then(&mut Tail(0, |_| None), 6, until).unwrap(), None);
        let old = |_| Some(Position::default());
        assert_eq!(lanes_then(&mut Tail(0, old), 6, until).unwrap(), None, "written before it was kept");
    }
}
