//! What an ended instance keeps of its history: operations and times, no payloads.

use crate::core::history::{Mark, MarkKind, Turn, TurnInput};
use crate::core::ids::{Millis, OpId};
use crate::core::state::{Digest, DigestEnd, DigestEntry};
use std::collections::BTreeMap;

/// What happened in these turns, up to `limit` operations.
pub fn of(turns: Vec<Turn>, limit: usize) -> Digest {
    let mut digest = Digest::default();
    let mut open: BTreeMap<OpId, (Mark, Millis)> = BTreeMap::new();
    for turn in turns {
        for (op, attempts, end) in ended(&turn.input, &open) {
            if let Some((mark, since)) = open.remove(&op) {
                push(&mut digest, limit, DigestEntry { mark, since, until: turn.at, attempts, end });
            }
        }
        for mark in turn.asked {
            match mark.what {
                MarkKind::Drop => {
                    if let Some((mark, since)) = open.remove(&mark.id) {
                        let end = DigestEnd::Dropped;
                        push(
                            &mut digest,
                            limit,
                            DigestEntry { mark, since, until: turn.at, attempts: 0, end },
                        );
                    }
                }
                MarkKind::Send(_) => {
                    let (since, end) = (turn.at, DigestEnd::Ok);
                    push(&mut digest, limit, DigestEntry { mark, since, until: turn.at, attempts: 0, end });
                }
                _ => {
                    open.insert(mark.id, (mark, turn.at));
                }
            }
        }
    }
    digest
}

/// The operations that an input ends: which, after how many attempts, and how.
fn ended(input: &TurnInput, open: &BTreeMap<OpId, (Mark, Millis)>) -> Vec<(OpId, u32, DigestEnd)> {
    let end = |outcome: &crate::core::history::Outcome| match outcome {
        Ok(_) => DigestEnd::Ok,
        Err(f) => DigestEnd::Failed(f.message.chars().take(200).collect()),
    };
    match input {
        TurnInput::Start(_) => Vec::new(),
        TurnInput::Step { op, attempts, outcome } => vec![(*op, *attempts, end(outcome))],
        TurnInput::Child { op, outcome } => vec![(*op, 0, end(outcome))],
        TurnInput::Timer { op } | TurnInput::Signal { op, .. } => vec![(*op, 0, DigestEnd::Ok)],
        TurnInput::Cancel => open.keys().map(|op| (*op, 0, DigestEnd::Cancelled)).collect(),
    }
}

fn push(digest: &mut Digest, limit: usize, entry: DigestEntry) {
    if digest.entries.len() < limit {
        digest.entries.push(entry);
    } else {
        digest.omitted += 1;
    }
}
