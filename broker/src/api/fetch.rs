//! Fetch, with its long poll.
use super::{Call, code};
use crate::state::{State, TopicPartition};
use crate::wait::Waiter;
use bytes::BytesMut;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::fetch_response::{AbortedTransaction, FetchableTopicResponse, PartitionData};
use kafka_protocol::messages::{BrokerId, FetchRequest, FetchResponse, ProducerId};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

const READ_COMMITTED: i8 = 1;

/// What the state says of one partition, taken under the lock; the batches are read after it is released.
struct Planned {
    number: u32,
    from: i64,
    end: i64,
    answer: PartitionData,
    max_bytes: usize,
    /// (producer id, first, last)
    aborted: Vec<(i64, i64, i64)>,
}

impl Call<'_> {
    pub(crate) fn fetch(&self, request: FetchRequest) -> FetchResponse {
        if let Err(error) = self.admitted() {
            return FetchResponse::default().with_error_code(error.code());
        }
        let deadline = Instant::now() + Duration::from_millis(request.max_wait_ms.max(0) as u64);
        let min_bytes = request.min_bytes.max(1) as usize;
        let waiter = Arc::new(Waiter::default());
        let watched = partitions(&request);
        let mut registered = false;
        loop {
            let (plan, failed, last_round) = {
                let mut state = self.node.state();
                // under the lock: whoever stops the broker wakes all waiters after setting the flag
                let last_round = Instant::now() >= deadline || self.node.is_stopping();
                if registered {
                    state.remove_waiter(&watched, &waiter);
                }
                let (plan, failed) = plan(&state, &request);
                registered = !failed && !last_round && request.max_wait_ms > 0;
                if registered {
                    // before the data is read, so that what comes meanwhile is not missed
                    waiter.rearm();
                    state.add_waiter(&watched, &waiter);
                }
                (plan, failed, last_round)
            };
            let (response, bytes) = self.read(&request, plan);
            if failed || last_round || bytes >= min_bytes || !registered {
                if registered {
                    self.node.state().remove_waiter(&watched, &waiter);
                }
                return response;
            }
            waiter.wait_until(deadline);
        }
    }

    fn read(&self, request: &FetchRequest, plan: Vec<Vec<Planned>>) -> (FetchResponse, usize) {
        let mut total = 0;
        let max_bytes = request.max_bytes.max(0) as usize;
        let mut topics = Vec::with_capacity(plan.len());
        for (topic, planned) in request.topics.iter().zip(plan) {
            let partitions =
                planned.into_iter().map(|p| self.read_partition(p, max_bytes, &mut total)).collect();
            topics.push(
                FetchableTopicResponse::default().with_topic(topic.topic.clone()).with_partitions(partitions),
            );
        }
        (FetchResponse::default().with_responses(topics), total)
    }

    fn read_partition(&self, planned: Planned, max_bytes: usize, total: &mut usize) -> PartitionData {
        let mut records = BytesMut::new();
        let mut upto = planned.from;
        // Something is always given if there is something, whatever the limits (KIP-74); but only for the
        // first partition that has any.
        let scanned = self.node.store.scan(planned.number, planned.from, planned.end, |base, bytes| {
            let empty = records.is_empty() && *total == 0;
            let fits = records.len() + bytes.len() <= planned.max_bytes
                && *total + records.len() + bytes.len() <= max_bytes;
            if !empty && !fits {
                return ControlFlow::Break(());
            }
            records.extend_from_slice(&bytes);
            upto = base + delta(&bytes);
            ControlFlow::Continue(())
        });
        *total += records.len();
        let mut answer = planned.answer;
        if answer.error_code == 0 {
            answer.error_code = code(&scanned);
        }
        if let Some(aborted) = &mut answer.aborted_transactions {
            let seen = |(_, first, _): &&(i64, i64, i64)| *first <= upto;
            let row = |(id, first, _): &(i64, i64, i64)| {
                AbortedTransaction::default().with_producer_id(ProducerId(*id)).with_first_offset(*first)
            };
            aborted.extend(planned.aborted.iter().filter(seen).map(row));
        }
        answer.with_records(Some(records.freeze()))
    }
}

/// Last offset delta of a stored batch.
fn delta(batch: &[u8]) -> i64 {
    batch.get(23..27).and_then(|b| b.try_into().ok()).map_or(0, |b| i64::from(i32::from_be_bytes(b)))
}

fn partitions(request: &FetchRequest) -> Vec<TopicPartition> {
    let of_topic = |t: &kafka_protocol::messages::fetch_request::FetchTopic| {
        let name = t.topic.to_string();
        t.partitions.iter().map(|p| (name.clone(), p.partition)).collect::<Vec<_>>()
    };
    request.topics.iter().flat_map(of_topic).collect()
}

/// Per topic and partition of the request; true if one of them has an error that must be told at once.
fn plan(state: &State, request: &FetchRequest) -> (Vec<Vec<Planned>>, bool) {
    let committed_only = request.isolation_level == READ_COMMITTED;
    let mut failed = false;
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in &request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for wanted in &topic.partitions {
            let answer = PartitionData::default()
                .with_partition_index(wanted.partition)
                .with_preferred_read_replica(BrokerId(-1))
                .with_aborted_transactions(committed_only.then(Vec::new));
            let mut planned = Planned {
                number: 0,
                from: wanted.fetch_offset,
                end: wanted.fetch_offset,
                answer,
                max_bytes: wanted.partition_max_bytes.max(0) as usize,
                aborted: Vec::new(),
            };
            failed |= !plan_partition(state, &topic.topic, committed_only, &mut planned);
            partitions.push(planned);
        }
        topics.push(partitions);
    }
    (topics, failed)
}

fn plan_partition(state: &State, topic: &str, committed_only: bool, planned: &mut Planned) -> bool {
    let answer = &mut planned.answer;
    let Some(partition) = state.partition(topic, answer.partition_index) else {
        answer.error_code = ResponseError::UnknownTopicOrPartition.code();
        answer.high_watermark = -1;
        return false;
    };
    answer.high_watermark = partition.meta.next;
    answer.last_stable_offset = partition.last_stable_offset();
    answer.log_start_offset = partition.meta.start;
    if planned.from < partition.meta.start || planned.from > partition.meta.next {
        answer.error_code = ResponseError::OffsetOutOfRange.code();
        return false;
    }
    planned.number = partition.number;
    planned.end = partition.visible_end(committed_only);
    if committed_only {
        let between = partition.aborted_between(planned.from, planned.end);
        planned.aborted = between.map(|txn| (txn.producer_id, txn.first, txn.last)).collect();
    }
    true
}
