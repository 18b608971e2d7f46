//! Retention by time and size for topics with cleanup policy `delete`, and forgetting of idle producers.
use crate::log::BatchHeader;
use crate::node::Node;
use crate::state::TopicPartition;
use crate::store::Changes;
use crate::topic_config;
use kafka_protocol::ResponseError;
use std::ops::ControlFlow;

/// Kafka's `producer.id.expiration.ms`: an idempotent producer that was silent for a day is forgotten.
const PRODUCER_EXPIRATION_MS: i64 = 86_400_000;
const UNLIMITED: i64 = -1;

struct Limits {
    oldest_ms: Option<i64>,
    bytes: Option<u64>,
}

/// Applies retention to every partition.
pub(crate) fn run(node: &Node) {
    let now = node.time.now_ms();
    let all: Vec<TopicPartition> = {
        let state = node.state();
        let indexes = |t: &crate::state::Topic| 0..t.partitions.len() as i32;
        state.topics.iter().flat_map(|(name, t)| indexes(t).map(|i| (name.clone(), i))).collect()
    };
    for tp in all {
        if node.is_stopping() {
            return;
        }
        if let Err(error) = cut(node, &tp, now).and_then(|()| forget_producers(node, &tp, now)) {
            tracing::error!(topic = tp.0, partition = tp.1, ?error, "retention failed");
        }
    }
}

fn limits(node: &Node, topic: &str, now: i64) -> Option<Limits> {
    let state = node.state();
    let configs = &state.topics.get(topic)?.meta.configs;
    if !topic_config::is_deleted(configs) {
        return None;
    }
    let ms = topic_config::number(configs, topic_config::RETENTION_MS);
    let bytes = topic_config::number(configs, topic_config::RETENTION_BYTES);
    Some(Limits {
        oldest_ms: (ms != UNLIMITED).then(|| now.saturating_sub(ms)),
        bytes: u64::try_from(bytes).ok(),
    })
}

fn cut(node: &Node, tp: &TopicPartition, now: i64) -> Result<(), ResponseError> {
    let Some(limits) = limits(node, &tp.0, now) else { return Ok(()) };
    let state = node.state();
    let Some(partition) = state.partition(&tp.0, tp.1) else { return Ok(()) };
    let (number, start) = (partition.number, partition.meta.start);
    // a transaction that is still open keeps its records
    let end = partition.last_stable_offset();
    let mut size = partition.meta.bytes;
    drop(state);
    let mut new_start = start;
    node.store.scan(number, start, end, |_, bytes| {
        let Ok(header) = BatchHeader::parse(&bytes) else { return ControlFlow::Break(()) };
        let too_old = limits.oldest_ms.is_some_and(|oldest| header.max_timestamp < oldest);
        let too_much = limits.bytes.is_some_and(|limit| size > limit);
        if !(too_old || too_much) || header.last_offset() >= end {
            return ControlFlow::Break(());
        }
        size = size.saturating_sub(bytes.len() as u64);
        new_start = header.last_offset() + 1;
        ControlFlow::Continue(())
    })?;
    if new_start == start {
        return Ok(());
    }
    let mut state = node.state();
    // made anew under the same name meanwhile
    if state.partition(&tp.0, tp.1).is_none_or(|p| p.number != number) {
        return Ok(());
    }
    let mut changes = Changes::default();
    state.advance_start(tp, new_start, &mut changes);
    state.store.commit(changes)
}

fn forget_producers(node: &Node, tp: &TopicPartition, now: i64) -> Result<(), ResponseError> {
    let mut state = node.state();
    let store = state.store.clone();
    let Some(partition) = state.partition_mut(&tp.0, tp.1) else { return Ok(()) };
    let mut changes = Changes::default();
    let number = partition.number;
    partition.producers.retain(|id, producer| {
        let idle = producer.txn_first.is_none() && now - producer.last_ms > PRODUCER_EXPIRATION_MS;
        if idle {
            changes.delete_producer(number, *id);
        }
        !idle
    });
    store.commit(changes)
}
