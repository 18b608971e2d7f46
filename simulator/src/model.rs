//! A second opinion on every lane: the core, fed with what the log holds, in the order that the journal says. What a
//! checkpoint commits must be what it says, rows and outgoing records alike.

use crate::broker::Broker;
use crate::lanes::{lane_config, partition_for};
use crate::outside::{self, Notes};
use crate::program::registry;
use crate::seen::{Commit, Outgoing, Seen};
use crate::world::Sim;
use bytes::Bytes;
use sakia::codec::command::{self, Incoming};
use sakia::codec::reply::{self, Answer};
use sakia::codec::{key, row};
use sakia::core::action::Action;
use sakia::core::fact::JournalRecord;
use sakia::core::history::TurnInput;
use sakia::core::ids::InstanceKey;
use sakia::core::input::CommandAsk;
use sakia::core::machine::Machine;
use sakia::core::state::{Callees, Instance, Key, Position, Row, Status};
use sakia::core::tables::{Tables, history};
use sakia::lane::LaneConfig;
use sakia::log::{Isolation, Record};
use sakia::workflow::ReadyQueue;
use sakia::workflow::executor::LaneExecutor;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Rows in memory, and which were written.
#[derive(Default)]
struct Rows {
    rows: BTreeMap<Key, Row>,
    touched: BTreeSet<Key>,
}

impl Tables for Rows {
    fn get(&mut self, key: &Key) -> Option<Row> {
        self.rows.get(key).cloned()
    }
    fn put(&mut self, key: Key, row: Row) {
        self.touched.insert(key.clone());
        self.rows.insert(key, row);
    }
    fn delete(&mut self, key: &Key) {
        self.touched.insert(key.clone());
        self.rows.remove(key);
    }
}

/// One lane as its log says it is.
pub(crate) struct Model {
    config: LaneConfig,
    machine: Machine,
    executor: LaneExecutor,
    tables: Rows,
    outgoing: Vec<Outgoing>,
    next_command: i64,
    seq: u64,
    /// What is checked without the core.
    pub(crate) notes: Notes,
}

impl Model {
    pub(crate) fn new(sim: &Sim, lane: i32) -> Self {
        let config = lane_config(sim, lane);
        let lanes = config.partitions;
        let owns = Arc::new(move |id: &str| partition_for(id.as_bytes(), lanes) == lane);
        // Its steps never run, so its code does nothing to the world.
        let host = crate::host::SimHost { sim: sim.clone(), process: usize::MAX, life: 0 };
        let executor = LaneExecutor::new(
            config.app.clone(),
            registry(&Arc::new(host)),
            None,
            Arc::new(ReadyQueue::new(|| {})),
            config.limits.payload_bytes,
            usize::MAX,
        );
        Model {
            machine: Machine::new(config.limits, owns, 0, Callees::default()),
            config,
            executor,
            tables: Rows::default(),
            outgoing: Vec::new(),
            next_command: 0,
            seq: 0,
            notes: Notes::default(),
        }
    }

    /// Goes to where a checkpoint is, and compares.
    pub(crate) fn check(&mut self, commit: &Commit, seen: &mut Seen, broker: &Broker) -> Result<(), String> {
        let lane = commit.lane;
        let (done, until) = (self.seq, commit.position.journal_seq);
        for record in seen.lane(lane).journal.iter().filter(|r| r.seq > done && r.seq <= until) {
            self.commands_before(record.next_command, broker)?;
            self.facts(record);
        }
        self.commands_before(commit.position.next_command, broker)?;
        self.compare_rows(commit, seen)?;
        self.compare_outgoing(commit)?;
        let expected = Position {
            now: self.machine.now(),
            partitions: self.config.partitions,
            callees: self.machine.callees().clone(),
            ..commit.position.clone()
        };
        if commit.position != expected {
            return Err(format!(
                "lane {lane}: its position is {:?}, by its log {expected:?}",
                commit.position
            ));
        }
        self.pins(seen)?;
        self.notes.left(&commit.outgoing);
        self.tables.touched.clear();
        self.outgoing.clear();
        Ok(())
    }

    fn commands_before(&mut self, offset: i64, broker: &Broker) -> Result<(), String> {
        let place = (self.config.topics.commands.clone(), self.config.partition);
        let stable = broker.range(&place, Isolation::Committed).end;
        if offset > stable {
            return Err(format!(
                "lane {} has applied commands up to {offset}, decided are those up to {stable}",
                self.config.partition
            ));
        }
        while let Ok(record) = broker.next(&place, self.next_command, Isolation::Committed)
            && record.offset < offset
        {
            self.next_command = record.offset + 1;
            self.command(&record)?;
        }
        self.next_command = self.next_command.max(offset);
        Ok(())
    }

    fn command(&mut self, record: &Record) -> Result<(), String> {
        let at = u64::try_from(record.timestamp_ms).unwrap_or(0);
        let mut started = None;
        self.notes.record(record);
        let actions = match command::decode(record.key.as_ref(), record.value.as_ref(), &record.headers) {
            Ok(Incoming::Command(command)) if !self.owns(&command.to) => {
                self.pass_on(record, &command.to);
                Vec::new()
            }
            Ok(Incoming::Command(command)) => {
                let found = instance_in(&self.tables.rows, &command.to);
                self.notes.command(&command, found);
                started = matches!(command.ask, CommandAsk::Start { .. }).then(|| command.to.clone());
                self.machine.apply_command(&mut self.tables, &mut self.executor, at, command)
            }
            Ok(_) => Vec::new(),
            Err((code, text)) => self.machine.reject(at, code, text),
        };
        self.perform(actions, Some(record));
        match started.filter(|key| self.instance(key).is_none()) {
            Some(key) => Err(format!("command {} starts {key}, which is not there after it", record.offset)),
            None => Ok(()),
        }
    }

    fn lane_of(&self, key: &InstanceKey) -> i32 {
        partition_for(key.id.as_bytes(), self.config.partitions)
    }

    fn owns(&self, key: &InstanceKey) -> bool {
        self.lane_of(key) == self.config.partition
    }

    /// A command that came to the wrong lane leaves for the right one as it is.
    fn pass_on(&mut self, record: &Record, to: &InstanceKey) {
        let (topic, partition) = (self.config.topics.commands.to_string(), self.lane_of(to));
        let Record { key, value, headers, .. } = record.clone();
        self.outgoing.push(Outgoing { topic, partition, key, value, headers });
    }

    fn facts(&mut self, record: &JournalRecord) {
        for fact in record.facts.clone() {
            let actions = self.machine.apply_fact(&mut self.tables, &mut self.executor, record.at, fact);
            self.perform(actions, None);
        }
        self.seq = record.seq;
    }

    fn perform(&mut self, actions: Vec<Action>, record: Option<&Record>) {
        for action in actions {
            let (topic, partition, key, value, headers) = match action {
                Action::Send { topic, key, value } => (topic, None, Some(key), Some(value), Vec::new()),
                Action::Command(command) => {
                    let encoded = command::encode(&command);
                    (
                        self.config.topics.commands.clone(),
                        None,
                        Some(encoded.key),
                        encoded.value,
                        encoded.headers,
                    )
                }
                Action::Reply { to, reply } => {
                    let (headers, value) = reply::encode(&Answer::Reply(reply));
                    let partition = Some(to.partition);
                    (self.config.topics.replies.clone(), partition, Some(to.correlation), value, headers)
                }
                // Its headers say in words what happened: they are not compared.
                Action::DeadLetter { .. } => {
                    let (key, value) = record.map_or((None, None), |r| (r.key.clone(), r.value.clone()));
                    (self.config.topics.dlq.clone(), None, key, value, Vec::new())
                }
                Action::Stray { .. } => (self.config.topics.dlq.clone(), None, None, None, Vec::new()),
                _ => continue,
            };
            let by_key = || partition_for(key.as_deref().unwrap_or_default(), self.config.partitions);
            let partition = partition.unwrap_or_else(by_key);
            self.outgoing.push(Outgoing { topic: topic.to_string(), partition, key, value, headers });
        }
    }

    fn compare_rows(&self, commit: &Commit, seen: &mut Seen) -> Result<(), String> {
        let state = &seen.lane(commit.lane).state;
        let written = commit.keys.iter().filter_map(|bytes| key::decode(bytes).ok());
        let keys: BTreeSet<Key> = written.chain(self.tables.touched.iter().cloned()).collect();
        for name in keys.iter().filter(|name| **name != Key::Position) {
            let expected: Option<Bytes> = self.tables.rows.get(name).map(row::encode);
            let found = state.get(&key::encode(name)).cloned();
            if found != expected {
                let show = |bytes: Option<Bytes>| bytes.map(|b| row::decode(name, &b));
                return Err(format!(
                    "lane {}, checkpoint {}: {name:?} is {:?}, but by its log it is {:?}",
                    commit.lane,
                    commit.position.checkpoint,
                    show(found),
                    show(expected)
                ));
            }
        }
        Ok(())
    }

    /// The same records, in the same order within a partition.
    fn compare_outgoing(&self, commit: &Commit) -> Result<(), String> {
        let sorted = |records: &[Outgoing]| {
            let mut records: Vec<Outgoing> = records.to_vec();
            for record in records.iter_mut().filter(|r| *r.topic == *self.config.topics.dlq) {
                record.headers.clear();
            }
            records.sort_by(|a, b| (&a.topic, a.partition).cmp(&(&b.topic, b.partition)));
            records
        };
        let (found, expected) = (sorted(&commit.outgoing), sorted(&self.outgoing));
        if found != expected {
            return Err(format!(
                "lane {}, checkpoint {}: {found:?} left, but by its log it is {expected:?}",
                commit.lane, commit.position.checkpoint
            ));
        }
        Ok(())
    }

    /// What ended instances have seen fits what their steps knew.
    fn pins(&self, seen: &mut Seen) -> Result<(), String> {
        for name in &self.tables.touched {
            let (Key::Instance(key), Some(Row::Instance(instance))) = (name, self.tables.rows.get(name))
            else {
                continue;
            };
            match &instance.status {
                Status::Completed(result) => {
                    let trace = outside::trace_of(result)?;
                    let known = format!("{}/{}/{}/{}", self.config.app, key.workflow, key.id, instance.run);
                    let longer = seen.pins.get(&known).is_some_and(|pin| pin.len() > trace.len());
                    if longer {
                        return Err(format!(
                            "{known} ended with {trace:?}, but a step knew {:?}",
                            seen.pins[&known]
                        ));
                    }
                    seen.pin(&known, &trace)?;
                    outside::nothing_was_early(&known, &trace)?;
                }
                Status::Parked(park) => return Err(format!("{key} parks: {}", park.message)),
                Status::Running | Status::Failed(_) | Status::Cancelled(_) => {}
            }
        }
        Ok(())
    }

    /// Whether commands wait that no checkpoint has taken.
    pub(crate) fn is_behind(&self, broker: &Broker) -> bool {
        let place = (self.config.topics.commands.clone(), self.config.partition);
        broker.next(&place, self.next_command, Isolation::Committed).is_ok()
    }

    /// Journal records that it has followed.
    pub(crate) fn seq(&self) -> u64 {
        self.seq
    }

    /// Steps and timers that have not ended.
    pub(crate) fn open(&self) -> Vec<String> {
        let open = |key: &&Key| matches!(key, Key::Step(..) | Key::Timer(..) | Key::Inbox(..));
        self.tables.rows.keys().filter(open).map(|key| format!("{key:?}")).collect()
    }

    /// Instances that have not ended.
    pub(crate) fn running(&self) -> Vec<(InstanceKey, Instance)> {
        let running = |(key, row): (&Key, &Row)| match (key, row) {
            (Key::Instance(key), Row::Instance(instance)) if !instance.status.has_ended() => {
                Some((key.clone(), (**instance).clone()))
            }
            _ => None,
        };
        self.tables.rows.iter().filter_map(running).collect()
    }

    /// Instances that have completed, and with what.
    pub(crate) fn completed(&self) -> impl Iterator<Item = (&InstanceKey, &Bytes)> {
        self.tables.rows.iter().filter_map(|(key, row)| match (key, row) {
            (Key::Instance(key), Row::Instance(instance)) => match &instance.status {
                Status::Completed(result) => Some((key, result)),
                _ => None,
            },
            _ => None,
        })
    }

    pub(crate) fn instance(&self, key: &InstanceKey) -> Option<&Instance> {
        instance_in(&self.tables.rows, key)
    }

    /// The signals that a running instance was given, in order.
    pub(crate) fn delivered(&mut self, key: &InstanceKey, instance: &Instance) -> Result<Vec<Bytes>, String> {
        let turns = history(&mut self.tables, key, instance)
            .map_err(|missing| format!("{key} lacks turn {} of its history", missing.0))?;
        let signals = turns.into_iter().filter_map(|turn| match turn.input {
            TurnInput::Signal { payload, .. } => Some(payload),
            _ => None,
        });
        Ok(signals.collect())
    }
}

fn instance_in<'a>(rows: &'a BTreeMap<Key, Row>, key: &InstanceKey) -> Option<&'a Instance> {
    match rows.get(&Key::Instance(key.clone())) {
        Some(Row::Instance(instance)) => Some(instance),
        _ => None,
    }
}
