//! The load: starts of all kinds at a steady rate, as any producer would send them, as long as there is room.

use super::ledger::Ledger;
use super::lock::lock;
use super::workflows::{Alarm, DEPOSITS, Deposit, Transfer, epoch_ms};
use crate::kit::{Cluster, Writer};
use anyhow::Result;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

/// Starts that have not ended, at most: while the system is down the load waits.
const OPEN_MAX: u64 = 4_000;
/// Accounts that wait for deposits, at most.
const ACCOUNTS_MAX: usize = 100;
/// Accounts of the bank.
const BANK: u64 = 50;
const TICK: Duration = Duration::from_millis(20);
/// A record that was handed over must arrive, however long Kafka is away.
const PATIENCE_MS: &str = "1800000";

/// What the load and the scenarios share.
pub struct Load {
    writer: Mutex<Writer>,
    commands: String,
    ledger: Arc<Mutex<Ledger>>,
    paused: AtomicBool,
    ended: AtomicBool,
    /// Starts per second.
    rate: f64,
}

const START: (&str, &str) = ("sakia-kind", "start");

impl Load {
    /// Prepares it; [`Load::run`] drives it.
    pub fn new(cluster: &Cluster, app: &str, rate: u32, ledger: &Arc<Mutex<Ledger>>) -> Result<Self> {
        let writer = cluster.writer(&[
            ("partitioner", "murmur2_random"),
            ("message.timeout.ms", PATIENCE_MS),
            ("linger.ms", "2"),
        ])?;
        Ok(Load {
            writer: Mutex::new(writer),
            commands: format!("{app}.commands"),
            ledger: ledger.clone(),
            paused: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            rate: rate.into(),
        })
    }

    /// Starts workflows until [`Load::end`]; then closes what waits for more.
    pub fn run(&self, seed: u64) -> Result<()> {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut accounts: Vec<u64> = Vec::new();
        let (mut owed, mut last) = (0.0, Instant::now());
        while !self.ended.load(Ordering::SeqCst) {
            // The rate of the load: what is owed by now is started in each turn.
            std::thread::sleep(TICK);
            let passed = std::mem::replace(&mut last, Instant::now()).elapsed().as_secs_f64();
            if self.paused.load(Ordering::SeqCst) || lock(&self.ledger).open_without_bomb() > OPEN_MAX {
                continue;
            }
            // What a pause of this thread has left undone is not made up for in one burst.
            owed = f64::min(owed + passed * self.rate, self.rate);
            while owed >= 1.0 {
                owed -= 1.0;
                self.start_one(&mut rng, &mut accounts)?;
            }
        }
        while let Some(account) = accounts.pop() {
            while !self.deposit(&mut rng, account)? {}
        }
        Ok(())
    }

    fn start_one(&self, rng: &mut StdRng, accounts: &mut Vec<u64>) -> Result<()> {
        match rng.random_range(0..1_000) {
            0..600 => self.start_job()?,
            600..750 => self.start_transfer(rng)?,
            750..760 if accounts.len() < ACCOUNTS_MAX => accounts.push(self.start_account()?),
            750..900 if !accounts.is_empty() => {
                let at = rng.random_range(0..accounts.len());
                if self.deposit(rng, accounts[at])? {
                    accounts.swap_remove(at);
                }
            }
            900..997 => {
                let delay = Duration::from_millis(rng.random_range(0..5_000));
                self.start_alarm(SystemTime::now() + delay)?;
            }
            997..1_000 => self.poison(rng.random_range(0..4))?,
            _ => self.start_job()?,
        }
        Ok(())
    }

    fn put(&self, key: &str, value: &str, headers: &[(&str, &str)]) -> Result<()> {
        lock(&self.writer).put_keyed(&self.commands, key, value, headers)
    }

    fn start_job(&self) -> Result<()> {
        let n = lock(&self.ledger).begin_job();
        let (key, value, workflow) = (format!("job-{n}"), n.to_string(), ("sakia-workflow", "job"));
        self.put(&key, &value, &[START, workflow])?;
        self.put(&key, &value, &[("sakia-kind", "signal"), workflow, ("sakia-name", "go")])
    }

    fn start_transfer(&self, rng: &mut StdRng) -> Result<()> {
        let (from, to) = (rng.random_range(0..BANK), rng.random_range(0..BANK));
        let (amount, refuse) = (rng.random_range(1..1_000), rng.random_ratio(1, 5));
        let n = lock(&self.ledger).begin_transfer(amount, refuse);
        let order = serde_json::to_string(&Transfer { n, from, to, amount, refuse })?;
        self.put(&format!("transfer-{n}"), &order, &[START, ("sakia-workflow", "transfer")])
    }

    fn start_account(&self) -> Result<u64> {
        let n = lock(&self.ledger).begin_account();
        self.put(&format!("account-{n}"), &n.to_string(), &[START, ("sakia-workflow", "account")])?;
        Ok(n)
    }

    /// Whether that was the last one.
    fn deposit(&self, rng: &mut StdRng, account: u64) -> Result<bool> {
        let amount = rng.random_range(1..100);
        let place = lock(&self.ledger).deposit(account, amount);
        let deposit = serde_json::to_string(&Deposit { place, amount })?;
        let headers = [("sakia-kind", "signal"), ("sakia-workflow", "account"), ("sakia-name", "deposit")];
        self.put(&format!("account-{account}"), &deposit, &headers)?;
        Ok(place + 1 == DEPOSITS)
    }

    /// Starts one alarm. Also for scenarios, past the rate.
    pub fn start_alarm(&self, due: SystemTime) -> Result<()> {
        let due_ms = epoch_ms(due);
        let n = lock(&self.ledger).begin_alarm(due_ms);
        let alarm = serde_json::to_string(&Alarm { n, due_ms })?;
        self.put(&format!("alarm-{n}"), &alarm, &[START, ("sakia-workflow", "alarm")])
    }

    /// From now on alarms that are due at that time hold up nobody, and their lateness is told by itself.
    pub fn begin_bomb(&self, due: SystemTime) {
        lock(&self.ledger).begin_bomb(epoch_ms(due));
    }

    /// A record that no lane can apply. Also for scenarios.
    pub fn poison(&self, kind: u32) -> Result<()> {
        let n = lock(&self.ledger).begin_poison();
        let (key, job) = (format!("poison-{n}"), ("sakia-workflow", "job"));
        match kind {
            0 => self.put(&key, "1", &[("sakia-kind", "explode"), job]),
            1 => self.put(&key, "{\"no\": number}", &[START, job]),
            2 => self.put(&key, "1", &[START, ("sakia-workflow", "nobody")]),
            _ => self.put(&key, &format!("\"{}\"", "x".repeat(990_000)), &[START, job]),
        }
    }

    /// No starts until [`Load::resume`].
    pub fn pause(&self) {
        self.paused.store(true, Ordering::SeqCst);
    }

    /// Goes on.
    pub fn resume(&self) {
        self.paused.store(false, Ordering::SeqCst);
    }

    /// Ends [`Load::run`].
    pub fn end(&self) {
        self.ended.store(true, Ordering::SeqCst);
    }

    /// Waits until Kafka has acknowledged everything.
    pub fn settle(&self) -> Result<()> {
        lock(&self.writer).drain().map(drop)
    }
}
