//! Starts workflows and waits for their results, with nothing but the public contract of the topics.

use crate::kafka::{Isolation, PATIENCE, Producer, Reader, Record};
use anyhow::{Context as _, Result, bail, ensure};
use std::collections::HashMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The first part of a closed loop, which is not counted.
const RAMP: Duration = Duration::from_secs(1);

/// What is started.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    /// A workflow that returns at once.
    Empty,
    /// One with so many steps.
    Chain(u32),
}

impl Work {
    fn name(self) -> &'static str {
        match self {
            Work::Empty => "empty",
            Work::Chain(_) => "chain",
        }
    }

    fn input(self) -> String {
        match self {
            Work::Empty => "0".into(),
            Work::Chain(steps) => steps.to_string(),
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
}

/// A client of the app under test.
pub(crate) struct Client {
    commands: String,
    producer: Producer,
    replies: Reader,
    run: u64,
    started: u64,
}

impl Client {
    /// Connects, and waits until the app answers.
    pub(crate) fn connect(brokers: &str, app: &str) -> Result<Self> {
        let run = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis().try_into()?;
        let mut client = Client {
            commands: format!("{app}.commands"),
            producer: Producer::open(brokers, None)?,
            replies: Reader::at_end(brokers, &format!("{app}.replies"), Isolation::Committed)?,
            run,
            started: 0,
        };
        client.start(Work::Empty)?;
        client.result(2 * PATIENCE).context("the app does not answer: look at its log")?;
        client.producer.acknowledged()?;
        Ok(client)
    }

    /// Starts a workflow under an id of its own, which is also how its reply is recognized.
    pub(crate) fn start(&mut self, work: Work) -> Result<u64> {
        self.started += 1;
        let id = format!("b-{:x}-{}", self.run, self.started);
        let header = |name: &str, value: &str| (name.to_string(), value.as_bytes().to_vec());
        let record = Record {
            key: Some(id.into_bytes()),
            value: Some(work.input().into_bytes()),
            headers: vec![
                header("sakia-kind", "start"),
                header("sakia-workflow", work.name()),
                header("sakia-reply", &format!("0:{}", self.started)),
            ],
        };
        self.producer.send(&self.commands, &record)?;
        Ok(self.started)
    }

    /// Workflows started so far.
    pub(crate) fn started(&self) -> u64 {
        self.started
    }

    /// Waits until a start is in the log.
    pub(crate) fn acknowledged(&self) -> Result<()> {
        self.producer.acknowledged()
    }

    /// Number of a workflow that has completed.
    pub(crate) fn result(&self, limit: Duration) -> Result<u64> {
        let reply = self.replies.next(limit)?.context("no reply comes")?;
        let outcome = reply.header("sakia-outcome").unwrap_or_default();
        if outcome != b"completed" {
            bail!("a workflow ended as {:?}", String::from_utf8_lossy(outcome));
        }
        let key = reply.key.context("a reply without its correlation")?;
        Ok(std::str::from_utf8(&key)?.parse()?)
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

    /// So many at any time: each result starts the next.
    pub(crate) fn closed_loop(&mut self, work: Work, in_flight: usize, length: Duration) -> Result<Load> {
        let mut open = HashMap::new();
        for _ in 0..in_flight {
            let began = Instant::now();
            open.insert(self.start(work)?, began);
        }
        let (mut latencies, begin) = (Vec::new(), Instant::now() + RAMP);
        while !open.is_empty() {
            let number = self.result(PATIENCE)?;
            let began = open.remove(&number).context("a reply to something else")?;
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
        Ok(Load { per_second, latencies })
    }
}
