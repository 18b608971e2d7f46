//! A producer whose events are served on a thread of its own: as soon as there are any, and at no cost while there are
//! none.
//!
//! rdkafka's `ThreadedProducer` does the same, but it ends each wait of 100 ms by spinning for most of a millisecond:
//! `BaseProducer::poll` (0.39) asks librdkafka again until its time is over, and hands it whole milliseconds only. That
//! is up to a hundredth of a core for each producer, and a lane has three.

use super::fault;
use crate::log::LogError;
use rdkafka::config::ClientConfig;
use rdkafka::producer::{BaseProducer, ProducerContext};
use std::ops::Deref;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// How late the end is noticed. Whole milliseconds, and a rest that is over when the thread has woken. A client that is
/// given up must be gone before librdkafka repeats a question after 500 ms, see `fence`.
const SLICE: Duration = Duration::from_micros(200_050);

/// A producer that a thread serves. Dropping it waits for nothing: the thread notices that nobody else has the client
/// any more, and ends it.
pub(crate) struct PolledProducer<C: ProducerContext + 'static>(Arc<BaseProducer<C>>);

impl<C: ProducerContext + 'static> PolledProducer<C> {
    /// `what` is how errors call it.
    pub(crate) fn new(config: &ClientConfig, context: C, what: &str) -> Result<Self, LogError> {
        let producer: BaseProducer<C> =
            config.create_with_context(context).map_err(|e| fault::creation(what, &e))?;
        let producer = Arc::new(producer);
        let served = Arc::clone(&producer);
        let serve = move || {
            while Arc::strong_count(&served) > 1 {
                served.poll(SLICE);
            }
        };
        // Linux shows 15 bytes of it.
        thread::Builder::new()
            .name("producer-events".into())
            .spawn(serve)
            .map_err(|e| LogError::Unavailable(format!("no thread for {what}: {e}")))?;
        Ok(PolledProducer(producer))
    }
}

impl<C: ProducerContext + 'static> Deref for PolledProducer<C> {
    type Target = BaseProducer<C>;
    fn deref(&self) -> &BaseProducer<C> {
        &self.0
    }
}
