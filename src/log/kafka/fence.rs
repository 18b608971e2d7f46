//! The fence: a producer whose transactional id no earlier owner can use any more.
//!
//! librdkafka 2.12.1 can do it in some 30 ms, but waits a hard-coded 500 ms in two places: `rd_kafka_txn_coord_query`
//! while no broker is connected yet, and `rd_kafka_idemp_request_pid_failed` while the coordinator still aborts what the
//! earlier owner left open. Both are avoided here, as a lane stands still meanwhile (540 ms and 1030 ms became 50 and 160
//! with four lanes on Kafka 4.3.1).

use super::connection::connect;
use super::fault;
use super::polled::PolledProducer;
use crate::log::LogError;
use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, Producer, ProducerContext};
use std::time::{Duration, Instant};

/// One call of `init_transactions`. It goes on in the background; the next call takes it up again.
const SLICE: Duration = Duration::from_millis(20);
/// Clients that are tried one after another before the last one waits as long as librdkafka likes. An abort takes the
/// coordinator some milliseconds, seldom more than the making of a second client.
const CLIENTS_MAX: usize = 20;

/// Creates a producer and fences every earlier owner of its id, but not before `may_fence` has returned: a client takes
/// as long to connect as to fence. `topic` is one that it is going to write.
pub(crate) fn open_fenced<C>(
    config: &ClientConfig,
    context: impl Fn() -> C,
    id: &str,
    topic: &str,
    wait: Duration,
    may_fence: impl FnOnce() -> Result<(), LogError>,
) -> Result<PolledProducer<C>, LogError>
where
    C: ProducerContext + 'static,
{
    let deadline = Instant::now() + wait;
    let connected = || {
        let producer = PolledProducer::new(config, context(), &format!("transactional id {id}"))?;
        connect(producer.client(), topic, deadline.saturating_duration_since(Instant::now()));
        Ok::<_, LogError>(producer)
    };
    let mut producer = connected()?;
    may_fence()?;
    let mut clients = 1;
    while !init(&producer, id, deadline, clients >= CLIENTS_MAX)? {
        // Its end begins before the next one's question.
        drop(producer);
        producer = connected()?;
        clients += 1;
    }
    Ok(producer)
}

/// `false`: the coordinator is busy with the earlier owner's transaction, and this client sleeps before it asks again;
/// another one can ask at once. If this one's next question overtakes its end, it fences its successor, who is lost
/// and takes over once more.
fn init<C: ProducerContext + 'static>(
    producer: &BaseProducer<C>,
    id: &str,
    deadline: Instant,
    is_last: bool,
) -> Result<bool, LogError> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match producer.init_transactions(left.min(SLICE)) {
            Ok(()) => return Ok(true),
            Err(KafkaError::Transaction(e)) if e.is_retriable() && !left.is_zero() => {
                if e.code() == RDKafkaErrorCode::ConcurrentTransactions && !is_last {
                    return Ok(false);
                }
                // Some errors come at once.
                std::thread::sleep(Duration::from_millis(2));
            }
            Err(e) => return Err(init_error(id, &e)),
        }
    }
}

fn init_error(id: &str, e: &KafkaError) -> LogError {
    let said = format!("init_transactions of {id}: {}", fault::text(e));
    match e.rdkafka_error_code() {
        Some(
            RDKafkaErrorCode::TransactionalIdAuthorizationFailed
            | RDKafkaErrorCode::ClusterAuthorizationFailed,
        ) => LogError::Refused(format!(
            "{said}; grant this principal WRITE and DESCRIBE on the transactional id"
        )),
        Some(RDKafkaErrorCode::InvalidTransactionTimeout) => LogError::Refused(format!(
            "{said}; raise `transaction.max.timeout.ms` of the brokers to a minute or more"
        )),
        Some(
            RDKafkaErrorCode::Fenced
            | RDKafkaErrorCode::ProducerFenced
            | RDKafkaErrorCode::InvalidProducerEpoch,
        ) => LogError::Lost(said),
        _ => LogError::Unavailable(said),
    }
}
