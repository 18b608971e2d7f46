//! After a run: what the stores hold is what the model makes of the commands, and what anybody restores from the
//! changelog alone.
//!
//! A process with an empty disk takes all lanes. Its stores must be, byte for byte, what the last owners had; every
//! instance must have come to what its inputs say; and nothing else may be left of instances that have ended.

use super::commands::{Follower, text};
use super::judgement::Judgement;
use super::ledger::Wrong;
use super::lock::lock;
use super::stage::Stage;
use super::worker::Worker;
use anyhow::{Context, Result};
use bytes::Bytes;
use sakia::codec::{key, row};
use sakia::core::state::{Instance, Key, Row};
use sakia::store::rocks::{OFFSET_KEY, dump_folder, read_folder};
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

const FRESH: &str = "fresh";
/// Sessions of the static members must end first; then all lanes are restored at once.
const TAKEN_WITHIN: Duration = Duration::from_secs(120);
const PATIENCE: Duration = Duration::from_secs(60);
/// Leftovers that are named; the rest are counted.
const NAMED_MAX: usize = 5;

/// What was compared.
#[derive(Debug, Clone, Copy, Default)]
pub struct Compared {
    /// Commands that the model was given.
    pub commands: u64,
    /// Those that lanes sent each other.
    pub between_lanes: u64,
    /// Instances whose result was recomputed.
    pub instances: u64,
    /// Rows of the stores.
    pub rows: u64,
}

/// Compares. All workers have ended, and nothing is open.
pub fn compare(stage: &mut Stage, follower: &Follower) -> Result<Compared> {
    let accuse = |stage: &Stage, wrong, what: &str| lock(&stage.ledger).accuse(wrong, what);
    if let Err(why) = restore(stage)? {
        accuse(stage, Wrong::Stuck, &why);
        return Ok(Compared::default());
    }
    let model = &follower.model;
    let mut compared =
        Compared { commands: model.commands, between_lanes: model.between_lanes, ..Compared::default() };
    let mut judgement = Judgement::new(model);
    let fresh = stage.folder.join(format!("{FRESH}.state"));
    for lane in 0..stage.options.lanes {
        let dump = dump_folder(&fresh, lane).with_context(|| format!("the restored store of lane {lane}"))?;
        compared.rows += dump.len() as u64;
        if let Some(how) = differs_from_all(stage, lane, &dump) {
            let what = format!("no worker's store of lane {lane} is what the changelog restores: {how}");
            accuse(stage, Wrong::Changed, &what);
        }
        for what in judge_rows(lane, &dump, &mut judgement) {
            accuse(stage, Wrong::Changed, &what);
        }
    }
    compared.instances = judgement.compared;
    for (wrong, what) in judgement.end() {
        accuse(stage, wrong, &what);
    }
    let mut ledger = lock(&stage.ledger);
    ledger.compare_balances(&model.balances);
    Ok(compared)
}

/// One process with an empty disk takes all lanes, and ends. Says why not.
fn restore(stage: &mut Stage) -> Result<Result<(), String>> {
    let mut fresh = stage.new_worker(FRESH, 0, false);
    fresh.start()?;
    let log = stage.folder.join(format!("{FRESH}.log"));
    let lanes = usize::try_from(stage.options.lanes)?;
    let taken = stage.pass_without_workers(TAKEN_WITHIN, || lanes_taken(&log).len() == lanes)?;
    fresh.stop(PATIENCE)?;
    let missing = || format!("a process with an empty disk took only the lanes {:?}", lanes_taken(&log));
    Ok(if taken { Ok(()) } else { Err(missing()) })
}

/// The lanes that a worker's log says it has taken over.
fn lanes_taken(log: &Path) -> BTreeSet<String> {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let taken = text.lines().filter(|line| line.contains("lane taken over"));
    taken
        .filter_map(|line| line.split(' ').find_map(|word| word.strip_prefix("lane=")))
        .map(str::to_owned)
        .collect()
}

type Dump = Vec<(Bytes, Bytes)>;

/// How the nearest of the workers' own stores differs, unless one is the same.
fn differs_from_all(stage: &Stage, lane: i32, fresh: &Dump) -> Option<String> {
    let mut how = Vec::new();
    for worker in &stage.workers {
        match dump_folder(&worker.state, lane) {
            Ok(own) if own == *fresh => return None,
            Ok(own) => how.push(format!("{}: {}", worker.id, difference(&own, fresh))),
            // Nothing has read what was flipped there; whoever does throws the store away.
            Err(error) if error.to_string().contains("Corruption") && is_flipped(worker, lane, fresh) => {
                return None;
            }
            // It never had the lane, or its disk was lost.
            Err(error) => how.push(format!("{}: {error}", worker.id)),
        }
    }
    Some(how.join("; "))
}

/// Whether bytes of this store were flipped, and it is that of the lane's last owner: it stands where the restored one does.
fn is_flipped(worker: &Worker, lane: i32, fresh: &Dump) -> bool {
    let position = key::encode(&Key::Position);
    let restored = fresh.iter().find(|(k, _)| *k == position).map(|(_, v)| v);
    let own = read_folder(&worker.state, lane, &position).ok().flatten();
    worker.was_flipped && own.is_some() && own.as_ref() == restored
}

fn difference(own: &Dump, fresh: &Dump) -> String {
    let (a, b): (BTreeSet<_>, BTreeSet<_>) = (own.iter().collect(), fresh.iter().collect());
    let only = |rows: Vec<&&(Bytes, Bytes)>| {
        let names: Vec<_> =
            rows.iter().take(NAMED_MAX).map(|(k, _)| format!("{:?}", key::decode(k))).collect();
        format!("{} rows: {}", rows.len(), names.join(", "))
    };
    let (more, less) = (a.difference(&b).collect(), b.difference(&a).collect());
    format!("only here {}; only restored {}", only(more), only(less))
}

/// Gives every instance to the judgement, and names what else there is.
fn judge_rows(lane: i32, dump: &Dump, judgement: &mut Judgement<'_>) -> Vec<String> {
    let mut left = Vec::new();
    for (k, v) in dump.iter().filter(|(k, _)| *k != OFFSET_KEY) {
        let read = key::decode(k).and_then(|key| row::decode(&key, v).map(|row| (key, row)));
        match read {
            Ok((Key::Position, Row::Position(_))) => {}
            Ok((Key::Instance(name), Row::Instance(instance))) => {
                let outcome = match instance.status.outcome() {
                    Some(outcome) => text(&outcome),
                    None => instance.status.word().into(),
                };
                judgement.saw(lane, &name.workflow, &name.id, &outcome);
                if holds_more(&instance) {
                    left.push(format!("{name}: {instance:?}"));
                }
            }
            Ok((key, _)) => left.push(format!("{key:?}")),
            Err(error) => left.push(format!("{error}")),
        }
    }
    let count = left.len();
    left.truncate(NAMED_MAX);
    left.iter().map(|row| format!("lane {lane} holds {count} rows of what has ended, as {row}")).collect()
}

/// It has ended, and yet something of it waits.
fn holds_more(instance: &Instance) -> bool {
    let waits = !instance.open.is_empty() || !instance.mail.is_empty() || !instance.waiters.is_empty();
    instance.status.has_ended() && (waits || instance.inbox.0 != instance.inbox.1)
}
