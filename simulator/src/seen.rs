//! What was seen of every lane from outside: the journal, the committed changelog, what step bodies knew. The checks
//! that need no replay are here; those that do are in `model`.

use crate::broker::{Content, Decided, Place};
use crate::lanes::APP;
use crate::world::World;
use bytes::Bytes;
use sakia::codec::group::Group;
use sakia::codec::headers::Header;
use sakia::codec::{headers, journal, key, row};
use sakia::core::fact::{Fact, JournalRecord};
use sakia::core::history::Outcome;
use sakia::core::ids::{InstanceKey, OpId};
use sakia::core::state::{Key, Position, Row};
use std::collections::{BTreeMap, BTreeSet, HashSet};

/// A committed checkpoint, for the model of its lane.
pub(crate) struct Commit {
    pub(crate) lane: i32,
    pub(crate) position: Position,
    /// Its rows but the position.
    pub(crate) keys: Vec<Bytes>,
    /// What left with it: topic, partition, key, value and headers, in order within a partition.
    pub(crate) outgoing: Vec<Outgoing>,
}

/// A record that left a lane.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Outgoing {
    pub(crate) topic: String,
    pub(crate) partition: i32,
    pub(crate) key: Option<Bytes>,
    pub(crate) value: Option<Bytes>,
    pub(crate) headers: Vec<Header>,
}

#[derive(Default)]
pub(crate) struct LaneSeen {
    /// Every record that the journal ever had.
    pub(crate) journal: Vec<JournalRecord>,
    /// Which producer epoch wrote under which epoch of the lane, by transactional id.
    epochs: BTreeMap<(String, u64), u32>,
    /// Every committed record of the changelog, also those that compaction removed.
    changelog: Vec<(i64, Bytes, Option<Bytes>)>,
    /// What they make.
    pub(crate) state: BTreeMap<Bytes, Bytes>,
    pub(crate) position: Option<Position>,
    group_offset: Option<i64>,
    /// A late EndTxn hit a transaction of this lane, which only a mistake lets happen; then a restore must notice it.
    pub(crate) torn: bool,
    /// It left a part of a checkpoint.
    incomplete: bool,
    pub(crate) broken: bool,
}

#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) lanes: BTreeMap<i32, LaneSeen>,
    /// Numbers of the step results that a journal holds.
    durable: HashSet<u64>,
    /// By instance: the longest trace that a started body knew.
    pub(crate) pins: BTreeMap<String, Vec<String>>,
    attempts: BTreeMap<(InstanceKey, u32, OpId), u32>,
    fired: BTreeSet<(InstanceKey, u32, OpId)>,
    pub(crate) commits: Vec<Commit>,
    /// Where the last record of a lane is, by the partition that it was sent to.
    outgoing: BTreeMap<(i32, Place), i64>,
}

impl Seen {
    pub(crate) fn lane(&mut self, lane: i32) -> &mut LaneSeen {
        self.lanes.entry(lane).or_default()
    }

    pub(crate) fn group_offset(&self, lane: i32) -> Option<i64> {
        self.lanes.get(&lane).and_then(|l| l.group_offset)
    }

    /// A late EndTxn hit an open transaction of this id. Whether that tears a checkpoint: a journal is read uncommitted.
    pub(crate) fn torn(&mut self, id: &str) -> bool {
        let Some((lane, "a" | "b")) = lane_of(id) else { return false };
        self.lane(lane).torn = true;
        true
    }

    fn append(&mut self, lane: i32, producer_epoch: u32, bytes: &[u8]) -> Result<(), String> {
        let record = journal::decode(bytes).map_err(|e| e.to_string())?;
        self.durable.extend(record.facts.iter().flat_map(results));
        let seen = self.lanes.entry(lane).or_default();
        if seen.torn {
            return Ok(());
        }
        let last = seen.journal.last();
        let (seq, epoch, next) = last.map_or((0, 0, 0), |r| (r.seq, r.epoch, r.next_command));
        if record.seq != seq + 1 || record.epoch < epoch || record.next_command < next {
            return Err(format!(
                "journal record {} (epoch {}, next command {}) follows {seq} (epoch {epoch}, next command {next})",
                record.seq, record.epoch, record.next_command
            ));
        }
        seen.same_owner("journal", record.epoch, producer_epoch)?;
        for fact in &record.facts {
            self.fact(fact, record.at)?;
        }
        self.lane(lane).journal.push(record);
        Ok(())
    }

    fn fact(&mut self, fact: &Fact, at: u64) -> Result<(), String> {
        let (key, run, op, attempt) = match fact {
            Fact::TimerDue { key, run, op, due } => {
                if at < *due {
                    return Err(format!("timer {op} of {key} fired at {at}, before {due}"));
                }
                if !self.fired.insert((key.clone(), *run, *op)) {
                    return Err(format!("timer {op} of {key} fired twice"));
                }
                return Ok(());
            }
            Fact::StepEnded { key, run, op, attempt, .. }
            | Fact::AttemptFailed { key, run, op, attempt, .. } => (key, *run, *op, *attempt),
            Fact::Parked { .. } => return Ok(()),
        };
        let last = self.attempts.insert((key.clone(), run, op), attempt).unwrap_or(0);
        if attempt <= last {
            return Err(format!("attempt {attempt} of step {op} of {key} ended after attempt {last} did"));
        }
        Ok(())
    }

    fn body(&mut self, instance: &str, seen: &[String]) -> Result<(), String> {
        for entry in seen {
            if let Some(number) = numbers(entry).find(|n| !self.durable.contains(n)) {
                return Err(format!(
                    "a step of {instance} starts, but the result n{number} that it rests on is not durable"
                ));
            }
        }
        self.pin(instance, seen)
    }

    /// What a body knew, or what an ended instance has seen, must fit what other bodies of the instance knew.
    pub(crate) fn pin(&mut self, instance: &str, seen: &[String]) -> Result<(), String> {
        let pinned = self.pins.entry(instance.to_string()).or_default();
        let both = pinned.len().min(seen.len());
        if pinned[..both] != seen[..both] {
            return Err(format!("{instance} has seen {seen:?}, but a step was started on {pinned:?}"));
        }
        if seen.len() > pinned.len() {
            *pinned = seen.to_vec();
        }
        Ok(())
    }

    fn commit(&mut self, decided: &Decided) -> Result<(), String> {
        let Some((lane, role)) = lane_of(&decided.id).filter(|(_, role)| *role != "journal") else {
            return Ok(());
        };
        // A late EndTxn may end a transaction that holds nothing yet: its owner is refused the rest.
        if decided.written.is_empty() {
            return Ok(());
        }
        let (mut rows, mut outgoing, mut groups) = (Vec::new(), Vec::new(), Vec::new());
        for (place, offset, entry) in &decided.written {
            let Content::Data { key, value, headers } = &entry.content else { continue };
            if *place.0 == *format!("{APP}.changelog") {
                let group = headers.iter().find(|(n, _)| n == headers::GROUP).map(|(_, v)| Group::decode(v));
                groups.push(group.ok_or("a changelog record without a group")?.map_err(|e| e.to_string())?);
                rows.push((*offset, key.clone().unwrap_or_default(), value.clone()));
            } else {
                let last = self.outgoing.insert((lane, place.clone()), *offset);
                if last.is_some_and(|last| last > *offset) {
                    return Err(format!(
                        "a record of lane {lane} at {place:?} {offset} is of a later checkpoint than {last:?}"
                    ));
                }
                let (topic, partition) = (place.0.to_string(), place.1);
                let (key, value, headers) = (key.clone(), value.clone(), headers.clone());
                outgoing.push(Outgoing { topic, partition, key, value, headers });
            }
        }
        let seen = self.lanes.entry(lane).or_default();
        let whole = are_whole(&groups);
        if seen.torn {
            seen.incomplete |= !whole && !groups.is_empty();
            return Ok(());
        }
        if !whole {
            return Err(format!("checkpoint of lane {lane} is not whole: {groups:?}"));
        }
        let mut from = 0;
        let mut position = Position::default();
        for (at, _) in groups.iter().enumerate().filter(|(_, group)| group.is_last()) {
            position = seen.advance(lane, &rows[from..=at])?;
            seen.same_owner(role, position.epoch, decided.epoch)?;
            from = at + 1;
        }
        let keys = rows.into_iter().map(|(_, key, _)| key).collect();
        self.commits.push(Commit { lane, position, keys, outgoing });
        Ok(())
    }
}

impl LaneSeen {
    /// Two owners never write under the same epoch.
    fn same_owner(&mut self, role: &str, epoch: u64, producer_epoch: u32) -> Result<(), String> {
        let first = *self.epochs.entry((role.to_string(), epoch)).or_insert(producer_epoch);
        if first != producer_epoch {
            return Err(format!("two owners wrote under epoch {epoch} ({role})"));
        }
        Ok(())
    }

    /// The last journal record with facts: an owner that only claims its lane need not write a checkpoint.
    pub(crate) fn last_facts(&self) -> u64 {
        self.journal.iter().rev().find(|r| !r.facts.is_empty()).map_or(0, |r| r.seq)
    }

    fn advance(&mut self, lane: i32, rows: &[(i64, Bytes, Option<Bytes>)]) -> Result<Position, String> {
        for (offset, key, value) in rows {
            self.stays_ended(key, value.as_ref())?;
            match value {
                Some(value) => self.state.insert(key.clone(), value.clone()),
                None => self.state.remove(key),
            };
            self.changelog.push((*offset, key.clone(), value.clone()));
        }
        let bytes = self.state.get(&key::encode(&Key::Position)).ok_or("a changelog without a position")?;
        let Ok(Row::Position(position)) = row::decode(&Key::Position, bytes) else {
            return Err("the position cannot be read".into());
        };
        let last = self.position.clone().unwrap_or_default();
        let durable = self.journal.last().map_or(0, |r| r.seq);
        if position.checkpoint != last.checkpoint + 1
            || position.epoch < last.epoch
            || position.next_command < last.next_command
            || position.journal_seq < last.journal_seq
            || position.now < last.now
        {
            return Err(format!("lane {lane}: {position:?} follows {last:?}"));
        }
        if position.journal_seq > durable {
            return Err(format!(
                "lane {lane}: a checkpoint rests on journal record {}, durable are {durable}",
                position.journal_seq
            ));
        }
        if position.checkpoint % 2 == 0 {
            self.group_offset = Some(position.next_command);
        }
        self.position = Some(position.clone());
        Ok(position)
    }

    /// How an instance has ended never changes.
    fn stays_ended(&self, key: &Bytes, value: Option<&Bytes>) -> Result<(), String> {
        let Some(last) = self.state.get(key).and_then(|bytes| outcome_of(key, bytes)) else { return Ok(()) };
        let now = value.and_then(|bytes| outcome_of(key, bytes));
        if now.as_ref() != Some(&last) {
            return Err(format!("{:?} has ended with {last:?}, and then with {now:?}", key::decode(key)));
        }
        Ok(())
    }

    /// What the changelog makes up to an offset.
    fn state_before(&self, next_offset: i64) -> BTreeMap<Bytes, Bytes> {
        let mut state = BTreeMap::new();
        for (_, key, value) in self.changelog.iter().take_while(|(offset, ..)| *offset < next_offset) {
            match value {
                Some(value) => state.insert(key.clone(), value.clone()),
                None => state.remove(key),
            };
        }
        state
    }
}

impl World {
    pub(crate) fn check(&mut self, checked: Result<(), String>) {
        if let Err(what) = checked {
            self.violated(what);
        }
    }

    /// A lane hands a record to its journal. Nothing in the simulator's workflows can park: it would be a fault that was
    /// taken for one in the code.
    pub(crate) fn check_handed(&mut self, record: &[u8]) {
        let facts = journal::decode(record).map(|record| record.facts).unwrap_or_default();
        for fact in facts {
            if let Fact::Parked { key, park, .. } = fact {
                self.violated(format!("{key} parks: {}", park.message));
            }
        }
    }

    /// The journal has a new record.
    pub(crate) fn check_append(&mut self, lane: i32, producer_epoch: u32, record: &[u8]) {
        let checked = self.seen.append(lane, producer_epoch, record);
        self.check(checked);
    }

    /// A transaction was committed.
    pub(crate) fn check_commit(&mut self, decided: &Decided) {
        let checked = self.seen.commit(decided);
        self.check(checked);
    }

    /// A step's body starts.
    pub(crate) fn check_body(&mut self, process: usize, key: &str, seen: &[String]) {
        self.note(format_args!("process {process} starts {key}, knowing {seen:?}"));
        let instance = key.rsplit_once('/').map_or(key, |(instance, _)| instance);
        let checked = self.seen.body(instance, seen);
        self.check(checked);
    }

    /// A store was written: it holds what the changelog makes up to its offset, no more and no less.
    pub(crate) fn check_store(&mut self, process: usize, lane: i32) {
        let Some(disk) = self.disks.get(&(process, lane)) else { return };
        let seen = self.seen.lanes.entry(lane).or_default();
        if seen.torn {
            return;
        }
        let next = disk.content.next_offset;
        let last = seen.changelog.last().map_or(-1, |(offset, ..)| *offset);
        let expected = if next == last + 1 { &seen.state } else { &seen.state_before(next) };
        if next > last + 1 || disk.content.entries != *expected {
            let differs = difference(&disk.content.entries, expected);
            self.violated(format!(
                "the store of lane {lane} in process {process} at offset {next} is not what the changelog (to {last}) \
                 makes: {differs}"
            ));
        }
    }

    /// A lane was taken over.
    pub(crate) fn check_taken(&mut self, lane: i32) {
        if self.seen.lane(lane).incomplete {
            self.violated(format!("lane {lane} runs on a torn checkpoint"));
        }
    }

    /// A lane says that its log is not what it must be.
    pub(crate) fn check_broken(&mut self, lane: i32, why: &str) {
        let seen = self.seen.lane(lane);
        seen.broken = true;
        if !seen.torn {
            self.violated(format!("lane {lane} stopped, though nothing was done to its log: {why}"));
        }
    }
}

/// How the instance of this row has ended, if it is one and has.
fn outcome_of(key: &Bytes, value: &Bytes) -> Option<Outcome> {
    let key = key::decode(key).ok().filter(|key| matches!(key, Key::Instance(_)))?;
    match row::decode(&key, value) {
        Ok(Row::Instance(instance)) => instance.status.outcome(),
        _ => None,
    }
}

/// Whether these are all rows of one checkpoint, or of several that follow each other.
fn are_whole(groups: &[Group]) -> bool {
    let follows = |pair: &[Group]| match pair[0].is_last() {
        true => pair[1].index == 0 && pair[1].checkpoint == pair[0].checkpoint + 1,
        false => Group { index: pair[0].index + 1, ..pair[0] } == pair[1],
    };
    groups.first().is_some_and(|first| first.index == 0)
        && groups.last().is_some_and(Group::is_last)
        && groups.windows(2).all(follows)
}

/// Lane and role of a transactional id.
fn lane_of(id: &str) -> Option<(i32, &str)> {
    let (lane, role) = id.strip_prefix(APP)?.strip_prefix('-')?.split_once('-')?;
    Some((lane.parse().ok()?, role))
}

/// Numbers of the step results that a fact holds.
fn results(fact: &Fact) -> Vec<u64> {
    match fact {
        Fact::StepEnded { outcome: Ok(payload), .. } => numbers(&String::from_utf8_lossy(payload)).collect(),
        Fact::StepEnded { outcome: Err(failure), .. } => numbers(&failure.message).collect(),
        _ => Vec::new(),
    }
}

/// Numbers of step results in a text: `n` and digits.
fn numbers(text: &str) -> impl Iterator<Item = u64> + '_ {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric());
    words.filter_map(|word| word.strip_prefix('n').and_then(|n| n.parse().ok()))
}

/// The first entry that two states do not share.
fn difference(found: &BTreeMap<Bytes, Bytes>, expected: &BTreeMap<Bytes, Bytes>) -> String {
    let differs = |key: &&Bytes| found.get(*key) != expected.get(*key);
    match found.keys().chain(expected.keys()).find(differs) {
        Some(key) => {
            let name = key::decode(key).map_or_else(|e| e.to_string(), |k| format!("{k:?}"));
            let row = |state: &BTreeMap<Bytes, Bytes>| {
                state.get(key).map(|bytes| String::from_utf8_lossy(bytes).into_owned())
            };
            format!("{name}: found {:?}, expected {:?}", row(found), row(expected))
        }
        None => "the offset".into(),
    }
}
