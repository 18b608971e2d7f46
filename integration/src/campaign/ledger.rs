//! The judge: it knows what was started, hears what committed readers see and what steps did, and says what is wrong.

use super::effects::Calls;
use super::faults::{Faults, times_ms};
use super::records::Found;
use super::window::{Clock, Known, Window};
use super::workflows::{DEPOSITS, epoch_ms};
use crate::jobs::Seen;
use hdrhistogram::Histogram;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

const SUSPICIONS_MAX: usize = 1_000;

/// What must never happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wrong {
    /// Something that was accepted did not happen, or was there and is gone.
    Lost,
    /// It happened twice.
    Duplicate,
    /// A recorded result changed, or a result is not what its inputs say.
    Changed,
    /// A step was called twice under one key with two bodies.
    Effect,
    /// A timer fired before its time.
    Early,
    /// Part of a transaction is there and part is not.
    Torn,
    /// Nothing was lost, but it did not end either.
    Stuck,
}

/// All of them, in the order of the figures.
pub const EVERY_WRONG: [Wrong; 7] =
    [Wrong::Lost, Wrong::Duplicate, Wrong::Changed, Wrong::Effect, Wrong::Early, Wrong::Torn, Wrong::Stuck];

#[derive(Default)]
pub(super) struct Job {
    began: bool,
    ended: bool,
    token: Option<u64>,
    /// Of its two steps.
    calls: Calls,
    /// Of its child's one step.
    leaf_calls: Calls,
}

#[derive(Default)]
pub(super) struct Transfer {
    amount: i64,
    refuse: bool,
    debits: u32,
    credits: u32,
    refunds: u32,
    settled: Option<bool>,
    /// Of its one step.
    calls: Calls,
}

#[derive(Default)]
pub(super) struct Account {
    sum: i64,
    deposits: u64,
}

/// An alarm's due time.
pub(super) struct Alarm {
    due_ms: u64,
}

/// Wrong, unless the input itself was doubled: the load's producer is idempotent, and yet librdkafka may write a record
/// twice when it numbers its records anew after the loss of a broker. A start is recognised by its id, a signal is not.
pub(super) struct Suspicion {
    pub(super) wrong: Wrong,
    /// The key whose input has to be looked at.
    pub(super) key: String,
    pub(super) what: String,
}

/// Everything that was started and is not yet forgotten.
pub struct Ledger {
    pub(super) jobs: Window<Job>,
    pub(super) transfers: Window<Transfer>,
    pub(super) accounts: Window<Account>,
    pub(super) alarms: Window<Alarm>,
    /// When very many alarms are due, and how many of those have not fired.
    bomb: Option<(u64, u64)>,
    /// Poisoned commands: how many dead letters each has.
    pub(super) poisons: Window<u32>,
    /// What the age of whatever is open is counted by.
    pub(super) clock: Clock,
    /// Balance of each account of the bank. Its size is that of the bank.
    balances: BTreeMap<u64, i64>,
    wrongs: BTreeMap<Wrong, u64>,
    pub(super) suspicions: Vec<Suspicion>,
    /// Jobs that have ended and their tokens, for whoever models them; taken away each time that commands are read.
    pub(super) tokens: Vec<(u64, u64)>,
    /// Signals that the load's producer has written twice.
    pub(super) doubled_inputs: u64,
    faults: Arc<Faults>,
    /// Steps that ran again under the same key with the same body, which they may.
    pub(super) repeated_calls: u64,
    pub(super) calls: u64,
    /// How late alarms were, outages included, in milliseconds.
    pub(super) lateness_ms: Histogram<u64>,
    /// The time of some lane is not the machine's, so a timer may seem early from here.
    pub(super) clocks_differ: bool,
}

impl Ledger {
    /// An empty one. Findings go to the fault log as well, so that one file tells what happened when.
    pub fn new(faults: Arc<Faults>) -> anyhow::Result<Self> {
        let clock = Clock::default();
        Ok(Ledger {
            jobs: Window::new(&clock),
            transfers: Window::new(&clock),
            accounts: Window::new(&clock),
            alarms: Window::new(&clock),
            poisons: Window::new(&clock),
            bomb: None,
            clock,
            balances: BTreeMap::new(),
            wrongs: BTreeMap::new(),
            suspicions: Vec::new(),
            tokens: Vec::new(),
            doubled_inputs: 0,
            faults,
            repeated_calls: 0,
            calls: 0,
            lateness_ms: times_ms()?,
            clocks_differ: false,
        })
    }

    /// Something is wrong.
    pub fn accuse(&mut self, wrong: Wrong, what: &str) {
        *self.wrongs.entry(wrong).or_default() += 1;
        self.faults.found(wrong, what);
    }

    /// Something is wrong if its input was not doubled. More than so many are wrong anyway.
    fn suspect(&mut self, wrong: Wrong, key: String, what: String) {
        if self.suspicions.len() < SUSPICIONS_MAX {
            self.suspicions.push(Suspicion { wrong, key, what });
        } else {
            self.accuse(wrong, &what);
        }
    }

    /// How often that happened.
    pub fn count(&self, wrong: Wrong) -> u64 {
        self.wrongs.get(&wrong).copied().unwrap_or(0)
    }

    /// Nothing is wrong so far.
    pub fn is_clean(&self) -> bool {
        self.wrongs.is_empty()
    }

    /// A record of the out topic that a committed reader saw for the first time.
    pub fn saw(&mut self, found: &Found) {
        match found.seen() {
            Ok(seen) => self.judge(&seen, found),
            Err(error) => self.accuse(Wrong::Changed, &format!("a record that nobody can read: {error:#}")),
        }
    }

    fn judge(&mut self, seen: &Seen, found: &Found) {
        let verdict = match seen.stage.as_str() {
            "began" | "ended" => self.saw_job(seen, found.lane),
            "debit" | "credit" | "refund" | "settled" => self.saw_transfer(seen),
            "closed" => self.saw_closed(seen),
            "fired" => self.saw_fired(seen),
            other => Err((Wrong::Changed, format!("a record of stage {other:?}"))),
        };
        if let Err((wrong, what)) = verdict {
            self.accuse(wrong, &format!("{what}, at offset {} of partition {}", found.offset, found.lane));
        }
    }

    fn saw_job(&mut self, seen: &Seen, lane: i32) -> Judged {
        let n = seen.n;
        let job = entry(self.jobs.get(n), "job", seen)?;
        let first = if seen.stage == "began" { &mut job.began } else { &mut job.ended };
        if std::mem::replace(first, true) {
            return Err((Wrong::Duplicate, format!("job {n} {} twice", seen.stage)));
        }
        if *job.token.get_or_insert(seen.token) != seen.token {
            return Err((Wrong::Changed, format!("the recorded result of job {n} changed: {seen:?}")));
        }
        if seen.stage == "began" {
            return Ok(());
        }
        if !job.began {
            return Err((Wrong::Lost, format!("job {n} ended and its first record is not there")));
        }
        if !job.calls.are(&[n, seen.token]) || !job.leaf_calls.are(&[n]) {
            let (own, leaf) = (&job.calls, &job.leaf_calls);
            let what = format!("job {n} ended, its steps said {own:?}, its child's {leaf:?}: {seen:?}");
            return Err((Wrong::Effect, what));
        }
        self.jobs.finish(n);
        self.tokens.push((n, seen.token));
        self.faults.progress(lane, n);
        if seen.slept_ms < seen.asked_ms {
            return Err((Wrong::Early, format!("job {n} slept too short: {seen:?}")));
        }
        if seen.go != n || seen.leaf != 2 * n {
            return Err((
                Wrong::Changed,
                format!("job {n} got a signal or a child's result of another: {seen:?}"),
            ));
        }
        Ok(())
    }

    fn saw_transfer(&mut self, seen: &Seen) -> Judged {
        let n = seen.n;
        let transfer = entry(self.transfers.get(n), "transfer", seen)?;
        let twice = match seen.stage.as_str() {
            "settled" => transfer.settled.replace(seen.paid).is_some(),
            stage => {
                let count = match stage {
                    "debit" => &mut transfer.debits,
                    "credit" => &mut transfer.credits,
                    _ => &mut transfer.refunds,
                };
                *count += 1;
                *self.balances.entry(seen.account).or_default() += seen.amount;
                *count > 1
            }
        };
        if twice {
            return Err((Wrong::Duplicate, format!("transfer {n}: a second {}", seen.stage)));
        }
        if seen.stage != "settled" && seen.amount.abs() != transfer.amount {
            return Err((Wrong::Changed, format!("transfer {n} of {} posted {seen:?}", transfer.amount)));
        }
        let (paid, back) = (transfer.credits, transfer.refunds);
        if (transfer.refuse && paid > 0) || (!transfer.refuse && back > 0) {
            return Err((Wrong::Changed, format!("transfer {n} ended in both ways")));
        }
        if seen.stage == "settled" && !transfer.calls.are(&[transfer.amount.unsigned_abs()]) {
            let (amount, calls) = (transfer.amount, &transfer.calls);
            return Err((
                Wrong::Effect,
                format!("transfer {n} of {amount} settled, its step said {calls:?}"),
            ));
        }
        // The postings are on other partitions than the end, so a reader may come to them in any order.
        if transfer.settled == Some(!transfer.refuse) && transfer.debits == 1 && paid + back == 1 {
            self.transfers.finish(n);
        }
        Ok(())
    }

    fn saw_closed(&mut self, seen: &Seen) -> Judged {
        let n = seen.n;
        let account = entry(self.accounts.get(n), "account", seen)?;
        let (sum, deposits) = (account.sum, account.deposits);
        let open_before = self.accounts.open();
        self.accounts.finish(n);
        if self.accounts.open() == open_before {
            return Err((Wrong::Duplicate, format!("account {n} closed twice")));
        }
        if deposits != DEPOSITS || sum != seen.amount || !seen.paid {
            let what = format!("account {n} closed with {seen:?} after {deposits} deposits of {sum} in all");
            self.suspect(Wrong::Changed, format!("account-{n}"), what);
        }
        Ok(())
    }

    fn saw_fired(&mut self, seen: &Seen) -> Judged {
        let n = seen.n;
        let due_ms = entry(self.alarms.get(n), "alarm", seen)?.due_ms;
        let open_before = self.alarms.open();
        self.alarms.finish(n);
        if self.alarms.open() == open_before {
            return Err((Wrong::Duplicate, format!("alarm {n} fired twice")));
        }
        let now_ms = epoch_ms(SystemTime::now());
        let is_of_bomb = self.bomb_of(due_ms).map(|bomb| bomb.1 -= 1).is_some();
        if seen.slept_ms < due_ms || (!self.clocks_differ && now_ms < due_ms) {
            return Err((Wrong::Early, format!("alarm {n}, due at {due_ms}, here at {now_ms}: {seen:?}")));
        }
        if !self.clocks_differ && !is_of_bomb {
            self.lateness_ms.saturating_record(now_ms.saturating_sub(due_ms));
        }
        Ok(())
    }

    /// A dead letter. Its key numbers the poison; nothing else may be there.
    pub fn saw_letter(&mut self, found: &Found) {
        let n = found.key.strip_prefix("poison-").and_then(|n| n.parse().ok());
        let Some(n) = n else {
            let what = format!("a good record is a dead letter: {}", found.key);
            return self.suspect(Wrong::Lost, found.key.clone(), what);
        };
        let again = match self.poisons.get(n) {
            Known::Entry(letters) => {
                *letters += 1;
                *letters > 1
            }
            Known::Forgotten => true,
            Known::Never => {
                return self.accuse(Wrong::Changed, &format!("a dead letter of nobody: {}", found.key));
            }
        };
        self.poisons.finish(n);
        if again {
            self.accuse(Wrong::Duplicate, &format!("{} is a dead letter twice", found.key));
        }
    }

    /// A step tells that it runs: `app/workflow/id/run/step`, and what it carries.
    pub fn heard(&mut self, key: &str, body: u64) {
        self.calls += 1;
        let first = match self.calls_of(key.split('/').nth(2).unwrap_or_default()) {
            Known::Entry(calls) => calls.add(key, body),
            // What a process that was paused does when it wakes comes within the time that entries are kept.
            Known::Forgotten => return,
            Known::Never => return self.accuse(Wrong::Effect, &format!("a step of nobody: {key}, {body}")),
        };
        match first {
            None => {}
            Some(first) if first == body => self.repeated_calls += 1,
            Some(first) => self.accuse(Wrong::Effect, &format!("{key} carried {first}, then {body}")),
        }
    }

    /// Of the instance of that id, if its steps tell.
    fn calls_of(&mut self, id: &str) -> Known<'_, Calls> {
        let Some((kind, n)) = id.rsplit_once('-') else { return Known::Never };
        match (kind, n.parse()) {
            ("job", Ok(n)) => self.jobs.get(n).map(|job| &mut job.calls),
            ("leaf", Ok(n)) => self.jobs.get(n).map(|job| &mut job.leaf_calls),
            ("transfer", Ok(n)) => self.transfers.get(n).map(|transfer| &mut transfer.calls),
            _ => Known::Never,
        }
    }

    /// How many instances have come to their end, children included. Alarms are counted apart: scenarios start a million of
    /// them, and all that they do is sleep.
    pub fn workflows(&self) -> u64 {
        2 * self.jobs.finished() + 2 * self.transfers.finished() + self.accounts.finished()
    }

    /// How many alarms have fired.
    pub fn alarms_fired(&self) -> u64 {
        self.alarms.finished()
    }

    /// How many of what was started have not ended.
    pub fn open(&self) -> u64 {
        self.jobs.open()
            + self.transfers.open()
            + self.accounts.open()
            + self.alarms.open()
            + self.poisons.open()
    }

    /// Those that the load waits for.
    pub fn open_without_bomb(&self) -> u64 {
        self.open() - self.bomb_open()
    }

    /// Alarms of the last bomb that have not fired.
    pub fn bomb_open(&self) -> u64 {
        self.bomb.map_or(0, |(_, open)| open)
    }

    fn bomb_of(&mut self, due_ms: u64) -> Option<&mut (u64, u64)> {
        self.bomb.as_mut().filter(|(due, _)| *due == due_ms)
    }

    /// The bank's money: once no transfer is open, nothing has come and nothing has gone.
    pub fn check_bank(&mut self) {
        let sum: i64 = self.balances.values().sum();
        if sum != 0 && self.transfers.open() == 0 {
            self.accuse(Wrong::Changed, &format!("the bank's accounts add up to {sum}"));
        }
    }

    /// What the postings make of the bank's accounts is what the orders do.
    pub(super) fn compare_balances(&mut self, ordered: &BTreeMap<u64, i64>) {
        let accounts: BTreeSet<u64> = ordered.keys().chain(self.balances.keys()).copied().collect();
        for account in accounts {
            let of = |balances: &BTreeMap<u64, i64>| balances.get(&account).copied().unwrap_or(0);
            let (ordered, posted) = (of(ordered), of(&self.balances));
            if ordered != posted {
                let what = format!("account {account} of the bank has {posted}, the orders say {ordered}");
                self.accuse(Wrong::Changed, &what);
            }
        }
    }

    /// The age of the oldest job or transfer that has not ended: those wait for nobody.
    pub fn oldest_open(&self) -> Duration {
        let job = self.jobs.all_open().next().map(|(_, age, _)| age);
        let transfer = self.transfers.all_open().next().map(|(_, age, _)| age);
        job.max(transfer).unwrap_or_default()
    }

    /// Names what has not ended, some of each kind.
    pub fn list_open(&self, most: usize) -> Vec<String> {
        let jobs = self.jobs.all_open().map(|(n, age, j)| {
            let stage = if j.began { "began" } else { "never began" };
            format!("job-{n}, {} s old, {stage}, {} steps told", age.as_secs(), j.calls.len())
        });
        let transfers = self.transfers.all_open().map(|(n, age, t)| {
            let (d, c, r, s) = (t.debits, t.credits, t.refunds, t.settled);
            format!(
                "transfer-{n}, {} s old: {d} debits, {c} credits, {r} refunds, settled {s:?}",
                age.as_secs()
            )
        });
        let accounts = self
            .accounts
            .all_open()
            .map(|(n, age, a)| format!("account-{n}, {} s old, {} deposits sent", age.as_secs(), a.deposits));
        let alarms = self.alarms.all_open().map(|(n, age, _)| format!("alarm-{n}, {} s old", age.as_secs()));
        let poisons =
            self.poisons.all_open().map(|(n, age, _)| format!("poison-{n}, {} s old", age.as_secs()));
        let all = jobs.take(most).chain(transfers.take(most)).chain(accounts.take(most));
        all.chain(alarms.take(most)).chain(poisons.take(most)).collect()
    }
}

type Judged = Result<(), (Wrong, String)>;

fn entry<'a, T>(known: Known<'a, T>, what: &str, seen: &Seen) -> Result<&'a mut T, (Wrong, String)> {
    match known {
        Known::Entry(entry) => Ok(entry),
        Known::Forgotten => Err((Wrong::Duplicate, format!("{what} {} ended long ago: {seen:?}", seen.n))),
        Known::Never => Err((Wrong::Changed, format!("a {what} that nobody started: {seen:?}"))),
    }
}

/// What the load begins. The ledger must know of it before Kafka does.
impl Ledger {
    /// A job.
    pub fn begin_job(&mut self) -> u64 {
        self.jobs.begin(Job::default())
    }
    /// A transfer.
    pub fn begin_transfer(&mut self, amount: i64, refuse: bool) -> u64 {
        self.transfers.begin(Transfer { amount, refuse, ..Transfer::default() })
    }
    /// An account.
    pub fn begin_account(&mut self) -> u64 {
        self.accounts.begin(Account::default())
    }
    /// A deposit on it; tells its place.
    pub fn deposit(&mut self, n: u64, amount: i64) -> u64 {
        let Known::Entry(account) = self.accounts.get(n) else { return 0 };
        account.sum += amount;
        account.deposits += 1;
        account.deposits - 1
    }
    /// Very many alarms that are due at that time.
    pub fn begin_bomb(&mut self, due_ms: u64) {
        self.bomb = Some((due_ms, 0));
    }
    /// An alarm.
    pub fn begin_alarm(&mut self, due_ms: u64) -> u64 {
        if let Some(bomb) = self.bomb_of(due_ms) {
            bomb.1 += 1;
        }
        self.alarms.begin(Alarm { due_ms })
    }
    /// A command that nobody can apply.
    pub fn begin_poison(&mut self) -> u64 {
        self.poisons.begin(0)
    }
}
