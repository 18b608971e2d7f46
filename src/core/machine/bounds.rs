//! What stops a turn that asks for too much: its operations become rows and records, and those have bounds.

use super::Work;
use crate::core::error::{Park, ParkCode};
use crate::core::history::{Ask, Ends, Op, TurnInput};
use crate::core::ids::{NAME_MAX_BYTES, OpId};
use crate::core::limits::Limits;
use crate::core::state::Instance;
use std::collections::BTreeSet;

/// Operations that one turn may ask for, in terms of how many may be open: some are sent or dropped at once.
const ASKED_PER_OPEN: usize = 4;

/// Why the turn cannot be. `ends`: it is the last one, and nothing stays open.
pub(super) fn exceeded(
    work: &Work<'_>,
    instance: &Instance,
    input: &TurnInput,
    ops: &[Op],
    ends: bool,
) -> Option<Park> {
    let limits = work.limits;
    if let Some(park) = ops.iter().find_map(|op| op_over_limit(&op.ask, limits.payload_bytes)) {
        return Some(park);
    }
    if instance.turns >= limits.turns {
        let message = format!("its history has {} turns, the limit", instance.turns);
        return Some(Park::new(ParkCode::HistoryTooLong, message));
    }
    too_many(limits, instance, input, ops, ends).map(|message| Park::new(ParkCode::TooManyOps, message))
}

fn too_many(
    limits: &Limits,
    instance: &Instance,
    input: &TurnInput,
    ops: &[Op],
    ends: bool,
) -> Option<String> {
    let names = instance.open.iter().map(|open| open.mark.what.name_len()).sum::<usize>()
        + ops.iter().map(|op| op.ask.name_len()).sum::<usize>();
    if names > limits.names_bytes {
        return Some(format!(
            "the names of what it has open and asks for have {names} bytes, the limit is {}",
            limits.names_bytes
        ));
    }
    let most = limits.open_ops;
    if instance.open.len() + ops.len() <= most {
        return None;
    }
    let sends = ops.iter().filter(|op| matches!(op.ask, Ask::Send { .. })).count();
    let open = open_after(instance, input, ops);
    if sends > most {
        Some(format!("it sends {sends} records at once, the limit is {most}"))
    } else if ops.len() > ASKED_PER_OPEN * most {
        Some(format!("it asks for {} operations at once, the limit is {}", ops.len(), ASKED_PER_OPEN * most))
    } else if open > most && !ends {
        Some(format!("{open} operations are open at once, the limit is {most}"))
    } else {
        None
    }
}

/// How many operations are open when the turn is done.
fn open_after(instance: &Instance, input: &TurnInput, ops: &[Op]) -> usize {
    let mut open: BTreeSet<OpId> = instance.open.iter().map(|open| open.mark.id).collect();
    match input.ends() {
        Ends::None => {}
        Ends::One(op) => drop(open.remove(&op)),
        Ends::All => open.clear(),
    }
    for op in ops {
        match op.ask {
            Ask::Drop => drop(open.remove(&op.id)),
            Ask::Send { .. } => {}
            Ask::Run { .. } | Ask::Sleep { .. } | Ask::Receive { .. } | Ask::Call { .. } => {
                open.insert(op.id);
            }
        }
    }
    open.len()
}

fn op_over_limit(ask: &Ask, limit: usize) -> Option<Park> {
    match ask {
        Ask::Send { topic, key, value } => {
            payload_over_limit(|| format!("a record for \"{topic}\""), key.len() + value.len(), limit)
        }
        Ask::Call { child, input } => {
            payload_over_limit(|| format!("the start of {child}"), input.len(), limit)
                .or_else(|| name_over_limit("a child", &child.id, 1))
                .or_else(|| name_over_limit("a child's workflow", &child.workflow, 1))
        }
        Ask::Run { name } => name_over_limit("a step", name, 0),
        Ask::Receive { signal } => name_over_limit("a signal", signal, 0),
        Ask::Sleep { .. } | Ask::Drop => None,
    }
}

fn payload_over_limit(what: impl Fn() -> String, len: usize, limit: usize) -> Option<Park> {
    (len > limit).then(|| {
        let message = format!("{} has {len} bytes, the limit is {limit}: send a reference instead", what());
        Park::new(ParkCode::PayloadTooLarge, message)
    })
}

/// Another lane would refuse a command for such a name, and a call would wait for ever.
fn name_over_limit(what: &str, name: &str, least: usize) -> Option<Park> {
    (!(least..=NAME_MAX_BYTES).contains(&name.len())).then(|| {
        let said =
            format!("the name of {what} has {} bytes, it may have {least} to {NAME_MAX_BYTES}", name.len());
        Park::new(ParkCode::BadName, said)
    })
}
