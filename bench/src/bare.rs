//! What the same records cost without Sakia: the floor that its figures stand on.

use crate::client::{Client, Work};
use crate::kafka::{self, Isolation, NewOne, Producer, Reader, Record, make_topics};
use anyhow::{Context as _, Result, ensure};
use std::time::{Duration, Instant};

/// Workflows that are run to see what they write.
const SAMPLE: usize = 50;

/// The records that the engine writes, for writing the like by hand.
pub(crate) struct Shape {
    /// One journal record of one step.
    pub(crate) journal: Record,
    /// The changelog's records of one empty workflow, its position last.
    pub(crate) changelog: Vec<Record>,
    /// The reply of one empty workflow.
    pub(crate) reply: Record,
}

fn all_of(reader: &Reader) -> Result<Vec<Record>> {
    let mut all = Vec::new();
    while let Some(record) = reader.next(Duration::from_millis(700))? {
        all.push(record);
    }
    Ok(all)
}

impl Shape {
    /// Runs a few workflows and reads what they wrote.
    pub(crate) fn observe(brokers: &str, app: &str, client: &mut Client) -> Result<Self> {
        let reader = |part: &str| Reader::at_end(brokers, &format!("{app}.{part}"), Isolation::Uncommitted);
        let (changelog, replies, journal) = (reader("changelog")?, reader("replies")?, reader("journal")?);
        for _ in 0..SAMPLE {
            client.start(Work::Empty)?;
            client.result(crate::kafka::PATIENCE)?;
            client.acknowledged()?;
        }
        let mut changelog = all_of(&changelog)?;
        let reply = all_of(&replies)?.pop().context("no reply was written")?;
        let each = (changelog.len() + SAMPLE / 2) / SAMPLE;
        ensure!(each > 0, "no state was written");
        let changelog = changelog.split_off(changelog.len() - each);
        client.start(Work::Chain(3))?;
        client.result(crate::kafka::PATIENCE)?;
        client.acknowledged()?;
        let journal = all_of(&journal)?.pop().context("no fact was written")?;
        Ok(Shape { journal, changelog, reply })
    }
}

/// How long a transaction took.
#[derive(Default)]
pub(crate) struct Transactions {
    /// Until all its records were acknowledged.
    pub(crate) written: Vec<Duration>,
    /// Until its commit returned.
    pub(crate) committed: Vec<Duration>,
    /// Until a committed reader in the same process had its reply.
    pub(crate) seen: Vec<Duration>,
}

/// Topics like those of an app with one lane.
pub(crate) struct Topics {
    pub(crate) journal: String,
    pub(crate) changelog: String,
    pub(crate) replies: String,
}

impl Topics {
    /// Makes them.
    pub(crate) fn make(brokers: &str, name: &str) -> Result<Self> {
        let [journal, changelog, replies] =
            ["journal", "changelog", "replies"].map(|t| format!("{name}.{t}"));
        make_topics(
            brokers,
            &[
                NewOne::single(journal.clone(), kafka::JOURNAL),
                NewOne::single(changelog.clone(), kafka::CHANGELOG),
                NewOne::single(replies.clone(), kafka::PLAIN),
            ],
        )?;
        Ok(Topics { journal, changelog, replies })
    }
}

/// Kafka by hand.
pub(crate) struct Bare {
    shape: Shape,
    topics: Topics,
    plain: Producer,
    open: Producer,
    /// Used in turn, as a transaction right after another of the same id meets its markers.
    pair: [Producer; 2],
    reader: Reader,
    turn: usize,
}

impl Bare {
    /// Makes the topics and connects.
    pub(crate) fn connect(brokers: &str, name: &str, shape: Shape) -> Result<Self> {
        let topics = Topics::make(brokers, name)?;
        let id = |part: &str| Producer::open(brokers, Some(&format!("{name}-{part}")));
        Ok(Bare {
            plain: Producer::open(brokers, None)?,
            open: id("open")?,
            pair: [id("a")?, id("b")?],
            reader: Reader::at_end(brokers, &topics.replies, Isolation::Committed)?,
            shape,
            topics,
            turn: 0,
        })
    }

    /// The records that are written.
    pub(crate) fn shape(&self) -> &Shape {
        &self.shape
    }

    /// One plain idempotent produce after the other.
    pub(crate) fn produces(&self, length: Duration) -> Result<Vec<Duration>> {
        one_by_one(&self.plain, &self.topics.journal, &self.shape.journal, length)
    }

    /// The same inside one open transaction, which is what an append to the journal is.
    pub(crate) fn appends(&self, length: Duration) -> Result<Vec<Duration>> {
        self.open.begin()?;
        let took = one_by_one(&self.open, &self.topics.journal, &self.shape.journal, length)?;
        self.open.commit()?;
        Ok(took)
    }

    /// One transaction of an empty workflow's records after the other.
    pub(crate) fn transactions(&mut self, length: Duration) -> Result<Transactions> {
        let mut took = Transactions::default();
        let end = Instant::now() + length;
        while Instant::now() < end {
            let producer = &self.pair[self.turn % 2];
            self.turn += 1;
            let began = Instant::now();
            producer.begin()?;
            let (position, state) = self.shape.changelog.split_last().context("no position")?;
            for record in state {
                producer.send(&self.topics.changelog, record)?;
            }
            producer.send(&self.topics.replies, &self.shape.reply)?;
            producer.send(&self.topics.changelog, position)?;
            producer.acknowledged()?;
            took.written.push(began.elapsed());
            producer.commit()?;
            took.committed.push(began.elapsed());
            self.reader.expect()?;
            took.seen.push(began.elapsed());
        }
        Ok(took)
    }
}

fn one_by_one(producer: &Producer, topic: &str, record: &Record, length: Duration) -> Result<Vec<Duration>> {
    let mut took = Vec::new();
    let end = Instant::now() + length;
    while Instant::now() < end {
        let began = Instant::now();
        producer.send(topic, record)?;
        producer.acknowledged()?;
        took.push(began.elapsed());
    }
    Ok(took)
}
