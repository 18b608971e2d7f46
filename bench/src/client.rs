//! Starts workflows and waits for their results, with nothing but the public contract of the topics.

use crate::kafka::{Isolation, PATIENCE, Producer, Reader, Record};
use anyhow::{Context as _, Result, bail, ensure};
use sakia::log::kafka::partition_for;
use std::collections::HashMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How long a new app may take to join its group and take its lanes over.
const FIRST_ANSWER: Duration = Duration::from_secs(60);
/// For an instance of many steps.
const HISTORY_LIMIT: Duration = Duration::from_secs(120);

/// What is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// A workflow that returns at once.
    Empty,
    /// One with so many steps.
    Chain(u32),
    /// One with so many empty children.
    Fan(u32),
    /// One that waits for a signal, and the signal right behind the start.
    Signal,
    /// One that waits for a signal, and none.
    Waiting,
    /// One that sleeps until a moment, in milliseconds since 1970.
    Timer(u64),
    /// One with so many steps that returns when each ran.
    History(u32),
}

impl Work {
    fn name(self) -> &'static str {
        match self {
            Work::Empty => "empty",
            Work::Chain(_) => "chain",
            Work::Fan(_) => "fan",
            Work::Signal | Work::Waiting => "signal",
            Work::Timer(_) => "timer",
            Work::History(_) => "history",
        }
    }

    fn input(self) -> String {
        match self {
            Work::Empty | Work::Signal | Work::Waiting => "0".into(),
            Work::Chain(many) | Work::Fan(many) | Work::History(many) => many.to_string(),
            Work::Timer(due_ms) => due_ms.to_string(),
        }
    }
}

/// What came of a closed loop.
#[derive(Clone)]
pub(crate) struct Load {
    /// Workflows per second.
    pub(crate) per_second: f64,
    /// From start to result.
    pub(crate) latencies: Vec<Duration>,
    /// All that were completed, also in the ramp.
    pub(crate) completed: u64,
}

/// A client of the app under test.
pub(crate) struct Client {
    app: String,
    lanes: i32,
    commands: String,
    producer: Producer,
    replies: Reader,
    run: u64,
    started: u64,
}

impl Client {
    /// Connects, and waits until every lane of the app answers. A client reads what is committed; only who wants to
    /// know when a lane works reads more.
    pub(crate) fn connect(brokers: &str, app: &str, lanes: i32, isolation: Isolation) -> Result<Self> {
        let mut client = Self::in_advance(brokers, app, lanes, isolation)?;
        client.every_lane_answers()?;
        Ok(client)
    }

    /// Connects, whether or not the app is there.
    pub(crate) fn in_advance(brokers: &str, app: &str, lanes: i32, isolation: Isolation) -> Result<Self> {
        let run = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis().try_into()?;
        Ok(Client {
            app: app.into(),
            lanes,
            commands: format!("{app}.commands"),
            producer: Producer::open(brokers, None)?,
            replies: Reader::at_end(brokers, &format!("{app}.replies"), isolation)?,
            run,
            started: 0,
        })
    }

    /// Waits until every lane has completed a workflow.
    pub(crate) fn every_lane_answers(&mut self) -> Result<()> {
        let mut missing: Vec<i32> = (0..self.lanes).collect();
        let mut open = Vec::new();
        while !missing.is_empty() {
            let number = self.start(Work::Empty)?;
            missing.retain(|lane| *lane != self.lane_of(number));
            open.push(number);
        }
        for _ in open {
            self.result(FIRST_ANSWER).with_context(|| format!("{} does not answer", self.app))?;
        }
        self.producer.acknowledged()
    }

    fn id(&self, number: u64) -> String {
        format!("b-{:x}-{number}", self.run)
    }

    /// The lane of a workflow that was started.
    pub(crate) fn lane_of(&self, number: u64) -> i32 {
        partition_for(self.id(number).as_bytes(), self.lanes)
    }

    /// Starts a workflow under an id of its own, which is also how its reply is recognized.
    pub(crate) fn start(&mut self, work: Work) -> Result<u64> {
        self.started += 1;
        let number = self.started;
        let reply = format!("0:{number}");
        self.command(number, "start", work, ("sakia-reply", &reply), &work.input())?;
        if work == Work::Signal {
            self.signal(number)?;
        }
        Ok(number)
    }

    /// Starts a workflow on a certain lane.
    pub(crate) fn start_on(&mut self, lane: i32, work: Work) -> Result<u64> {
        while self.lane_of(self.started + 1) != lane {
            self.started += 1;
        }
        self.start(work)
    }

    /// Starts a workflow whose result nobody waits for.
    pub(crate) fn start_unheard(&mut self, work: Work) -> Result<u64> {
        self.started += 1;
        self.command(self.started, "start", work, ("bench", "unheard"), &work.input())?;
        Ok(self.started)
    }

    /// Sends the signal that a workflow waits for.
    pub(crate) fn signal(&self, number: u64) -> Result<()> {
        self.command(number, "signal", Work::Waiting, ("sakia-name", "go"), "7")
    }

    /// Asks for the result of a workflow.
    pub(crate) fn await_result(&self, number: u64) -> Result<()> {
        self.command(number, "await", Work::Waiting, ("sakia-reply", &format!("0:{number}")), "")
    }

    fn command(&self, number: u64, kind: &str, work: Work, more: (&str, &str), value: &str) -> Result<()> {
        let header = |name: &str, value: &str| (name.to_string(), value.as_bytes().to_vec());
        let record = Record {
            key: Some(self.id(number).into_bytes()),
            value: (!value.is_empty()).then(|| value.as_bytes().to_vec()),
            headers: vec![
                header("sakia-kind", kind),
                header("sakia-workflow", work.name()),
                header(more.0, more.1),
            ],
        };
        self.producer.send(&self.commands, &record)
    }

    /// Waits until everything sent is in the log.
    pub(crate) fn acknowledged(&self) -> Result<()> {
        self.producer.acknowledged()
    }

    /// Waits until at most so many records have no acknowledgement.
    pub(crate) fn room(&self, unacknowledged: usize) -> Result<()> {
        self.producer.room(unacknowledged)
    }

    /// Takes the acknowledgements that are there; fails if a record was refused.
    pub(crate) fn check(&self) -> Result<()> {
        self.producer.check()
    }

    /// A workflow that has completed: its number and its result. `None` if none does within the limit.
    pub(crate) fn next_result(&self, limit: Duration) -> Result<Option<(u64, Vec<u8>)>> {
        let Some(reply) = self.replies.next(limit)? else { return Ok(None) };
        let outcome = reply.header("sakia-outcome").unwrap_or_default();
        if outcome != b"completed" {
            let told = String::from_utf8_lossy(reply.value.as_deref().unwrap_or_default()).into_owned();
            bail!("a workflow ended as {:?}: {told}", String::from_utf8_lossy(outcome));
        }
        let key = reply.key.context("a reply without its correlation")?;
        Ok(Some((std::str::from_utf8(&key)?.parse()?, reply.value.unwrap_or_default())))
    }

    /// Runs an instance of so many steps, and returns how long each but the first took, from body to body.
    pub(crate) fn steps_of_one(&mut self, steps: u32) -> Result<Vec<Duration>> {
        let number = self.start(Work::History(steps))?;
        let (ended, value) = self.next_result(HISTORY_LIMIT)?.context("it does not end")?;
        ensure!(ended == number, "a reply to something else");
        let took: Vec<u32> = serde_json::from_slice(&value)?;
        ensure!(took.len() + 1 == steps as usize, "{} steps ran", took.len() + 1);
        Ok(took.into_iter().map(|us| Duration::from_micros(us.into())).collect())
    }

    /// Number of a workflow that has completed.
    pub(crate) fn result(&self, limit: Duration) -> Result<u64> {
        Ok(self.next_result(limit)?.context("no reply comes")?.0)
    }

    /// One workflow after the other.
    pub(crate) fn one_at_a_time(&mut self, work: Work, length: Duration) -> Result<Vec<Duration>> {
        let mut latencies = Vec::new();
        let end = Instant::now() + length;
        while Instant::now() < end {
            let began = Instant::now();
            let number = self.start(work)?;
            ensure!(self.result(PATIENCE)? == number, "a reply to something else");
            latencies.push(began.elapsed());
            self.producer.check()?;
        }
        Ok(latencies)
    }

    /// So many at any time: each result starts the next. What completes in the ramp is not measured.
    pub(crate) fn closed_loop(
        &mut self,
        work: Work,
        in_flight: usize,
        ramp: Duration,
        length: Duration,
    ) -> Result<Load> {
        let (first, mut open) = (self.started + 1, HashMap::new());
        for _ in 0..in_flight {
            let began = Instant::now();
            open.insert(self.start(work)?, began);
        }
        let (mut latencies, begin, mut completed) = (Vec::new(), Instant::now() + ramp, 0);
        while !open.is_empty() {
            let number = self.result(PATIENCE)?;
            // Left over from a measurement that failed.
            if number < first {
                continue;
            }
            let began = open.remove(&number).context("a reply to something else")?;
            completed += 1;
            let now = Instant::now();
            if now >= begin && now < begin + length {
                latencies.push(now - began);
            }
            if now < begin + length {
                open.insert(self.start(work)?, now);
            }
            self.producer.check()?;
        }
        let per_second = latencies.len() as f64 / length.as_secs_f64();
        Ok(Load { per_second, latencies, completed })
    }
}
