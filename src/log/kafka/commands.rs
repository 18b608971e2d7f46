//! Live input: one consumer for all lanes of the process, without a group.
//!
//! The consumer polls on a thread of its own and never stops; what a taker has no room for waits here, and a partition of
//! which too much waits is paused.
//! (Queues split off per partition are dead after every `assign()`, rdkafka #738.)

use super::config::KafkaConfig;
use super::connection::{CONNECT_WAIT, connect};
use super::context::PlainContext;
use super::fault;
use super::log::Inquirer;
use super::record;
use crate::log::{Isolation, LogError, Record};
use crossbeam_channel::{Receiver, Sender, TrySendError, bounded, unbounded};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::collections::{HashSet, VecDeque};
use std::thread;
use std::time::Duration;

/// Records that are polled at once, over all partitions, and that a taker gets at once.
const BATCH: usize = 1000;
/// A partition is paused when so many of its records wait for their taker…
const WAITING_RECORDS_MAX: usize = 5_000;
/// … or so many bytes of keys and values. One poll may bring more.
const WAITING_BYTES_MAX: usize = 4 << 20;
/// Longest sleep in a poll, and so the longest wait of `add` and `remove`.
const POLL: Duration = Duration::from_millis(10);
/// Sleep while a batch waits for room.
const POLL_WHEN_FULL: Duration = Duration::from_millis(1);
/// `add` and `remove` wait for the feed's thread at most this long.
const CALL_WAIT: Duration = Duration::from_secs(20);

/// What became of a batch that was offered.
pub enum Offer {
    /// Taken.
    Taken,
    /// No room now; the batch comes back and is offered again, in order, before anything else.
    Full(Vec<Record>),
    /// Nobody is there any more; the partition is removed from the feed.
    Gone,
}

/// Takes the records of one partition. Called on the feed's thread: must not block.
pub trait FeedSink: Send + 'static {
    /// Committed records in offset order. Each comes once, offsets may have gaps.
    fn offer(&mut self, batch: Vec<Record>) -> Offer;
    /// The partition cannot be read on; it has been removed from the feed.
    fn failed(&mut self, error: LogError);
}

/// A bounded channel is a sink; keep it short, as each item is a whole batch.
impl FeedSink for Sender<Result<Vec<Record>, LogError>> {
    fn offer(&mut self, batch: Vec<Record>) -> Offer {
        match self.try_send(Ok(batch)) {
            Ok(()) | Err(TrySendError::Full(Err(_))) => Offer::Taken,
            Err(TrySendError::Full(Ok(batch))) => Offer::Full(batch),
            Err(TrySendError::Disconnected(_)) => Offer::Gone,
        }
    }
    fn failed(&mut self, error: LogError) {
        // The receiver may be full or gone; dropping the sender after this tells it as well.
        drop(self.send_timeout(Err(error), Duration::from_secs(1)));
    }
}

enum Order {
    Add {
        topic: String,
        partition: i32,
        from: i64,
        sink: Box<dyn FeedSink>,
        done: Sender<Result<(), LogError>>,
    },
    Remove {
        topic: String,
        partition: i32,
        done: Sender<Result<(), LogError>>,
    },
}

/// Feeds the lanes of one process. Dropping it stops its thread without waiting.
pub struct CommandFeed {
    orders: Sender<Order>,
}

impl CommandFeed {
    /// Starts the feed's thread. Connects lazily.
    pub fn open(config: &KafkaConfig) -> Result<CommandFeed, LogError> {
        config.check()?;
        let consumer: BaseConsumer<PlainContext> = config
            .feed()
            .create_with_context(PlainContext::new("command feed"))
            .map_err(|e| fault::creation("the command feed", &e))?;
        let inquirer = Inquirer::new(config, Isolation::Uncommitted)?;
        let (orders, inbox) = unbounded();
        thread::Builder::new()
            .name("command-feed".into())
            .spawn(move || {
                let (taps, connected) = (Vec::new(), HashSet::new());
                Feed { consumer, inquirer, inbox, taps, connected }.run();
            })
            .map_err(|e| LogError::Unavailable(format!("no thread for the command feed: {e}")))?;
        Ok(CommandFeed { orders })
    }

    /// Begins to deliver a partition from an offset on. Blocks for some milliseconds.
    pub fn add(&self, topic: &str, partition: i32, from: i64, sink: impl FeedSink) -> Result<(), LogError> {
        let (done, answer) = bounded(1);
        self.order(Order::Add { topic: topic.into(), partition, from, sink: Box::new(sink), done }, &answer)
    }

    /// Ends the delivery. When it returns, the sink has been dropped and gets nothing more. Removing what is not there
    /// is no error.
    pub fn remove(&self, topic: &str, partition: i32) -> Result<(), LogError> {
        let (done, answer) = bounded(1);
        self.order(Order::Remove { topic: topic.into(), partition, done }, &answer)
    }

    fn order(&self, order: Order, answer: &Receiver<Result<(), LogError>>) -> Result<(), LogError> {
        let gone = |_| LogError::Unavailable("the command feed's thread does not answer".into());
        self.orders.send(order).map_err(|_| gone(()))?;
        answer.recv_timeout(CALL_WAIT).map_err(|_| gone(()))?
    }
}

/// One partition and its taker.
struct Tap {
    topic: String,
    partition: i32,
    /// Records below were handed over or are in `waiting`; they come again when a paused fetch starts over.
    next: i64,
    waiting: Waiting,
    paused: bool,
    sink: Box<dyn FeedSink>,
}

/// Records that wait for their taker, in batches.
#[derive(Default)]
struct Waiting {
    batches: VecDeque<Vec<Record>>,
    records: usize,
    bytes: usize,
}

impl Waiting {
    fn push(&mut self, record: Record) {
        self.count(std::slice::from_ref(&record), usize::saturating_add);
        match self.batches.back_mut() {
            Some(last) if last.len() < BATCH => last.push(record),
            _ => self.batches.push_back(vec![record]),
        }
    }

    fn pop(&mut self) -> Option<Vec<Record>> {
        let batch = self.batches.pop_front()?;
        self.count(&batch, usize::saturating_sub);
        Some(batch)
    }

    fn put_back(&mut self, batch: Vec<Record>) {
        self.count(&batch, usize::saturating_add);
        self.batches.push_front(batch);
    }

    fn count(&mut self, batch: &[Record], add: fn(usize, usize) -> usize) {
        let size = |part: &Option<bytes::Bytes>| part.as_ref().map_or(0, bytes::Bytes::len);
        let bytes = batch.iter().map(|r| size(&r.key) + size(&r.value)).sum();
        (self.records, self.bytes) = (add(self.records, batch.len()), add(self.bytes, bytes));
    }

    fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    fn is_full(&self) -> bool {
        self.records >= WAITING_RECORDS_MAX || self.bytes >= WAITING_BYTES_MAX
    }
}

impl Tap {
    fn is(&self, topic: &str, partition: i32) -> bool {
        self.partition == partition && self.topic == topic
    }

    fn list(&self) -> KafkaResult<TopicPartitionList> {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&self.topic, self.partition, Offset::Offset(self.next))?;
        Ok(list)
    }
}

struct Feed {
    consumer: BaseConsumer<PlainContext>,
    inquirer: Inquirer,
    inbox: Receiver<Order>,
    taps: Vec<Tap>,
    /// Topics whose leaders were asked for.
    connected: HashSet<String>,
}

impl Feed {
    fn run(mut self) {
        loop {
            loop {
                match self.inbox.try_recv() {
                    Ok(order) => self.obey(order),
                    Err(crossbeam_channel::TryRecvError::Empty) => break,
                    Err(crossbeam_channel::TryRecvError::Disconnected) => return,
                }
            }
            let any_full = self.taps.iter().any(|t| !t.waiting.is_empty());
            self.poll(if any_full { POLL_WHEN_FULL } else { POLL });
            self.hand_over();
        }
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Add { topic, partition, from, sink, done } => {
                if self.taps.iter().any(|t| t.is(&topic, partition)) {
                    let said = format!("topic {topic} partition {partition} is in the feed already");
                    drop(done.send(Err(LogError::Refused(said))));
                    return;
                }
                if self.connected.insert(topic.clone()) {
                    connect(self.consumer.client(), &topic, CONNECT_WAIT);
                }
                let tap =
                    Tap { topic, partition, next: from, waiting: Waiting::default(), paused: false, sink };
                if let Err(e) = tap.list().and_then(|l| self.assign(&l)) {
                    drop(done.send(Err(LogError::Unavailable(fault::text(&e)))));
                    return;
                }
                self.taps.push(tap);
                if done.send(Ok(())).is_err() {
                    // Whoever asked waits no longer, and asks again: then it must not be here already.
                    self.unplug(self.taps.len() - 1);
                }
            }
            Order::Remove { topic, partition, done } => {
                if let Some(i) = self.taps.iter().position(|t| t.is(&topic, partition)) {
                    self.unplug(i);
                }
                drop(done.send(Ok(())));
            }
        }
    }

    /// librdkafka keeps a partition paused over an unassign: without the resume, one that was given up while its taker was
    /// full would never be fed again in this process.
    fn assign(&self, list: &TopicPartitionList) -> KafkaResult<()> {
        self.consumer.incremental_assign(list)?;
        self.consumer.resume(list)
    }

    fn unplug(&mut self, i: usize) -> Tap {
        let tap = self.taps.swap_remove(i);
        if let Err(e) = tap.list().and_then(|l| self.consumer.incremental_unassign(&l)) {
            tracing::warn!(topic = tap.topic, partition = tap.partition, error = %e, "cannot unassign");
        }
        tap
    }

    /// Takes what is there, at most a batch.
    fn poll(&mut self, wait: Duration) {
        let mut wait = wait;
        let mut trouble = None;
        let mut last = 0;
        for _ in 0..BATCH {
            match self.consumer.poll(wait) {
                Some(Ok(m)) => take(&mut self.taps, &mut last, &m),
                Some(Err(e)) => trouble = Some(e),
                None => break,
            }
            wait = Duration::ZERO;
        }
        if let Some(e) = trouble {
            self.judge(&e);
        }
    }

    fn hand_over(&mut self) {
        let mut i = 0;
        while i < self.taps.len() {
            let tap = &mut self.taps[i];
            let mut gone = false;
            while let Some(batch) = tap.waiting.pop() {
                match tap.sink.offer(batch) {
                    Offer::Taken => continue,
                    Offer::Full(back) => tap.waiting.put_back(back),
                    Offer::Gone => gone = true,
                }
                break;
            }
            if gone {
                self.unplug(i);
                continue;
            }
            if tap.waiting.is_full() {
                self.pause(i);
            } else if tap.waiting.is_empty() {
                self.go_on(i);
            }
            i += 1;
        }
    }

    fn pause(&mut self, i: usize) {
        let tap = &mut self.taps[i];
        if !tap.paused {
            let done = tap.list().and_then(|l| self.consumer.pause(&l));
            tap.paused = told(tap, "pause", done);
        }
    }

    /// librdkafka's thread for the broker may be asleep, for up to a second, and a resume does not wake it. A seek does.
    fn go_on(&mut self, i: usize) {
        let tap = &mut self.taps[i];
        if tap.paused {
            let (at, at_once) = (Offset::Offset(tap.next), Duration::ZERO);
            let done = tap
                .list()
                .and_then(|l| self.consumer.resume(&l))
                .and_then(|()| self.consumer.seek(&tap.topic, tap.partition, at, at_once));
            tap.paused = !told(tap, "resume", done);
        }
    }

    /// Most errors pass by themselves and were logged by the context. rdkafka does not say which partition an offset
    /// error belongs to, so the leaders are asked.
    fn judge(&mut self, e: &KafkaError) {
        use RDKafkaErrorCode as Code;
        match e.rdkafka_error_code() {
            Some(Code::OffsetOutOfRange | Code::AutoOffsetReset) => self.check_ranges(),
            Some(Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::UnknownPartition) => {
                self.check_ranges()
            }
            _ => {}
        }
    }

    fn check_ranges(&mut self) {
        let mut i = 0;
        while i < self.taps.len() {
            let (topic, partition, next) =
                (self.taps[i].topic.clone(), self.taps[i].partition, self.taps[i].next);
            let error = match self.inquirer.offsets(&topic, partition) {
                Ok(r) if (r.start..=r.end).contains(&next) => None,
                Ok(r) => Some(LogError::Broken(format!(
                    "topic {topic} partition {partition} offset {next} is not in the log any more (it holds {}..{}): \
                     records were deleted before they were read, or the topic was made anew. Check its retention \
                     settings. A topic of the app's own: restore it, or start under a new app name. One that it \
                     binds: stop the app, and set its group's position with kafka-consumer-groups.sh --reset-offsets",
                    r.start, r.end
                ))),
                Err(LogError::Unavailable(_)) => None,
                Err(e) => Some(e),
            };
            if let Some(error) = error {
                self.unplug(i).sink.failed(error);
                continue;
            }
            self.restart(i);
            i += 1;
        }
    }

    /// librdkafka stops fetching a partition after an offset error; begin again where we are.
    fn restart(&mut self, i: usize) {
        let tap = &self.taps[i];
        let again =
            tap.list().and_then(|l| self.consumer.incremental_unassign(&l).and_then(|()| self.assign(&l)));
        if let Err(e) = again {
            tracing::warn!(topic = tap.topic, partition = tap.partition, error = %e, "cannot restart fetching");
        }
        self.taps[i].paused = false;
    }
}

fn told(tap: &Tap, what: &str, done: KafkaResult<()>) -> bool {
    if let Err(e) = &done {
        tracing::warn!(topic = tap.topic, partition = tap.partition, error = %e, "cannot {what}");
    }
    done.is_ok()
}

fn take(taps: &mut [Tap], last: &mut usize, m: &BorrowedMessage<'_>) {
    let (topic, partition) = (m.topic(), m.partition());
    if !taps.get(*last).is_some_and(|t| t.is(topic, partition)) {
        match taps.iter().position(|t| t.is(topic, partition)) {
            Some(i) => *last = i,
            None => return,
        }
    }
    let tap = &mut taps[*last];
    if m.offset() >= tap.next {
        tap.next = m.offset() + 1;
        tap.waiting.push(record::from_message(m));
    }
}
