//! Follows the commands of all lanes and gives them to the model, each once, as any reader of the topic finds them.
//!
//! It must miss none: lanes delete commands a minute after they are done with them. If it does, the model says nothing.

use super::ledger::{Ledger, Wrong};
use super::lock::lock;
use super::model::{Model, Said};
use crate::kit::{Cluster, Isolation};
use anyhow::Result;
use rdkafka::Message;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Headers as _};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use sakia::codec::command::{self, Incoming};
use sakia::codec::headers::{self, Header};
use sakia::core::history::Outcome;
use sakia::core::input::{CommandAsk, Waiter};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How long the last commands may take to arrive when nothing happens any more.
const CATCH_UP: Duration = Duration::from_secs(60);
/// Ids of commands that are poison: their fate is a dead letter, which the ledger knows.
const POISON: &str = "poison-";

/// Follows the topic.
pub struct Follower {
    cluster: Cluster,
    topic: String,
    consumer: BaseConsumer,
    /// The offset behind the last command of each lane.
    read: Vec<i64>,
    ledger: Arc<Mutex<Ledger>>,
    /// What follows from the commands.
    pub model: Model,
    /// Why it proves nothing.
    pub missed: Vec<String>,
}

impl Follower {
    /// From the first command on.
    pub fn new(cluster: &Cluster, app: &str, lanes: i32, ledger: &Arc<Mutex<Ledger>>) -> Result<Self> {
        let topic = format!("{app}.commands");
        let consumer: BaseConsumer = cluster
            .client_config()
            .set("group.id", "follower")
            .set("enable.auto.commit", "false")
            .set("isolation.level", Isolation::Committed.setting())
            .set("check.crcs", "true")
            // Whatever is gone when it is asked for is an error, not a reason to begin elsewhere.
            .set("auto.offset.reset", "error")
            .create()?;
        let mut list = TopicPartitionList::new();
        for lane in 0..lanes {
            list.add_partition_offset(&topic, lane, Offset::Offset(0))?;
        }
        consumer.assign(&list)?;
        Ok(Follower {
            cluster: cluster.clone(),
            topic,
            consumer,
            read: vec![0; usize::try_from(lanes)?],
            ledger: ledger.clone(),
            model: Model::new(lanes),
            missed: Vec::new(),
        })
    }

    /// Reads what there is within `patience`. Whether there was something.
    pub fn follow(&mut self, patience: Duration) -> bool {
        let tokens = std::mem::take(&mut lock(&self.ledger).tokens);
        for (n, token) in tokens {
            self.model.learn_token(n, token);
        }
        match self.consumer.poll(patience) {
            None => return false,
            Some(Ok(message)) => {
                let (lane, offset) = (message.partition(), message.offset());
                let read = self.read.get_mut(usize::try_from(lane).unwrap_or(usize::MAX));
                let expected = read.map_or(0, |read| std::mem::replace(read, offset + 1));
                let found = apply(&mut self.model, &message);
                if offset < expected {
                    self.missed.push(format!("{} {lane}: offset {offset} came after {expected}", self.topic));
                }
                if let Err((wrong, what)) = found {
                    let at = format!("at offset {offset} of {} {lane}", self.topic);
                    lock(&self.ledger).accuse(wrong, &format!("{what}, {at}"));
                }
            }
            Some(Err(error)) => {
                if is_gap(&error) {
                    self.missed.push(format!(
                        "{}: commands were deleted before they were read: {error}",
                        self.topic
                    ));
                }
            }
        }
        true
    }

    /// Whether it has read all of a lane's commands before this offset.
    pub fn has_read(&self, lane: usize, before: i64) -> bool {
        self.read.get(lane).is_some_and(|read| *read >= before)
    }

    /// Reads the rest, when nobody writes any more.
    pub fn catch_up(&mut self) -> Result<()> {
        let began = Instant::now();
        let mut ends = Vec::new();
        for lane in 0..i32::try_from(self.read.len())? {
            ends.push(self.cluster.read_last(&self.topic, lane)?);
        }
        while self.read.iter().zip(&ends).any(|(read, end)| read < end) {
            if began.elapsed() > CATCH_UP {
                self.missed.push(format!("{}: read to {:?} of {ends:?}", self.topic, self.read));
                break;
            }
            self.follow(Duration::from_millis(100));
        }
        self.follow(Duration::ZERO);
        Ok(())
    }
}

fn is_gap(error: &KafkaError) -> bool {
    let codes = [RDKafkaErrorCode::OffsetOutOfRange, RDKafkaErrorCode::AutoOffsetReset];
    error.rdkafka_error_code().is_some_and(|code| codes.contains(&code))
}

fn apply(model: &mut Model, message: &BorrowedMessage<'_>) -> Result<(), (Wrong, String)> {
    let id = String::from_utf8_lossy(message.key().unwrap_or_default()).into_owned();
    if id.starts_with(POISON) {
        return Ok(());
    }
    let bytes = |part: Option<&[u8]>| part.map(bytes::Bytes::copy_from_slice);
    let all: Vec<Header> = message.headers().map_or_else(Vec::new, |all| {
        all.iter().map(|h| (headers::name(h.key), bytes(h.value).unwrap_or_default())).collect()
    });
    let (key, value) = (bytes(message.key()), bytes(message.payload()));
    let payload = String::from_utf8_lossy(message.payload().unwrap_or_default()).into_owned();
    let incoming = command::decode(key.as_ref(), value.as_ref(), &all);
    let Ok(Incoming::Command(command)) = incoming else {
        return Err((Wrong::Changed, format!("no command: {id} {payload}: {incoming:?}")));
    };
    let (told, parent);
    let said = match &command.ask {
        CommandAsk::Start { waiter: Some(Waiter::Parent(link)), .. } => {
            parent = link.parent.id.clone();
            Said::ChildStart(&parent)
        }
        CommandAsk::Start { .. } => Said::Start,
        CommandAsk::Signal { name, .. } => Said::Signal(name),
        CommandAsk::ChildEnded { outcome, .. } => {
            told = text(outcome);
            Said::ChildEnded(&told)
        }
        other => return Err((Wrong::Changed, format!("a command that nobody gave: {id} {other:?}"))),
    };
    model.apply(message.partition(), &command.to.workflow, &id, said, &payload)
}

/// An outcome in the model's words.
pub(super) fn text(outcome: &Outcome) -> String {
    match outcome {
        Ok(payload) => format!("completed {}", String::from_utf8_lossy(payload)),
        Err(failure) => format!(
            "failed {:?}: {} {}",
            failure.kind,
            failure.message,
            String::from_utf8_lossy(&failure.details)
        ),
    }
}
