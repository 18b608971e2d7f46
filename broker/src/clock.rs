//! What happens by the clock: group timers and transactions on one thread, compaction and retention on
//! another, so that a long compaction delays no heartbeat.
use crate::error::BrokerError;
use crate::node::Node;
use crate::{compaction, retention};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How exact group timers are.
const GROUP_TICK: Duration = Duration::from_millis(20);

/// The two threads.
pub(crate) struct Clock {
    threads: Vec<JoinHandle<()>>,
}

impl Clock {
    pub(crate) fn start(node: Arc<Node>) -> Result<Self, BrokerError> {
        let spawn = |name: &str, node: Arc<Node>, run: fn(&Node)| {
            std::thread::Builder::new()
                .name(name.into())
                .spawn(move || run(&node))
                .map_err(BrokerError::Thread)
        };
        let timers = spawn("broker-timers", node.clone(), timers)?;
        let cleaner = spawn("broker-cleaner", node, cleaner)?;
        Ok(Self { threads: vec![timers, cleaner] })
    }

    /// `Node::stop` has been called before.
    pub(crate) fn stop(&mut self) {
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a background thread of the broker panicked");
            }
        }
    }
}

fn timers(node: &Node) {
    // at once: what timed out while the broker was down
    let mut next_sweep = Instant::now();
    while !node.is_stopping() {
        let now = Instant::now();
        node.groups.tick(now);
        let mut wake = now + GROUP_TICK;
        let mut state = node.state();
        let mut result = Ok(());
        if now >= next_sweep {
            next_sweep = now + node.config.transaction_sweep;
            result = state.expire_txns(node.end_mode());
        }
        if !node.faults.end_txn_frozen() && result.is_ok() {
            match state.complete_due_txns(now) {
                Ok(next) => wake = next.map_or(wake, |at| at.min(wake)),
                Err(error) => result = Err(error),
            }
        }
        drop(state);
        if let Err(error) = result {
            tracing::error!(?error, "transactions could not be ended");
        }
        node.sleep_until(wake);
    }
}

fn cleaner(node: &Node) {
    let start = Instant::now();
    let mut next_compaction = start + node.config.compaction_interval;
    let mut next_retention = start + node.config.retention_interval;
    while !node.is_stopping() {
        let now = Instant::now();
        if now >= next_compaction {
            compaction::run(node);
            node.store.reclaim();
            next_compaction = Instant::now() + node.config.compaction_interval;
        }
        if now >= next_retention {
            retention::run(node);
            next_retention = Instant::now() + node.config.retention_interval;
        }
        node.sleep_until(next_compaction.min(next_retention));
    }
}
