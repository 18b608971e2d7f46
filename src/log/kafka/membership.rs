//! The consumer group, which hands out lanes. Its members fetch nothing; data comes through `CommandFeed`.

use super::config::KafkaConfig;
use super::context::{Events, client_context};
use super::detached::Detached;
use super::fault;
use crate::log::LogError;
use rdkafka::consumer::{
    BaseConsumer, CommitMode, Consumer, ConsumerContext, ConsumerGroupMetadata, RebalanceProtocol,
};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::RDKafkaRespErr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Topic and partition.
pub type TopicPartition = (Arc<str>, i32);

/// Default of `session.timeout.ms`: the least that brokers accept, as a crash is noticed no sooner.
pub const SESSION_TIMEOUT: Duration = Duration::from_secs(6);
/// How late a stop is noticed, at most: it adds to the pause of a clean hand-over.
const POLL: Duration = Duration::from_millis(20);
const QUESTION_WAIT: Duration = Duration::from_secs(10);
/// How long the group's thread waits for an answer on its topic.
const TOPIC_WAIT: Duration = Duration::from_millis(500);
/// How long `leave` waits for the group to take the partitions back.
const LEAVE_WAIT: Duration = Duration::from_secs(5);
/// The close does not wait for LeaveGroup to be sent, and nothing tells when it was: without this pause one leave in
/// two was noticed only after the session timeout.
const LEAVE_PAUSE: Duration = Duration::from_millis(300);

/// What the group decided.
#[derive(Debug)]
pub enum MembershipEvent {
    /// These came to us, perhaps none; the others stay.
    Assigned(Vec<TopicPartition>),
    /// These go to someone else. The group waits until the handler returns, which must be well before the session
    /// timeout. If `lost`, someone else may own them already: write nothing more for them.
    Revoked {
        /// What goes.
        partitions: Vec<TopicPartition>,
        /// We were expelled, so the new owner has not waited.
        lost: bool,
    },
    /// The membership is over for good, for example because another process uses the same static id.
    Failed(String),
}

type Handler = Box<dyn Fn(MembershipEvent) + Send>;

struct GroupContext {
    events: Events,
    handler: Mutex<Handler>,
    /// Partitions that the handler was told of and not told to give back.
    owned: AtomicUsize,
    /// The group was joined since this was looked at.
    joined: AtomicBool,
}

client_context!(GroupContext);

fn partitions(list: &TopicPartitionList) -> Vec<TopicPartition> {
    list.elements().iter().map(|e| (Arc::from(e.topic()), e.partition())).collect()
}

impl GroupContext {
    fn tell(&self, event: MembershipEvent) {
        (self.handler.lock().unwrap_or_else(PoisonError::into_inner))(event);
    }

    /// Takes the partitions without fetching them: at their end, so that no committed offset is looked up, and paused.
    fn assign(&self, consumer: &BaseConsumer<Self>, list: &TopicPartitionList) -> KafkaResult<()> {
        let mut at_end = TopicPartitionList::new();
        for e in list.elements() {
            at_end.add_partition_offset(e.topic(), e.partition(), Offset::End)?;
        }
        if matches!(consumer.rebalance_protocol(), RebalanceProtocol::Cooperative) {
            consumer.incremental_assign(&at_end)?;
        } else {
            consumer.assign(&at_end)?;
        }
        if at_end.count() > 0 { consumer.pause(&at_end) } else { Ok(()) }
    }

    fn unassign(&self, consumer: &BaseConsumer<Self>, list: &TopicPartitionList) -> KafkaResult<()> {
        if matches!(consumer.rebalance_protocol(), RebalanceProtocol::Cooperative) {
            consumer.incremental_unassign(list)
        } else {
            consumer.unassign()
        }
    }
}

impl ConsumerContext for GroupContext {
    /// As rdkafka's own, but errors count (rdkafka 0.39 ignores those of `incremental_assign`) and lanes are stopped
    /// before their partitions are given back.
    fn rebalance(&self, consumer: &BaseConsumer<Self>, err: RDKafkaRespErr, list: &mut TopicPartitionList) {
        self.joined.store(true, Ordering::SeqCst);
        match err {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => match self.assign(consumer, list) {
                Ok(()) => {
                    let got = partitions(list);
                    self.owned.fetch_add(got.len(), Ordering::SeqCst);
                    // Also if there is nothing: then the group has spoken all the same.
                    self.tell(MembershipEvent::Assigned(got));
                }
                Err(e) => {
                    self.tell(MembershipEvent::Failed(format!("cannot take partitions: {}", fault::text(&e))))
                }
            },
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS => {
                let gone = partitions(list);
                let n = gone.len();
                if n > 0 {
                    let lost = consumer.assignment_lost();
                    self.tell(MembershipEvent::Revoked { partitions: gone, lost });
                }
                let left = self.owned.load(Ordering::SeqCst).saturating_sub(n);
                self.owned.store(left, Ordering::SeqCst);
                if let Err(e) = self.unassign(consumer, list) {
                    self.tell(MembershipEvent::Failed(format!(
                        "cannot give partitions back: {}",
                        fault::text(&e)
                    )));
                }
            }
            other => tracing::warn!(target: "sakia::kafka", error = ?other, "rebalance"),
        }
    }

    fn commit_callback(&self, result: KafkaResult<()>, _: &TopicPartitionList) {
        if let Err(e) = result {
            // Only lag monitors read these offsets, and the next commit comes in a second.
            tracing::debug!(target: "sakia::kafka", error = %e, "group offsets were not committed");
        }
    }
}

/// A member of the group. Dropping it leaves the group without waiting; [`Membership::leave`] waits.
pub struct Membership {
    consumer: Option<Arc<BaseConsumer<GroupContext>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    group: String,
}

impl Membership {
    /// Joins the group and subscribes to the topics. `handler` is called on the membership's thread; while it works on
    /// a revocation the partitions are still ours. With `static_id` a restart within the session timeout moves nothing
    /// (0.1 s), but leaving for good is only noticed after it.
    pub fn join(
        config: &KafkaConfig,
        group: &str,
        topics: &[String],
        static_id: Option<String>,
        session_timeout: Duration,
        handler: impl Fn(MembershipEvent) + Send + 'static,
    ) -> Result<Membership, LogError> {
        config.check()?;
        let what = format!("group {group}");
        let context = GroupContext {
            events: Events::new(&what),
            handler: Mutex::new(Box::new(handler)),
            owned: AtomicUsize::new(0),
            joined: AtomicBool::new(false),
        };
        let consumer: BaseConsumer<GroupContext> = config
            .group_member(group, static_id.as_deref(), session_timeout)
            .create_with_context(context)
            .map_err(|e| fault::creation(&what, &e))?;
        let names: Vec<&str> = topics.iter().map(String::as_str).collect();
        consumer.subscribe(&names).map_err(|e| LogError::Refused(format!("{what}: {}", fault::text(&e))))?;
        let consumer = Arc::new(consumer);
        let stop = Arc::new(AtomicBool::new(false));
        let (c, s, is_static) = (Arc::clone(&consumer), Arc::clone(&stop), static_id.is_some());
        let topic = topics.first().cloned().unwrap_or_default();
        let thread = thread::Builder::new()
            .name("membership".into())
            .spawn(move || run(c, &s, is_static, &topic))
            .map_err(|e| LogError::Unavailable(format!("no thread for {what}: {e}")))?;
        Ok(Membership { consumer: Some(consumer), stop, thread: Some(thread), group: group.to_owned() })
    }

    fn consumer(&self) -> Result<&BaseConsumer<GroupContext>, LogError> {
        self.consumer
            .as_ref()
            .map(Arc::as_ref)
            .ok_or_else(|| LogError::Unavailable(format!("group {} was left", self.group)))
    }

    /// The member's current generation, for [`super::IngressWriter`]. Ask anew each time: it moves with every rebalance.
    pub fn group_metadata(&self) -> Result<ConsumerGroupMetadata, LogError> {
        self.consumer()?
            .group_metadata()
            .ok_or_else(|| LogError::Unavailable(format!("group {} has no generation yet", self.group)))
    }

    /// Commits offsets (of the next record to read) for lag monitors, without waiting. Returns at once.
    pub fn commit_offsets(&self, offsets: &[(&str, i32, i64)]) -> Result<(), LogError> {
        let failed = |e: KafkaError| {
            LogError::Unavailable(format!("commit to group {}: {}", self.group, fault::text(&e)))
        };
        let mut list = TopicPartitionList::new();
        for (topic, partition, offset) in offsets {
            list.add_partition_offset(topic, *partition, Offset::Offset(*offset)).map_err(failed)?;
        }
        if list.count() == 0 {
            return Ok(());
        }
        self.consumer()?.commit(&list, CommitMode::Async).map_err(failed)
    }

    /// The group's committed offset; `None` if there is none. Waits for a transaction that is about to change it, and
    /// is `Unavailable` if that takes too long. Blocks.
    pub fn committed(&self, topic: &str, partition: i32) -> Result<Option<i64>, LogError> {
        let what =
            format!("committed offset of group {} for topic {topic} partition {partition}", self.group);
        let mut list = TopicPartitionList::new();
        list.add_partition(topic, partition);
        let found = self
            .consumer()?
            .committed_offsets(list, QUESTION_WAIT)
            .map_err(|e| fault::question(&what, &e))?;
        match found.elements().first() {
            Some(e) => {
                e.error().map_err(|e| fault::question(&what, &e))?;
                Ok(match e.offset() {
                    Offset::Offset(at) => Some(at),
                    _ => None,
                })
            }
            None => Ok(None),
        }
    }

    /// Leaves the group: revokes everything through the handler, then tells the group (a static member does not).
    /// Blocks until done, some seconds at most if the coordinator is away.
    pub fn leave(mut self) {
        // First, as the close runs where the last reference goes, and that is the thread which is waited for.
        drop(self.consumer.take());
        self.stop.store(true, Ordering::SeqCst);
        if let Some(t) = self.thread.take()
            && t.join().is_err()
        {
            tracing::error!(group = self.group, "the membership's thread panicked");
        }
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // Only `leave` waits for the close.
        drop(self.consumer.take().map(Detached::new));
    }
}

fn run(consumer: Arc<BaseConsumer<GroupContext>>, stop: &AtomicBool, is_static: bool, topic: &str) {
    while !stop.load(Ordering::SeqCst) {
        // A heartbeat tells of a rebalance, and librdkafka looks whether one is due only when its main thread wakes: by
        // itself once a second, whatever `heartbeat.interval.ms` says (`rd_kafka_thread_main` in 2.12.1). Any question to
        // that thread wakes it.
        consumer.rebalance_protocol();
        if consumer.context().joined.swap(false, Ordering::SeqCst) {
            // The group joins twice when a lane moves, and librdkafka joins once a second, unless it heard of a topic
            // in between (`rkcg_join_intvl` in 2.12.1). Without this question, the lane would wait out that second. An
            // answer that does not come is no harm.
            drop(consumer.fetch_metadata(Some(topic), TOPIC_WAIT));
        }
        if let Some(Err(KafkaError::MessageConsumptionFatal(code))) = consumer.poll(POLL) {
            let said = consumer.client().fatal_error().map_or_else(|| code.to_string(), |(_, s)| s);
            consumer.context().tell(MembershipEvent::Failed(said));
            break;
        }
    }
    if !is_static {
        consumer.unsubscribe();
        let deadline = Instant::now() + LEAVE_WAIT;
        while consumer.context().owned.load(Ordering::SeqCst) > 0 && Instant::now() < deadline {
            consumer.poll(Duration::from_millis(20));
        }
        let sent_by = Instant::now() + LEAVE_PAUSE;
        while Instant::now() < sent_by {
            consumer.poll(Duration::from_millis(20));
        }
    }
    // The close revokes what a static member has, and only the close does so without telling the group:
    // `rd_kafka_unsubscribe` sends LeaveGroup for a static member as well (`rd_kafka_cgrp_leave_maybe` in 2.12.1 spares
    // it only while it terminates), and its lanes went to others and came back, through two restores.
    drop(consumer);
}
