//! What happens, in order.

use crate::kafka::{self, Auditor, Shop};
use crate::orders::{self, Case};
use crate::processes::{Process, Stage};
use crate::summary::Summary;
use anyhow::{Result, bail};
use payment_example::contracts::{CLICKS, ORDERS};
use payment_example::ledger::{Entry, Operation, Outcome, Reader};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

const TICK: Duration = Duration::from_millis(25);
const ORDERS_PER_TICK: usize = 1;
/// How long a person looks at an order.
const LOOKING: Duration = Duration::from_millis(400);
/// How long the killed process stays away.
const AWAY: Duration = Duration::from_secs(2);
/// A late second event would have come by then.
const SETTLING: Duration = Duration::from_secs(2);
/// Longer than a take-over takes: whatever has not moved for so long does not move any more.
const STALL: Duration = Duration::from_secs(30);

/// Runs the demo. `Ok(true)` if every order ended as it must.
pub(crate) async fn tell() -> Result<bool> {
    let dir = tempfile::Builder::new().prefix("sakia-demo-").tempdir()?;
    let told = tell_in(dir.path()).await;
    if !matches!(told, Ok(true)) {
        println!("The logs are kept in {}", dir.keep().display());
    }
    told
}

async fn tell_in(dir: &std::path::Path) -> Result<bool> {
    let started = Instant::now();
    let stage = Stage::set(dir)?;
    let mut show = Show::open(stage, started).await?;
    show.run().await?;
    show.say("every order has its event; waiting a moment for any that should not come");
    tokio::time::sleep(SETTLING).await;
    let Show { apps, stage, cases, kill, .. } = show;
    for app in apps.into_iter().flatten() {
        app.stop().await?;
    }
    let events = Auditor::read_all(&stage.bootstrap()).await?;
    let ledger = Reader::open(&stage.ledger())?.read_new()?;
    let summary = Summary::of(&cases, &events, &ledger, kill.at_ms);
    print!("\n{summary}");
    println!("\nThe whole demo took {:.0} s.", started.elapsed().as_secs_f64());
    Ok(summary.holds())
}

/// The kill in the middle.
#[derive(Debug, Default)]
struct Kill {
    at: Option<Instant>,
    /// The same on the ledger's clock.
    at_ms: Option<u64>,
    restarted: bool,
}

struct Show {
    started: Instant,
    stage: Stage,
    cases: Vec<Case>,
    shop: Shop,
    auditor: Auditor,
    ledger: Reader,
    apps: [Option<Process>; 2],
    broker: Option<Process>,
    provider: Process,
    kill: Kill,
    sent: usize,
    /// Authorized orders that a person is looking at, and until when.
    desk: VecDeque<(Instant, usize)>,
    authorized: BTreeSet<String>,
    ended: BTreeSet<String>,
    last_event: Instant,
    last_progress: Instant,
}

impl Show {
    async fn open(stage: Stage, started: Instant) -> Result<Self> {
        println!("Sakia: {} orders, one kill -9, each paid or refused exactly once\n", orders::COUNT);
        let say = |what: String| line(started, &what);
        let broker = stage.start_broker().await?;
        say(match &broker {
            Some(broker) => format!(
                "a broker on {}, process {} (for development; the same runs on Apache Kafka)",
                stage.bootstrap(),
                broker.id()
            ),
            None => format!("Kafka on {}", stage.bootstrap()),
        });
        let provider = stage.start_provider().await?;
        say(format!(
            "a payment provider with bad days, process {}: it declines, it answers 503, it keeps a ledger",
            provider.id()
        ));
        kafka::create_topics(&stage.bootstrap()).await?;
        stage.create_app_topics()?;
        say("topics: orders, approval-clicks, payments, and the app's own".into());
        let apps = [stage.start_app("app-a")?, stage.start_app("app-b")?];
        say(format!("two processes of the app share the work: a is {}, b is {}", apps[0].id(), apps[1].id()));
        Ok(Show {
            started,
            shop: Shop::open(&stage.bootstrap())?,
            auditor: Auditor::open(&stage.bootstrap())?,
            ledger: Reader::open(&stage.ledger())?,
            cases: orders::cases(),
            apps: apps.map(Some),
            stage,
            broker,
            provider,
            kill: Kill::default(),
            sent: 0,
            desk: VecDeque::new(),
            authorized: BTreeSet::new(),
            ended: BTreeSet::new(),
            last_event: Instant::now(),
            last_progress: Instant::now(),
        })
    }

    fn say(&self, what: &str) {
        line(self.started, what);
    }

    async fn run(&mut self) -> Result<()> {
        self.say(&format!("the shop puts orders on topic {}", ORDERS.name()));
        while self.ended.len() < self.cases.len() {
            self.send_orders()?;
            self.decide()?;
            self.watch()?;
            self.kill_and_restart()?;
            self.check_processes()?;
            self.show_progress();
            if self.last_event.elapsed() > STALL {
                bail!("{}", self.stalled());
            }
            tokio::time::sleep(TICK).await;
        }
        self.progress();
        Ok(())
    }

    /// What is missing, and what the processes have to say to it.
    fn stalled(&self) -> String {
        let missing: Vec<_> = self
            .cases
            .iter()
            .map(|case| case.order.id.as_str())
            .filter(|id| !self.ended.contains(*id))
            .collect();
        let complaints: Vec<_> = self.apps.iter().flatten().flat_map(Process::complaints).collect();
        format!(
            "for {} s no order has ended; {} have no event on topic payments, for example {}\n{}",
            STALL.as_secs(),
            missing.len(),
            missing[..missing.len().min(10)].join(", "),
            complaints.join("\n")
        )
    }

    fn send_orders(&mut self) -> Result<()> {
        for case in self.cases.iter().skip(self.sent).take(ORDERS_PER_TICK) {
            self.shop.put(ORDERS.name(), &case.order.id, &case.order)?;
            self.sent += 1;
            if self.sent == self.cases.len() {
                self.shop.flush()?;
                self.say(&format!("all {} orders are in; the shop is done", self.sent));
            }
        }
        Ok(())
    }

    /// People see an order when its money is held, look at it for a moment, and click.
    fn decide(&mut self) -> Result<()> {
        for Entry { operation, order, outcome, .. } in self.ledger.read_new()? {
            let held = operation == Operation::Authorize && matches!(outcome, Outcome::Done { .. });
            if held && self.authorized.insert(order.clone()) {
                let case = self.cases.iter().position(|case| case.order.id == order);
                self.desk.extend(case.map(|case| (Instant::now() + LOOKING, case)));
            }
        }
        while self.desk.front().is_some_and(|(until, _)| *until <= Instant::now()) {
            let Some((_, case)) = self.desk.pop_front() else { break };
            let Case { order, fate } = &self.cases[case];
            if let Some(decision) = fate.click() {
                self.shop.put(CLICKS.name(), &order.id, &decision)?;
            }
        }
        Ok(())
    }

    fn watch(&mut self) -> Result<()> {
        while let Some((order, _)) = self.auditor.poll()? {
            self.ended.insert(order);
            self.last_event = Instant::now();
        }
        Ok(())
    }

    fn kill_and_restart(&mut self) -> Result<()> {
        let under_way = self.authorized.len().saturating_sub(self.ended.len());
        if self.kill.at.is_none()
            && self.ended.len() >= orders::COUNT / 4
            && let Some(app) = self.apps[0].take()
        {
            let id = app.id();
            app.kill()?;
            self.kill.at = Some(Instant::now());
            self.kill.at_ms = Some(unix_ms());
            self.say(&format!(
                "kill -9 {id}: process a is gone, with {under_way} orders between hold and payment"
            ));
            self.say("process b gets its lanes when the group has noticed: after the session timeout, 6 s");
        }
        if !self.kill.restarted && self.kill.at.is_some_and(|at| at.elapsed() >= AWAY) {
            let app = self.stage.start_app("app-a")?;
            self.say(&format!("process a is back as {}, with its old folder", app.id()));
            self.apps[0] = Some(app);
            self.kill.restarted = true;
        }
        Ok(())
    }

    fn check_processes(&mut self) -> Result<()> {
        self.broker.as_mut().map_or(Ok(()), Process::check_alive)?;
        self.provider.check_alive()?;
        self.apps.iter_mut().flatten().try_for_each(Process::check_alive)
    }

    fn show_progress(&mut self) {
        if self.last_progress.elapsed() >= Duration::from_secs(1) {
            self.last_progress = Instant::now();
            self.progress();
        }
    }

    fn progress(&self) {
        let (sent, held, ended) = (self.sent, self.authorized.len(), self.ended.len());
        let bar = "█".repeat(30 * ended / self.cases.len());
        self.say(&format!("  {bar:░<30} {sent:>3} ordered  {held:>3} authorized  {ended:>3} ended"));
    }
}

fn line(started: Instant, what: &str) {
    println!("{:>5.1} s  {what}", started.elapsed().as_secs_f64());
}

fn unix_ms() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

/// How often each thing occurs.
pub(crate) fn count<T: Ord>(things: impl IntoIterator<Item = T>) -> BTreeMap<T, usize> {
    let mut counts = BTreeMap::new();
    for thing in things {
        *counts.entry(thing).or_default() += 1;
    }
    counts
}
