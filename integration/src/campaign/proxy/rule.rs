//! What a link does to what passes.

use super::frame::Api;
use std::time::Duration;

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the worker to the broker.
    ToBroker,
    /// From the broker to the worker.
    ToWorker,
}

/// What happens to one frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// The broker has done it, the answer is lost with the connection.
    Lose,
    /// The answer comes so much later, and everything behind it on that connection as well.
    Hold(Duration),
    /// The worker's connection breaks, and the request reaches the broker so much later on the old one, when the worker
    /// may have asked again on a new one (KAFKA-17754).
    Late(Duration),
}

/// Waits for the nth exchange of a kind, and strikes once.
#[derive(Debug, Clone, Copy)]
pub struct Rule {
    /// The kind of request.
    pub api: Api,
    /// How many of them pass before.
    pub pass: u32,
    /// What then happens.
    pub action: Action,
}

impl Rule {
    /// Whether this one is struck; counts it if not.
    pub(super) fn strikes(&mut self, api: Api, request: bool) -> bool {
        let of_requests = matches!(self.action, Action::Late(_));
        if api != self.api || request != of_requests {
            return false;
        }
        let strikes = self.pass == 0;
        self.pass = self.pass.saturating_sub(1);
        strikes
    }
}

/// What holds for every frame of a link.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Weather {
    /// Nothing moves, and nobody is told.
    pub(super) stalled: bool,
    /// Frames of this direction vanish.
    pub(super) swallowed: Option<Direction>,
    /// Each frame waits so long, and up to as much again.
    pub(super) delay: Duration,
    /// Connections of an earlier number are reset.
    pub(super) generation: u64,
}
