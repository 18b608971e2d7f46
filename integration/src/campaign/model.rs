//! An independent model of what the workers run. It knows nothing of the engine: it reads what everybody can read, the
//! commands, and says from them alone what every instance must have come to, and what the lanes must have sent each other.
//!
//! What is recent it knows by name. Of what is older it keeps, per workflow and lane, a count and a sum of hashes, so that
//! it does not grow with a run.

use super::ledger::Wrong;
use super::workflows::{Alarm, DEPOSITS, Deposit, Transfer};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};

/// So many of the latest of a kind are known by name, and all that are not complete.
const KEPT: usize = 10_000;
/// Numbers are given one after the other; one that is so far ahead was given to nobody.
const AHEAD_MAX: u64 = 4_000_000;
/// Calls of a kind that a lane makes through its own commands, at most: the first, and those that it makes before that one
/// is applied. From then on it makes them in memory.
const FIRST_CALLS_MAX: u64 = 100;

/// A workflow, which is also how its ids begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Kind {
    Job,
    Leaf,
    Transfer,
    Credit,
    Account,
    Alarm,
}

const KINDS: [(Kind, &str); 6] = [
    (Kind::Job, "job"),
    (Kind::Leaf, "leaf"),
    (Kind::Transfer, "transfer"),
    (Kind::Credit, "credit"),
    (Kind::Account, "account"),
    (Kind::Alarm, "alarm"),
];

impl Kind {
    pub(super) fn name(self) -> &'static str {
        KINDS.iter().find(|(kind, _)| *kind == self).map_or("", |(_, name)| name)
    }

    pub(super) fn of(workflow: &str, id: &str) -> Option<(Kind, u64)> {
        let (kind, name) = KINDS.iter().find(|(_, name)| *name == workflow)?;
        Some((*kind, id.strip_prefix(name)?.strip_prefix('-')?.parse().ok()?))
    }
}

/// What the commands say, in words of its own.
#[derive(Debug, Clone, Copy)]
pub enum Said<'a> {
    /// A start that somebody outside sent.
    Start,
    /// A start that a lane sent, for this parent.
    ChildStart(&'a str),
    /// A signal of that name.
    Signal(&'a str),
    /// A lane tells a parent how its child ended.
    ChildEnded(&'a str),
}

#[derive(Debug, Default)]
pub(super) struct Job {
    started: bool,
    signalled: bool,
    leaf_started: bool,
    leaf_ended: bool,
    token: Option<u64>,
}

#[derive(Debug, Default)]
pub(super) struct Move {
    order: Option<Transfer>,
    credit_started: bool,
    credit_ended: Option<String>,
}

#[derive(Debug, Default)]
pub(super) struct Saving {
    started: bool,
    deposits: u64,
    sum: i64,
}

#[derive(Debug, Default)]
pub(super) struct Sleeper {
    started: bool,
}

/// What has one number: an instance, and its child.
pub(super) trait Entry: Default {
    /// What is not there of what the lanes must have said, and of what was to be sent from outside.
    fn missing(&self, n: u64, lanes: i32) -> Vec<&'static str>;
    /// What it must have come to.
    fn outcomes(&self, n: u64) -> Vec<(Kind, String)>;
}

/// Lanes tell each other through the commands; one tells itself in memory, but for the first calls.
fn apart(a: Kind, b: Kind, n: u64, lanes: i32) -> bool {
    lane_of(&format!("{}-{n}", a.name()), lanes) != lane_of(&format!("{}-{n}", b.name()), lanes)
}

fn names_of(missing: &[(bool, &'static str)]) -> Vec<&'static str> {
    missing.iter().filter(|(is_missing, _)| *is_missing).map(|(_, name)| *name).collect()
}

impl Entry for Job {
    fn missing(&self, n: u64, lanes: i32) -> Vec<&'static str> {
        let apart = apart(Kind::Job, Kind::Leaf, n, lanes);
        names_of(&[
            (!self.started, "its start"),
            (!self.signalled, "its signal"),
            (self.token.is_none(), "its last record"),
            (apart && !self.leaf_started, "the start of its child"),
            (apart && !self.leaf_ended, "the end of its child"),
        ])
    }

    fn outcomes(&self, n: u64) -> Vec<(Kind, String)> {
        let token = self.token.unwrap_or_default();
        let job = format!("completed {{\"token\":{token},\"leaf\":{}}}", 2 * n);
        vec![(Kind::Job, job), (Kind::Leaf, completed(&(2 * n)))]
    }
}

impl Move {
    /// The child ended otherwise than the order says.
    fn contradicts(&self) -> bool {
        let order = self.order.as_ref().zip(self.credit_ended.as_ref());
        order.is_some_and(|(order, ended)| *ended != credit(order.refuse))
    }
}

impl Entry for Move {
    fn missing(&self, n: u64, lanes: i32) -> Vec<&'static str> {
        let apart = apart(Kind::Transfer, Kind::Credit, n, lanes);
        names_of(&[
            (self.order.is_none(), "its start"),
            (apart && !self.credit_started, "the start of its child"),
            (apart && self.credit_ended.is_none(), "the end of its child"),
        ])
    }

    fn outcomes(&self, _: u64) -> Vec<(Kind, String)> {
        let refused = self.order.as_ref().is_some_and(|order| order.refuse);
        vec![(Kind::Transfer, completed(&!refused)), (Kind::Credit, credit(refused))]
    }
}

impl Entry for Saving {
    fn missing(&self, _: u64, _: i32) -> Vec<&'static str> {
        names_of(&[(!self.started, "its start"), (self.deposits < DEPOSITS, "a deposit")])
    }

    fn outcomes(&self, _: u64) -> Vec<(Kind, String)> {
        vec![(Kind::Account, completed(&self.sum))]
    }
}

impl Entry for Sleeper {
    fn missing(&self, _: u64, _: i32) -> Vec<&'static str> {
        names_of(&[(!self.started, "its start")])
    }

    fn outcomes(&self, _: u64) -> Vec<(Kind, String)> {
        vec![(Kind::Alarm, "completed null".into())]
    }
}

fn completed(value: &dyn std::fmt::Display) -> String {
    format!("completed {value}")
}

fn credit(refused: bool) -> String {
    if refused { "failed Permanent: refused null".into() } else { "completed null".into() }
}

/// Entries by number, from the first that is still known by name.
#[derive(Default)]
pub(super) struct Kept<T> {
    pub(super) base: u64,
    pub(super) entries: VecDeque<T>,
}

impl<T: Entry> Kept<T> {
    /// Nothing, if it was complete long ago.
    fn get(&mut self, n: u64) -> Option<&mut T> {
        let at = n.checked_sub(self.base).filter(|at| *at < AHEAD_MAX)?;
        let at = usize::try_from(at).ok()?;
        if self.entries.len() <= at {
            self.entries.resize_with(at + 1, T::default);
        }
        self.entries.get_mut(at)
    }

    fn forget(&mut self, lanes: i32, tally: &mut Tally) {
        while self.entries.len() > KEPT
            && let Some(entry) = self.entries.front()
            && entry.missing(self.base, lanes).is_empty()
        {
            for (kind, outcome) in entry.outcomes(self.base) {
                tally.add(lanes, kind, self.base, &outcome);
            }
            self.entries.pop_front();
            self.base += 1;
        }
    }
}

/// Instances that are not known by name: how many on each lane, and the sum of their hashes, in any order.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Tally(pub(super) BTreeMap<(Kind, i32), (u64, u64)>);

impl Tally {
    pub(super) fn add(&mut self, lanes: i32, kind: Kind, n: u64, outcome: &str) {
        let lane = lane_of(&format!("{}-{n}", kind.name()), lanes);
        let mut hasher = DefaultHasher::new();
        (kind, n, outcome).hash(&mut hasher);
        let (count, sum) = self.0.entry((kind, lane)).or_default();
        *count += 1;
        *sum = sum.wrapping_add(hasher.finish());
    }
}

/// The model.
pub struct Model {
    pub(super) lanes: i32,
    pub(super) jobs: Kept<Job>,
    pub(super) transfers: Kept<Move>,
    pub(super) accounts: Kept<Saving>,
    pub(super) alarms: Kept<Sleeper>,
    pub(super) tally: Tally,
    /// Balance of each account of the bank, as the transfers that were ordered make it.
    pub(super) balances: BTreeMap<u64, i64>,
    /// Ids to which one and the same signal was sent twice, which only the load's own producer does.
    pub(super) doubled: BTreeSet<String>,
    pub(super) commands: u64,
    pub(super) between_lanes: u64,
    first_calls: BTreeMap<(i32, Kind), u64>,
}

type Found = Result<(), (Wrong, String)>;

impl Model {
    /// Of an app with so many lanes that has got no command yet.
    pub fn new(lanes: i32) -> Self {
        Model {
            lanes,
            jobs: Kept::default(),
            transfers: Kept::default(),
            accounts: Kept::default(),
            alarms: Kept::default(),
            tally: Tally::default(),
            balances: BTreeMap::new(),
            doubled: BTreeSet::new(),
            commands: 0,
            between_lanes: 0,
            first_calls: BTreeMap::new(),
        }
    }

    /// A command, in the order of its lane. Lanes may come in any order.
    pub fn apply(&mut self, lane: i32, workflow: &str, id: &str, said: Said<'_>, payload: &str) -> Found {
        self.commands += 1;
        let Some((kind, n)) = Kind::of(workflow, id) else {
            return Err((Wrong::Changed, format!("a command for nobody: {workflow} {id}: {said:?}")));
        };
        let home = lane_of(id, self.lanes);
        if lane != home {
            return Err((
                Wrong::Changed,
                format!("{id} is told on lane {lane}, not on its own, {home}: {said:?}"),
            ));
        }
        self.between_lanes += u64::from(matches!(said, Said::ChildStart(_) | Said::ChildEnded(_)));
        let found = match said {
            Said::Start => self.start(kind, n, payload),
            Said::Signal(name) => self.signal(kind, n, name, id, payload),
            Said::ChildStart(parent) => self.child_started(kind, n, parent, payload),
            Said::ChildEnded(outcome) => self.child_ended(kind, n, outcome),
        };
        let unreadable = |error| (Wrong::Changed, format!("{id}: {said:?} {payload}: {error}"));
        found.map_err(unreadable)??;
        let contradicts =
            kind == Kind::Transfer && self.transfers.get(n).is_some_and(|known| known.contradicts());
        self.forget();
        if contradicts { Err((Wrong::Changed, format!("{id}: {payload} and {said:?}"))) } else { Ok(()) }
    }

    fn start(&mut self, kind: Kind, n: u64, payload: &str) -> serde_json::Result<Found> {
        // An id names one instance, however often its start is sent.
        match kind {
            Kind::Job => self.jobs.get(n).into_iter().for_each(|job| job.started = true),
            Kind::Account => self.accounts.get(n).into_iter().for_each(|account| account.started = true),
            Kind::Alarm => {
                let alarm: Alarm = serde_json::from_str(payload)?;
                debug_assert!(alarm.n == n);
                self.alarms.get(n).into_iter().for_each(|alarm| alarm.started = true);
            }
            Kind::Transfer => {
                let order: Transfer = serde_json::from_str(payload)?;
                if let Some(known) = self.transfers.get(n)
                    && known.order.is_none()
                {
                    if !order.refuse {
                        *self.balances.entry(order.from).or_default() -= order.amount;
                        *self.balances.entry(order.to).or_default() += order.amount;
                    }
                    known.order = Some(order);
                }
            }
            Kind::Leaf | Kind::Credit => {
                let name = kind.name();
                return Ok(Err((Wrong::Changed, format!("{name}-{n} is started by nobody"))));
            }
        }
        Ok(Ok(()))
    }

    fn signal(
        &mut self,
        kind: Kind,
        n: u64,
        name: &str,
        id: &str,
        payload: &str,
    ) -> serde_json::Result<Found> {
        // To one that was not started or has ended a signal is a dead letter.
        let again = match (kind, name) {
            (Kind::Job, "go") => match self.jobs.get(n) {
                Some(job) if job.started => std::mem::replace(&mut job.signalled, true),
                Some(_) => false,
                None => true,
            },
            (Kind::Account, "deposit") => {
                let deposit: Deposit = serde_json::from_str(payload)?;
                match self.accounts.get(n) {
                    Some(account) if account.started && account.deposits < DEPOSITS => {
                        let again = deposit.place < account.deposits;
                        account.deposits += 1;
                        account.sum += deposit.amount;
                        again
                    }
                    Some(account) => account.started,
                    None => true,
                }
            }
            _ => return Ok(Err((Wrong::Changed, format!("a signal {name} that nobody sent, for {id}")))),
        };
        if again {
            self.doubled.insert(id.into());
        }
        Ok(Ok(()))
    }

    fn child_started(
        &mut self,
        kind: Kind,
        n: u64,
        parent: &str,
        payload: &str,
    ) -> serde_json::Result<Found> {
        let (of, again, right) = match kind {
            Kind::Leaf => {
                let again = self.jobs.get(n).is_none_or(|job| std::mem::replace(&mut job.leaf_started, true));
                (Kind::Job, again, serde_json::from_str::<u64>(payload)? == n)
            }
            Kind::Credit => {
                let known = self.transfers.get(n);
                let again = known.is_none_or(|known| std::mem::replace(&mut known.credit_started, true));
                (Kind::Transfer, again, serde_json::from_str::<Transfer>(payload)?.n == n)
            }
            _ => return Ok(Err((Wrong::Changed, format!("{} {n} is no child", kind.name())))),
        };
        let (child, parent_id) = (format!("{}-{n}", kind.name()), format!("{}-{n}", of.name()));
        if again {
            return Ok(Err((Wrong::Duplicate, format!("{child} was started twice by {parent}"))));
        }
        if parent != parent_id || !right {
            return Ok(Err((Wrong::Changed, format!("{parent} started {child} with {payload}"))));
        }
        if !apart(of, kind, n, self.lanes) {
            let calls = self.first_calls.entry((lane_of(&child, self.lanes), kind)).or_default();
            *calls += 1;
            if *calls > FIRST_CALLS_MAX {
                let what =
                    format!("{child} was started through the log by a lane that had made {calls} such calls");
                return Ok(Err((Wrong::Duplicate, what)));
            }
        }
        Ok(Ok(()))
    }

    fn child_ended(&mut self, kind: Kind, n: u64, outcome: &str) -> serde_json::Result<Found> {
        let (child, again, right) = match kind {
            Kind::Job => {
                let again = self.jobs.get(n).is_none_or(|job| std::mem::replace(&mut job.leaf_ended, true));
                (Kind::Leaf, again, outcome == completed(&(2 * n)))
            }
            Kind::Transfer => {
                let again = self
                    .transfers
                    .get(n)
                    .is_none_or(|known| known.credit_ended.replace(outcome.into()).is_some());
                // Whether it was to be refused says the start, which is on another lane and may be read later.
                (Kind::Credit, again, [false, true].map(credit).iter().any(|known| known == outcome))
            }
            _ => return Ok(Err((Wrong::Changed, format!("{} {n} has no child", kind.name())))),
        };
        if again {
            return Ok(Err((Wrong::Duplicate, format!("{} {n} was told twice: {outcome}", kind.name()))));
        }
        if !right {
            return Ok(Err((Wrong::Changed, format!("{} {n} was told: {outcome}", kind.name()))));
        }
        if !apart(kind, child, n, self.lanes) {
            let what =
                format!("{} {n} and its child are on one lane, which told itself the end", kind.name());
            return Ok(Err((Wrong::Duplicate, what)));
        }
        Ok(Ok(()))
    }

    /// The token that the last record of a job carries: drawn by chance, so no model can know it.
    pub fn learn_token(&mut self, n: u64, token: u64) {
        if let Some(job) = self.jobs.get(n) {
            job.token.get_or_insert(token);
        }
        self.forget();
    }

    fn forget(&mut self) {
        self.jobs.forget(self.lanes, &mut self.tally);
        self.transfers.forget(self.lanes, &mut self.tally);
        self.accounts.forget(self.lanes, &mut self.tally);
        self.alarms.forget(self.lanes, &mut self.tally);
    }
}

/// The lane of an id: Kafka's default partitioner, MurmurHash2 of the key.
pub(super) fn lane_of(id: &str, lanes: i32) -> i32 {
    const M: u32 = 0x5bd1_e995;
    let data = id.as_bytes();
    let mut hash = 0x9747_b28c ^ u32::try_from(data.len()).unwrap_or(u32::MAX);
    let (words, tail) = data.as_chunks::<4>();
    for word in words {
        let k = u32::from_le_bytes(*word).wrapping_mul(M);
        hash = hash.wrapping_mul(M) ^ (k ^ (k >> 24)).wrapping_mul(M);
    }
    if !tail.is_empty() {
        let rest = tail.iter().rev().fold(0, |rest, byte| rest << 8 | u32::from(*byte));
        hash = (hash ^ rest).wrapping_mul(M);
    }
    hash = (hash ^ (hash >> 13)).wrapping_mul(M);
    hash ^= hash >> 15;
    (hash & 0x7fff_ffff).cast_signed() % lanes
}
