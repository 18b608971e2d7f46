//! What `show` and `list` say. Reads the state; never runs a workflow's code.

use super::overlay::Overlay;
use crate::codec::key::INSTANCE;
use crate::codec::reply::{Description, Line, Page, Summary};
use crate::core::history::{Length, MarkKind};
use crate::core::ids::InstanceKey;
use crate::core::state::{DigestEnd, DigestEntry, Instance, Key, OpenOp, Row, Status};
use crate::core::tables::{Tables, history};
use std::ops::ControlFlow;

/// Instances in one answer to `list`.
const PAGE_LEN: usize = 500;
/// Rows that are looked at for one answer to `list`: meanwhile the lane does nothing else.
const PAGE_ROWS: usize = 4_000_000;
/// Lines in one answer to `show`, of those that have ended and of those that are open.
const LINES: usize = 500;
/// Bytes of each text in an answer.
const TEXT_LEN: usize = 300;
/// Bytes of a result that `show` prints; `await` has all of it.
const RESULT_BYTES: usize = 256 * 1024;

/// Describes one instance, if there is one.
pub(super) fn instance(tables: &mut Overlay, key: &InstanceKey) -> Option<Description> {
    let Some(Row::Instance(found)) = tables.get(&Key::Instance(key.clone())) else { return None };
    let mut digest = found.digest.clone();
    if !found.status.has_ended() {
        let turns = history(tables, key, &found).unwrap_or_default();
        digest = crate::core::machine::digest_of(turns, usize::MAX);
    }
    // Of one that has not ended, the last of what happened: that is where it hangs.
    let left_out = digest.entries.len().saturating_sub(LINES);
    let mut lines: Vec<Line> = digest.entries.iter().skip(left_out).map(ended_line).collect();
    for open in found.open.iter().take(LINES) {
        lines.push(open_line(tables, key, open));
    }
    lines.sort_by_key(|l| l.since_ms);
    let left_out = left_out + found.open.len().saturating_sub(LINES);
    let omitted = digest.omitted.saturating_add(u32::try_from(left_out).unwrap_or(u32::MAX));
    let signals = found.mail.iter().map(|(_, name)| cut(name)).collect();
    let mut summary = summary(key, &found);
    let result = match &found.status {
        Status::Completed(bytes) if bytes.len() > RESULT_BYTES => {
            summary.note = format!("its result of {} bytes is too long to be shown", bytes.len());
            None
        }
        Status::Completed(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
        _ => None,
    };
    Some(Description { summary, lines, omitted, signals, result })
}

/// The instances of the lane that fit, up to a bound, of so many of its instances as can be looked at.
pub(super) fn list(
    tables: &Overlay,
    partition: i32,
    workflow: Option<&str>,
    status: Option<&str>,
) -> Result<Page, String> {
    let mut page = Page { partition, instances: Vec::new(), more: false };
    let mut rows = 0;
    tables.scan(INSTANCE, |key, row| {
        let (Key::Instance(key), Row::Instance(found)) = (key, row) else { return ControlFlow::Continue(()) };
        rows += 1;
        if rows > PAGE_ROWS || page.instances.len() == PAGE_LEN {
            page.more = true;
            return ControlFlow::Break(());
        }
        let fits =
            workflow.is_none_or(|w| w == &*key.workflow) && status.is_none_or(|s| s == found.status.word());
        if fits {
            page.instances.push(summary(&key, &found));
        }
        ControlFlow::Continue(())
    })?;
    Ok(page)
}

fn summary(key: &InstanceKey, found: &Instance) -> Summary {
    let note = match &found.status {
        Status::Running => {
            let waits: Vec<String> = found.open.iter().take(3).map(|o| o.mark.to_string()).collect();
            format!("waits for {}", waits.join(", "))
        }
        Status::Parked(park) => format!("{}: {}", park.code.code(), park.message),
        Status::Completed(_) => String::new(),
        Status::Failed(failure) | Status::Cancelled(failure) => failure.message.clone(),
    };
    Summary {
        workflow: key.workflow.to_string(),
        id: key.id.to_string(),
        status: found.status.word().to_string(),
        started_ms: found.started,
        updated_ms: found.updated,
        note: cut(&note),
    }
}

fn cut(text: &str) -> String {
    crate::core::error::cut(text, TEXT_LEN)
}

fn ended_line(entry: &DigestEntry) -> Line {
    let how = match &entry.end {
        DigestEnd::Ok => "ok".to_string(),
        DigestEnd::Failed(text) => format!("failed: {text}"),
        DigestEnd::Dropped => "dropped".to_string(),
        DigestEnd::Cancelled => "cancelled".to_string(),
    };
    Line {
        since_ms: entry.since,
        until_ms: Some(entry.until),
        what: cut(&entry.mark.to_string()),
        how: cut(&how),
        attempts: entry.attempts,
    }
}

fn open_line(tables: &mut Overlay, key: &InstanceKey, open: &OpenOp) -> Line {
    let mut attempts = 0;
    let how = match &open.mark.what {
        MarkKind::Run(_) => match tables.get(&Key::Step(key.clone(), open.mark.id)) {
            Some(Row::Step(step)) => {
                attempts = step.failed_attempts + 1;
                match step.last_failure {
                    Some(failure) => format!("tried {} times, last: {failure}", step.failed_attempts),
                    None => "running".to_string(),
                }
            }
            _ => "ended, to be delivered".to_string(),
        },
        MarkKind::Sleep(ms) => format!("waiting for the timer of {}", Length(*ms)),
        MarkKind::Receive(name) => format!("waiting for signal \"{name}\""),
        MarkKind::Call(child) => format!("waiting for the result of {child}"),
        MarkKind::Send(_) | MarkKind::Drop => String::new(),
    };
    let (what, how) = (cut(&open.mark.to_string()), cut(&how));
    Line { since_ms: open.since, until_ms: None, what, how, attempts }
}
