//! What librdkafka tells on the side: log lines, errors, fatal states.

use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The same complaint is logged at most this often: a broker that is away causes several lines a second.
const REPEAT_AFTER: Duration = Duration::from_secs(30);

/// The facility of the line that librdkafka logs whenever it closes a connection (`rd_kafka_broker_set_error`).
const CONNECTION_BROKE: &str = "FAIL";

/// Passes librdkafka's words on to `tracing` and remembers a fatal error.
pub(crate) struct Events {
    what: String,
    told: Mutex<HashMap<String, Instant>>,
    fatal: Mutex<Option<String>>,
    seen: AtomicU64,
    broken: AtomicU64,
}

impl Events {
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Events {
            what: what.into(),
            told: Mutex::default(),
            fatal: Mutex::default(),
            seen: AtomicU64::new(0),
            broken: AtomicU64::new(0),
        }
    }

    /// Counts every event that `poll` consumes without returning it: a `None` from `poll` means an empty queue only
    /// if this has not moved.
    pub(crate) fn seen(&self) -> u64 {
        self.seen.load(Ordering::SeqCst)
    }

    pub(crate) fn count(&self) {
        self.seen.fetch_add(1, Ordering::SeqCst);
    }

    /// How often a connection to any broker broke. Only with `debug=broker`: librdkafka calls it an error at most once
    /// in 30 s.
    pub(crate) fn broken_connections(&self) -> u64 {
        self.broken.load(Ordering::SeqCst)
    }

    pub(crate) fn fatal(&self) -> Option<String> {
        self.fatal.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn is_news(&self, key: &str) -> bool {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.len() > 64 {
            told.clear();
        }
        let now = Instant::now();
        match told.get(key) {
            Some(at) if now.duration_since(*at) < REPEAT_AFTER => false,
            _ => {
                told.insert(key.to_owned(), now);
                true
            }
        }
    }

    pub(crate) fn log(&self, level: RDKafkaLogLevel, fac: &str, line: &str) {
        use RDKafkaLogLevel as L;
        self.count();
        if fac == CONNECTION_BROKE {
            self.broken.fetch_add(1, Ordering::SeqCst);
        }
        match level {
            L::Emerg | L::Alert | L::Critical | L::Error | L::Warning if self.is_news(fac) => {
                tracing::warn!(target: "sakia::kafka", client = %self.what, fac, "{line}");
            }
            _ => tracing::debug!(target: "sakia::kafka", client = %self.what, fac, "{line}"),
        }
    }

    pub(crate) fn error(&self, error: &KafkaError, reason: &str) {
        self.count();
        if matches!(error.rdkafka_error_code(), Some(RDKafkaErrorCode::PartitionEOF)) {
            return;
        }
        if matches!(error.rdkafka_error_code(), Some(RDKafkaErrorCode::Fatal)) {
            let mut fatal = self.fatal.lock().unwrap_or_else(PoisonError::into_inner);
            fatal.get_or_insert_with(|| reason.to_owned());
        }
        let key = error.rdkafka_error_code().map_or_else(|| error.to_string(), |c| format!("{c:?}"));
        if self.is_news(&key) {
            tracing::warn!(target: "sakia::kafka", client = %self.what, error = %error, "{reason}");
        } else {
            tracing::debug!(target: "sakia::kafka", client = %self.what, error = %error, "{reason}");
        }
    }
}

/// Implements `ClientContext` by a field named `events`.
macro_rules! client_context {
    ($context:ty) => {
        impl rdkafka::client::ClientContext for $context {
            fn log(&self, level: rdkafka::config::RDKafkaLogLevel, fac: &str, line: &str) {
                self.events.log(level, fac, line);
            }
            fn error(&self, error: rdkafka::error::KafkaError, reason: &str) {
                self.events.error(&error, reason);
            }
        }
    };
}
pub(crate) use client_context;

/// The context of clients that need nothing else.
pub(crate) struct PlainContext {
    events: Events,
}

impl PlainContext {
    pub(crate) fn new(what: impl Into<String>) -> Self {
        PlainContext { events: Events::new(what) }
    }
}

client_context!(PlainContext);
impl rdkafka::consumer::ConsumerContext for PlainContext {}
