//! Faults that tests can switch on while the broker runs.
use crate::api::Api;
use parking_lot::{Condvar, Mutex};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What to do with one answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AnswerFault {
    Drop,
    Hold(Duration),
}

#[derive(Default)]
struct Settings {
    window: Duration,
    latency: Duration,
    end_txn_frozen: bool,
    refuse: HashMap<Api, (u32, i16)>,
    answers: HashMap<Api, (u32, AnswerFault)>,
    seen: HashMap<Api, u64>,
    stopping: bool,
}

#[derive(Default)]
struct Shared {
    settings: Mutex<Settings>,
    changed: Condvar,
}

/// Handle to the faults of a running broker; clones share the same settings.
#[derive(Clone, Default)]
pub struct Faults(Arc<Shared>);

impl Faults {
    pub(crate) fn new(window: Duration, latency: Duration) -> Self {
        let faults = Self::default();
        faults.set_concurrent_transactions_window(window);
        faults.set_request_latency(latency);
        faults
    }

    /// See [`BrokerConfig::concurrent_transactions_window`](crate::BrokerConfig::concurrent_transactions_window).
    pub fn set_concurrent_transactions_window(&self, window: Duration) {
        self.0.settings.lock().window = window;
    }

    /// See [`BrokerConfig::request_latency`](crate::BrokerConfig::request_latency).
    pub fn set_request_latency(&self, latency: Duration) {
        self.0.settings.lock().latency = latency;
    }

    /// Refuses the next `count` requests of `api` with a Kafka error code, without carrying them out.
    /// Served by the APIs of producers, transactions, group offsets, heartbeats and coordinators.
    pub fn refuse_next(&self, api: Api, count: u32, error_code: i16) {
        self.0.settings.lock().refuse.insert(api, (count, error_code));
    }

    /// Carries out the next `count` requests of `api`, then closes the connection instead of answering:
    /// the client cannot know whether they took effect.
    pub fn drop_next_answers(&self, api: Api, count: u32) {
        self.0.settings.lock().answers.insert(api, (count, AnswerFault::Drop));
    }

    /// Carries out the next `count` requests of `api` and keeps each answer back for `time`.
    pub fn hold_next_answers(&self, api: Api, count: u32, time: Duration) {
        self.0.settings.lock().answers.insert(api, (count, AnswerFault::Hold(time)));
    }

    /// Stops every `EndTxn` between its two steps: the decision is stored and answered, markers and offsets
    /// stay unwritten until [`thaw_end_txn`](Self::thaw_end_txn) or a restart.
    pub fn freeze_end_txn(&self) {
        self.0.settings.lock().end_txn_frozen = true;
    }

    /// Lets frozen transactions complete.
    pub fn thaw_end_txn(&self) {
        self.0.settings.lock().end_txn_frozen = false;
    }

    /// How many requests of `api` have come in since the start.
    pub fn requests_seen(&self, api: Api) -> u64 {
        self.0.settings.lock().seen.get(&api).copied().unwrap_or(0)
    }

    pub(crate) fn window(&self) -> Duration {
        self.0.settings.lock().window
    }

    pub(crate) fn end_txn_frozen(&self) -> bool {
        self.0.settings.lock().end_txn_frozen
    }

    /// Counts the request; gives the error it must be refused with, if any.
    pub(crate) fn admit(&self, api: Api) -> Option<i16> {
        let mut settings = self.0.settings.lock();
        *settings.seen.entry(api).or_default() += 1;
        let (left, code) = settings.refuse.get_mut(&api)?;
        let code = (*left > 0).then_some(*code);
        *left = left.saturating_sub(1);
        code
    }

    /// Waits as long as latency and held answers ask for; false means that the answer must not be sent.
    pub(crate) fn pass_answer(&self, api: Api) -> bool {
        let mut settings = self.0.settings.lock();
        let mut wait = settings.latency;
        if let Some((left, fault)) = settings.answers.get_mut(&api).filter(|(left, _)| *left > 0) {
            *left -= 1;
            match *fault {
                AnswerFault::Drop => return false,
                AnswerFault::Hold(time) => wait += time,
            }
        }
        if wait.is_zero() {
            return true;
        }
        let end = Instant::now() + wait;
        while !settings.stopping {
            if self.0.changed.wait_until(&mut settings, end).timed_out() {
                return true;
            }
        }
        false
    }

    pub(crate) fn stop(&self) {
        self.0.settings.lock().stopping = true;
        self.0.changed.notify_all();
    }
}

impl std::fmt::Debug for Faults {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let settings = self.0.settings.lock();
        f.debug_struct("Faults")
            .field("window", &settings.window)
            .field("latency", &settings.latency)
            .finish()
    }
}
