//! The connections of one worker to one broker, and the weather on them.

use super::frame::Api;
use super::rule::{Action, Direction, Rule, Weather};
use crate::campaign::lock::lock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;

/// What passed, of all links.
#[derive(Debug, Default)]
pub struct Traffic {
    /// Transactions that were asked to commit.
    pub commits: AtomicU64,
    /// Transactions that were asked to abort.
    pub aborts: AtomicU64,
}

/// One worker's way to one broker.
pub struct Link {
    weather: watch::Sender<Weather>,
    rules: Mutex<Vec<Rule>>,
    struck: watch::Sender<u64>,
    pub(super) traffic: Arc<Traffic>,
}

impl Link {
    pub(super) fn new(traffic: Arc<Traffic>) -> Self {
        let (weather, struck) = (watch::Sender::new(Weather::default()), watch::Sender::new(0));
        Link { weather, rules: Mutex::default(), struck, traffic }
    }

    /// Nothing moves until [`Link::heal`]; connections stay open, as to a machine that has died.
    pub fn stall(&self) {
        self.weather.send_modify(|w| w.stalled = true);
    }

    /// Frames of one direction vanish until [`Link::heal`].
    pub fn swallow(&self, direction: Direction) {
        self.weather.send_modify(|w| w.swallowed = Some(direction));
    }

    /// Every frame waits so long, and up to as much again, until [`Link::heal`].
    pub fn delay(&self, length: Duration) {
        self.weather.send_modify(|w| w.delay = length);
    }

    /// Resets all connections.
    pub fn reset(&self) {
        self.weather.send_modify(|w| w.generation += 1);
    }

    /// Ends what lasts. Connections on which frames vanished are reset, for no stream goes on with a hole in it.
    pub fn heal(&self) {
        lock(&self.rules).clear();
        self.weather.send_modify(|w| {
            let generation = w.generation + u64::from(w.swallowed.is_some());
            *w = Weather { generation, ..Weather::default() };
        });
    }

    /// Adds a rule.
    pub fn arm(&self, rule: Rule) {
        lock(&self.rules).push(rule);
    }

    /// How many rules have struck so far.
    pub fn struck(&self) -> u64 {
        *self.struck.borrow()
    }

    pub(super) fn weather(&self) -> watch::Receiver<Weather> {
        self.weather.subscribe()
    }

    /// What happens to this frame by a rule; that rule is used up.
    pub(super) fn strike(&self, api: Api, request: bool) -> Option<Action> {
        let mut rules = lock(&self.rules);
        let at = rules.iter_mut().position(|rule| rule.strikes(api, request))?;
        let action = rules.swap_remove(at).action;
        self.struck.send_modify(|n| *n += 1);
        Some(action)
    }

    pub(super) fn passed(&self, api: Api, commits: bool) {
        if api == Api::EndTxn {
            let count = if commits { &self.traffic.commits } else { &self.traffic.aborts };
            count.fetch_add(1, Ordering::Relaxed);
        }
    }
}
