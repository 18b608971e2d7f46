//! What `show` and `list` say. Reads the state; never runs a workflow's code.

use super::overlay::Overlay;
use crate::codec::key::INSTANCE;
use crate::codec::reply::{Description, Line, Page, Summary};
use crate::core::history::{Length, MarkKind};
use crate::core::ids::InstanceKey;
use crate::core::state::{DigestEnd, DigestEntry, Instance, Key, OpenOp, Row, Status};
use crate::core::tables::{Tables, history};

/// Instances in one answer to `list`.
const PAGE_LEN: usize = 500;

/// Describes one instance, if there is one.
pub(super) fn instance(tables: &mut Overlay, key: &InstanceKey) -> Option<Description> {
    let Some(Row::Instance(found)) = tables.get(&Key::Instance(key.clone())) else { return None };
    let mut digest = found.digest.clone();
    if !found.status.has_ended() {
        let turns = history(tables, key, &found).unwrap_or_default();
        digest = crate::core::machine::digest_of(turns, usize::MAX);
    }
    let mut lines: Vec<Line> = digest.entries.iter().map(ended_line).collect();
    for open in &found.open {
        lines.push(open_line(tables, key, open));
    }
    lines.sort_by_key(|l| l.since_ms);
    let result = match &found.status {
        Status::Completed(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
        _ => None,
    };
    let signals = found.mail.iter().map(|(_, name)| name.to_string()).collect();
    Some(Description { summary: summary(key, &found), lines, omitted: digest.omitted, signals, result })
}

/// The instances of the lane that fit, up to a bound.
pub(super) fn list(
    tables: &Overlay,
    partition: i32,
    workflow: Option<&str>,
    status: Option<&str>,
) -> Result<Page, String> {
    let mut page = Page { partition, instances: Vec::new(), more: false };
    tables.scan(INSTANCE, |key, row| {
        let (Key::Instance(key), Row::Instance(found)) = (key, row) else { return };
        let fits =
            workflow.is_none_or(|w| w == &*key.workflow) && status.is_none_or(|s| s == found.status.word());
        if !fits {
            return;
        }
        if page.instances.len() < PAGE_LEN {
            page.instances.push(summary(&key, &found));
        } else {
            page.more = true;
        }
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
        note,
    }
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
        what: entry.mark.to_string(),
        how,
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
    Line { since_ms: open.since, until_ms: None, what: open.mark.to_string(), how, attempts }
}
