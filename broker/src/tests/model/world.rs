//! One random run: requests of clients that know what they do, of zombies and of clients that err, with time
//! passing and the broker dying, against broker and model alike.
use super::ids::{Answer, Model};
use super::log::Sent;
use super::requests::{self, NewRow};
use crate::compaction;
use crate::config::BrokerConfig;
use crate::node::Node;
use crate::state::TopicPartition;
use crate::store::{Changes, Store};
use crate::time::Time;
use crate::txn::ProducerIdentity;
use kafka_protocol::ResponseError;
use kafka_protocol::records::Compression;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

pub(super) const LOG: &str = "log";
pub(super) const TABLE: &str = "table";
pub(super) const STAMPED: &str = "stamped";
pub(super) const IDS: [&str; 3] = ["x", "y", "z"];
pub(super) const GROUPS: [&str; 2] = ["g", "h"];
const KEYS: [&str; 4] = ["a", "b", "c", "d"];
const TOMBSTONES_LIVE_MS: i64 = 400;
const START_MS: i64 = 10_000_000;
/// Later than anything a broker believes (`message.timestamp.after.max.ms`).
const TOO_FAR_AHEAD_MS: i64 = 3_600_001;
const ZOMBIES: usize = 6;

/// A batch that was sent: where, how, what.
type Batch = (TopicPartition, Sent, Vec<NewRow>);

/// A producer process. It may have been replaced without knowing.
#[derive(Clone, Debug)]
struct Process {
    id: Option<String>,
    who: ProducerIdentity,
    next: BTreeMap<TopicPartition, i32>,
    sent: Vec<Batch>,
}

pub(super) struct World {
    pub(super) dice: StdRng,
    pub(super) node: Node,
    pub(super) model: Model,
    pub(super) trace: Vec<String>,
    time: Time,
    processes: Vec<Process>,
}

/// Every partition of the run.
pub(super) fn partitions() -> Vec<TopicPartition> {
    [(LOG, 0), (LOG, 1), (TABLE, 0), (STAMPED, 0)].map(|(t, i)| (t.to_owned(), i)).to_vec()
}

fn create_topics(node: &Node) {
    let live = TOMBSTONES_LIVE_MS.to_string();
    let table = [
        ("cleanup.policy", "compact,delete"),
        ("min.cleanable.dirty.ratio", "0"),
        ("delete.retention.ms", live.as_str()),
        ("retention.ms", "-1"),
    ];
    let stamped = [("message.timestamp.type", "LogAppendTime")];
    for (name, count, configs) in [(LOG, 2, &[][..]), (TABLE, 1, &table), (STAMPED, 1, &stamped)] {
        let configs =
            configs.iter().map(|(k, v): &(&str, &str)| ((*k).to_owned(), (*v).to_owned())).collect();
        let mut changes = Changes::default();
        node.state().grow_topic(name, count, Some(configs), &mut changes);
        node.store.commit(changes).unwrap();
    }
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        let mut dice = StdRng::seed_from_u64(seed);
        let window_ms = if dice.random_bool(0.5) { 0 } else { 20 };
        let config = BrokerConfig {
            compaction_min_records: 1,
            concurrent_transactions_window: Duration::from_millis(window_ms),
            ..BrokerConfig::default()
        };
        let time = Time::standing(START_MS);
        let store = Arc::new(Store::open(&config).unwrap());
        let node = Node::over(store, config, 0, time.clone()).unwrap();
        create_topics(&node);
        let mut model = Model::new(START_MS, partitions());
        model.window_ms = window_ms as i64;
        Self { dice, node, model, trace: Vec::new(), time, processes: Vec::new() }
    }

    fn coin(&mut self, chance: f64) -> bool {
        self.dice.random_bool(chance)
    }

    pub(super) fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from.choose(&mut self.dice).unwrap().clone()
    }

    fn note(&mut self, what: String) {
        self.trace.push(what);
    }

    /// Compares the two answers; or, if the broker died instead of writing, starts the next one, for which the
    /// request was never made.
    fn settle<T: PartialEq + std::fmt::Debug>(
        &mut self,
        before: Model,
        broker: &Answer<T>,
        model: &Answer<T>,
    ) {
        if self.node.store.is_poisoned() {
            self.model = before;
            self.restart();
            return;
        }
        self.trace.last_mut().unwrap().push_str(&format!(" -> {broker:?}"));
        assert_eq!(broker, model, "answer of the broker, and what it must be");
    }

    /// What the next process finds: exactly the writes that were made.
    pub(super) fn restart(&mut self) {
        self.note("restart".into());
        let config = self.node.config.clone();
        let mut store = Arc::new(self.node.store.after_kill());
        if self.coin(0.3) {
            store.kill_after(0);
            if Node::over(store.clone(), config.clone(), 0, self.time.clone()).is_err() {
                self.note("died again while starting".into());
            }
            store = Arc::new(store.after_kill());
        }
        self.node = Node::over(store, config, 0, self.time.clone()).unwrap();
        for id in self.model.due(true) {
            self.model.complete(&id);
        }
        self.check();
    }

    pub(super) fn step(&mut self) {
        match self.dice.random_range(0..100) {
            0..8 => self.init(),
            8..22 => self.add(),
            22..50 => self.produce(),
            50..62 => self.end(),
            62..70 => self.remember_in_transaction(),
            70..75 => self.remember(),
            75..84 => self.pass(),
            84..89 => self.delete_records(),
            89..95 => self.compact(),
            95..97 => self.restart(),
            97..98 => self.burst(),
            _ => self.check(),
        }
    }

    fn init(&mut self) {
        let before = self.model.clone();
        if self.coin(0.2) {
            let who = Ok(self.model.new_producer());
            self.note("new idempotent producer".into());
            let got = requests::init(&self.node, None, None);
            self.begin_process(None, &got);
            return self.settle(before, &got, &who);
        }
        let id = self.pick(&IDS);
        let known = if self.coin(0.3) { self.process_of(id).map(|p| p.who) } else { None };
        let expected = self.model.init(id, known);
        self.note(format!("init {id} known {known:?}"));
        let got = requests::init(&self.node, Some(id), known);
        self.begin_process(Some(id), &got);
        self.settle(before, &got, &expected);
    }

    fn begin_process(&mut self, id: Option<&str>, who: &Answer<ProducerIdentity>) {
        let Ok(who) = *who else { return };
        if self.processes.len() > ZOMBIES {
            self.processes.remove(0);
        }
        let id = id.map(str::to_owned);
        self.processes.push(Process { id, who, next: BTreeMap::new(), sent: Vec::new() });
    }

    /// Mostly the newest process of the id.
    fn process_of(&mut self, id: &str) -> Option<Process> {
        let all: Vec<&Process> = self.processes.iter().filter(|p| p.id.as_deref() == Some(id)).collect();
        let at = if self.dice.random_bool(0.8) {
            all.len().checked_sub(1)?
        } else {
            self.dice.random_range(0..all.len().max(1))
        };
        all.get(at).map(|p| (*p).clone())
    }

    fn owner(&mut self) -> Option<(String, Process)> {
        let id = self.pick(&IDS);
        Some((id.to_owned(), self.process_of(id)?))
    }

    fn add(&mut self) {
        let Some((id, p)) = self.owner() else { return };
        let before = self.model.clone();
        if self.coin(0.3) {
            let group = self.pick(&GROUPS);
            let expected = self.model.add(&id, p.who, &[], Some(group));
            self.note(format!("add {group} to {id} by {:?}", p.who));
            let got = requests::add_group(&self.node, &id, p.who, group);
            return self.settle(before, &got, &expected);
        }
        let count = self.dice.random_range(1..=3);
        let all = partitions();
        let mut chosen: Vec<TopicPartition> = all.choose_multiple(&mut self.dice, count).cloned().collect();
        let table = (TABLE.to_owned(), 0);
        if !chosen.contains(&table) && self.coin(0.5) {
            chosen.push(table);
        }
        let expected = self.model.add(&id, p.who, &chosen, None);
        self.note(format!("add {chosen:?} to {id} by {:?}", p.who));
        let got = requests::add_partitions(&self.node, &id, p.who, &chosen);
        self.settle(before, &got, &expected);
    }

    fn end(&mut self) {
        let Some((id, p)) = self.owner() else { return };
        let commit = self.coin(0.6);
        let before = self.model.clone();
        let expected = self.model.end(&id, p.who, commit);
        self.note(format!("end {id} by {:?} commit {commit}", p.who));
        let got = requests::end(&self.node, &id, p.who, commit);
        self.settle(before, &got, &expected);
        if self.coin(0.2) {
            self.check();
        }
    }

    fn rows(&mut self) -> Vec<NewRow> {
        let count = self.dice.random_range(1..=3);
        (0..count)
            .map(|_| {
                let value =
                    self.dice.random_bool(0.75).then(|| format!("v{}", self.dice.random_range(0..1000)));
                let age = self.dice.random_range(0..3000);
                (self.pick(&KEYS).to_owned(), value, self.model.now - age)
            })
            .collect()
    }

    /// A new batch of the process, or one that it sent before, or one that it may not send.
    fn batch_of(&mut self, p: &Process) -> Batch {
        if !p.sent.is_empty() && self.coin(0.2) {
            return self.pick(&p.sent);
        }
        let listed = p.id.as_deref().and_then(|id| self.model.ids.get(id)).map(|id| &id.partitions);
        let listed: Vec<TopicPartition> = listed.into_iter().flatten().cloned().collect();
        let tp =
            if !listed.is_empty() && self.coin(0.9) { self.pick(&listed) } else { self.pick(&partitions()) };
        let next = p.next.get(&tp).copied().unwrap_or(0);
        let first_sequence = if self.coin(0.06) { next + self.dice.random_range(1..4) } else { next };
        let transactional = p.id.is_some() && !self.coin(0.03);
        let sent = Sent { producer_id: p.who.id, epoch: p.who.epoch, first_sequence, transactional };
        (tp, sent, self.rows())
    }

    fn produce(&mut self) {
        let sender = if self.coin(0.15) || self.processes.is_empty() {
            None
        } else if self.coin(0.75) {
            self.owner().map(|(_, p)| p)
        } else {
            let all = self.processes.clone();
            Some(self.pick(&all))
        };
        let (tp, sent, mut rows) = match &sender {
            None => (self.pick(&partitions()), None, self.rows()),
            Some(p) => {
                let (tp, sent, rows) = self.batch_of(p);
                (tp, Some(sent), rows)
            }
        };
        if self.coin(0.01) {
            rows[0].2 = self.model.now + TOO_FAR_AHEAD_MS;
        }
        self.send(sender, (tp, sent, rows));
    }

    fn send(
        &mut self,
        sender: Option<Process>,
        (tp, sent, rows): (TopicPartition, Option<Sent>, Vec<NewRow>),
    ) {
        let id = sent.filter(|s| s.transactional).and(sender.as_ref()).and_then(|p| p.id.clone());
        let before = self.model.clone();
        let expected = self.expected_of_produce(&tp, sent, id.as_deref(), &rows);
        self.note(format!("produce {} rows to {tp:?} as {sent:?} in {id:?}", rows.len()));
        let codecs = [Compression::None, Compression::None, Compression::Lz4, Compression::Gzip];
        let codec = self.pick(&codecs);
        let got = requests::produce(&self.node, &tp, requests::encode(&rows, sent, codec), id.as_deref());
        if let (Ok(_), Some(sent), Some(p)) = (&got, sent, sender) {
            self.remember_batch(&p, tp, sent, rows);
        }
        self.settle(before, &got, &expected);
    }

    /// Batch after batch of one producer in one place, then a retry of one that the broker may have forgotten.
    fn burst(&mut self) {
        let Some(p) = self.processes.iter().rfind(|p| p.id.is_none()).cloned() else { return };
        let tp = self.pick(&partitions());
        for _ in 0..7 {
            let known = self.processes.iter().rfind(|other| other.who == p.who);
            let first_sequence = known.and_then(|p| p.next.get(&tp).copied()).unwrap_or(0);
            let (producer_id, epoch) = (p.who.id, p.who.epoch);
            let sent = Sent { producer_id, epoch, first_sequence, transactional: false };
            let rows = self.rows();
            self.send(Some(p.clone()), (tp.clone(), Some(sent), rows));
        }
        let sent = self.processes.iter().rfind(|other| other.who == p.who).map(|p| p.sent.clone());
        let Some((tp, sent, rows)) = sent.filter(|all| !all.is_empty()).map(|all| self.pick(&all)) else {
            return;
        };
        self.send(Some(p), (tp, Some(sent), rows));
    }

    fn remember_batch(&mut self, p: &Process, tp: TopicPartition, sent: Sent, rows: Vec<NewRow>) {
        let Some(p) = self.processes.iter_mut().rev().find(|other| other.who == p.who) else { return };
        let next = p.next.entry(tp.clone()).or_default();
        *next = (*next).max(sent.first_sequence + rows.len() as i32);
        p.sent.push((tp, sent, rows));
        if p.sent.len() > 8 {
            p.sent.remove(0);
        }
    }

    fn expected_of_produce(
        &mut self,
        tp: &TopicPartition,
        sent: Option<Sent>,
        id: Option<&str>,
        rows: &[NewRow],
    ) -> Answer<(i64, i64)> {
        let stamped = tp.0 == STAMPED;
        let (now, mut rows) = (self.model.now, rows.to_vec());
        if let (Some(sent), Some(id)) = (sent, id) {
            self.model.may_write(id, sent, tp)?;
        }
        let log = self.model.logs.get_mut(tp).ok_or(ResponseError::UnknownTopicOrPartition)?;
        if let Some(sent) = sent
            && let Some(base) = log.admit(sent, rows.len())?
        {
            let first = log.entries.iter().find(|e| e.base == base).and_then(|e| e.rows.first());
            return Ok((base, first.filter(|_| stamped).map_or(-1, |r| r.time)));
        }
        if stamped {
            rows.iter_mut().for_each(|r| r.2 = now);
        } else if rows.iter().any(|r| r.2 - now >= TOO_FAR_AHEAD_MS) {
            return Err(ResponseError::InvalidTimestamp);
        }
        Ok((log.append(sent, &rows), if stamped { now } else { -1 }))
    }

    fn remember_in_transaction(&mut self) {
        let Some((id, p)) = self.owner() else { return };
        let listed = self.model.ids.get(&id).map(|id| id.groups.iter().cloned().collect::<Vec<_>>());
        let listed = listed.unwrap_or_default();
        let group = if listed.is_empty() || self.coin(0.1) {
            self.pick(&GROUPS).to_owned()
        } else {
            self.pick(&listed)
        };
        let (tp, offset) = (self.pick(&partitions()[..2]), self.dice.random_range(0..100));
        let before = self.model.clone();
        let expected = self.model.remember_in_transaction(&id, p.who, &group, &tp, offset);
        self.note(format!("offset {offset} of {tp:?} for {group} in {id} by {:?}", p.who));
        let got = requests::remember_in_transaction(&self.node, &id, p.who, &group, &tp, offset);
        self.settle(before, &got, &expected);
    }

    fn remember(&mut self) {
        let (group, tp) = (self.pick(&GROUPS), self.pick(&partitions()[..2]));
        let offset = self.dice.random_range(0..100);
        let before = self.model.clone();
        self.model.remember(group, &tp, offset);
        self.note(format!("offset {offset} of {tp:?} for {group}"));
        let got = requests::remember(&self.node, group, ("", None, -1), &tp, offset);
        self.settle(before, &got, &Ok(()));
    }

    /// Time passes, and what happens by the clock happens.
    fn pass(&mut self) {
        let ms = if self.coin(0.1) {
            self.dice.random_range(20_000..70_000)
        } else {
            self.dice.random_range(1..200)
        };
        self.note(format!("{ms} ms pass"));
        self.time.pass(ms);
        self.model.now += ms;
        let written = self.node.store.written();
        let late = self.model.timed_out();
        let swept = self.node.state().expire_txns(self.node.end_mode());
        let done = (self.node.store.written() - written) as usize;
        assert!(swept.is_err() || done == late.len(), "{done} timed out of {late:?}");
        late.iter().take(done).for_each(|id| self.model.time_out(id));
        if swept.is_err() {
            return self.restart();
        }
        let written = self.node.store.written();
        let due = self.model.due(false);
        let ended = self.node.state().complete_due_txns(self.time.instant());
        let done = (self.node.store.written() - written) as usize;
        assert!(ended.is_err() || done == due.len(), "{done} completed of {due:?}");
        due.iter().take(done).for_each(|id| self.model.complete(id));
        if ended.is_err() {
            self.restart();
        }
    }

    fn delete_records(&mut self) {
        let tp = self.pick(&partitions()[..3]);
        let log = &self.model.logs[&tp];
        let (start, next) = (log.start, log.next);
        let offset = (start + self.dice.random_range(-1..6)).min(next + 1);
        let before = self.model.clone();
        let expected = if !(0..=next).contains(&offset) {
            if offset == -1 { Ok(next) } else { Err(ResponseError::OffsetOutOfRange) }
        } else {
            Ok(offset.max(start))
        };
        if let (Ok(start), Some(log)) = (&expected, self.model.logs.get_mut(&tp)) {
            log.start = *start;
        }
        self.note(format!("delete records of {tp:?} before {offset}"));
        let got = requests::delete_records(&self.node, &tp, offset);
        self.settle(before, &got, &expected);
    }

    fn compact(&mut self) {
        self.note("compact".into());
        compaction::run(&self.node);
        let tp = (TABLE.to_owned(), 0);
        if self.node.store.is_poisoned() {
            self.check_half_compacted(&tp);
        }
        let now = self.model.now;
        if let Some(log) = self.model.logs.get_mut(&tp) {
            log.compact(now, TOMBSTONES_LIVE_MS, 0);
        }
        self.check();
    }

    /// A compaction that was killed: nothing may be missing that it had to leave. Then it is done again.
    fn check_half_compacted(&mut self, tp: &TopicPartition) {
        let store = Arc::new(self.node.store.after_kill());
        self.node = Node::over(store, self.node.config.clone(), 0, self.time.clone()).unwrap();
        for id in self.model.due(true) {
            self.model.complete(&id);
        }
        let now = self.model.now;
        for committed in [true, false] {
            let all = self.model.logs[tp].view(committed);
            let mut compacted = self.model.logs[tp].clone();
            compacted.compact(now, TOMBSTONES_LIVE_MS, 0);
            let found = self.read_all(tp, committed);
            assert!(
                found.iter().all(|r| all.contains(r)),
                "a killed compaction invented something: {found:?}"
            );
            let kept = compacted.view(committed);
            assert!(kept.iter().all(|r| found.contains(r)), "a killed compaction took too much: {found:?}");
        }
        self.note("compaction was killed; again".into());
        compaction::run(&self.node);
    }
}
