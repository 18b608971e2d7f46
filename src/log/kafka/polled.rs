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
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// How late the end is noticed. Whole milliseconds, and a rest that is over when the thread has woken. A client that is
/// given up must be gone before librdkafka repeats a question after 500 ms, see `fence`.
const SLICE: Duration = Duration::from_micros(200_050);

/// A producer and the thread that serves its events. Dropping it waits for that thread.
pub(crate) struct PolledProducer<C: ProducerContext + 'static> {
    producer: Arc<BaseProducer<C>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl<C: ProducerContext + 'static> PolledProducer<C> {
    /// `what` is how errors call it.
    pub(crate) fn new(config: &ClientConfig, context: C, what: &str) -> Result<Self, LogError> {
        let producer: BaseProducer<C> =
            config.create_with_context(context).map_err(|e| fault::creation(what, &e))?;
        let producer = Arc::new(producer);
        let stop = Arc::new(AtomicBool::new(false));
        let (served, stopped) = (Arc::clone(&producer), Arc::clone(&stop));
        let serve = move || {
            while !stopped.load(Ordering::Relaxed) {
                served.poll(SLICE);
            }
        };
        // Linux shows 15 bytes of it.
        let thread = thread::Builder::new()
            .name("producer-events".into())
            .spawn(serve)
            .map_err(|e| LogError::Unavailable(format!("no thread for {what}: {e}")))?;
        Ok(PolledProducer { producer, stop, thread: Some(thread) })
    }
}

impl<C: ProducerContext + 'static> Deref for PolledProducer<C> {
    type Target = BaseProducer<C>;
    fn deref(&self) -> &BaseProducer<C> {
        &self.producer
    }
}

impl<C: ProducerContext + 'static> Drop for PolledProducer<C> {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("a thread that serves a producer's events panicked");
        }
    }
}
