//! The parts of a running broker that every connection shares.
use crate::config::BrokerConfig;
use crate::error::BrokerError;
use crate::faults::Faults;
use crate::group::Coordinator;
use crate::state::State;
use crate::store::Store;
use crate::time::Time;
use crate::txn::EndMode;
use parking_lot::{Condvar, Mutex, MutexGuard};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The only node of the cluster.
pub(crate) const NODE_ID: i32 = 1;
pub(crate) const HOST: &str = "127.0.0.1";
pub(crate) const CLUSTER_ID: &str = "sakia-embedded";

/// Shared by all threads. Lock order: groups before state; no lock is held while the store is read for a
/// fetch, nor while a client is written to.
pub(crate) struct Node {
    pub(crate) config: BrokerConfig,
    pub(crate) port: u16,
    pub(crate) store: Arc<Store>,
    pub(crate) groups: Coordinator,
    pub(crate) faults: Faults,
    pub(crate) time: Time,
    state: Mutex<State>,
    stopping: AtomicBool,
    /// Wakes the threads that work by the clock.
    clock: Mutex<()>,
    clock_changed: Condvar,
}

impl Node {
    pub(crate) fn open(config: BrokerConfig, port: u16) -> Result<Self, BrokerError> {
        let store = Arc::new(Store::open(&config)?);
        Self::over(store, config, port, Time::default())
    }

    /// A node that goes on from what the store holds.
    pub(crate) fn over(
        store: Arc<Store>,
        config: BrokerConfig,
        port: u16,
        time: Time,
    ) -> Result<Self, BrokerError> {
        let state = State::open(store.clone(), time.clone())?;
        let faults = Faults::new(config.concurrent_transactions_window, config.request_latency);
        Ok(Self {
            port,
            store,
            groups: Coordinator::new(time.clone()),
            time,
            faults,
            state: Mutex::new(state),
            stopping: AtomicBool::new(false),
            clock: Mutex::new(()),
            clock_changed: Condvar::new(),
            config,
        })
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    pub(crate) fn end_mode(&self) -> EndMode {
        EndMode { window: self.faults.window(), frozen: self.faults.end_txn_frozen() }
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// Sleeps until the time, or until somebody calls `wake_clock`.
    pub(crate) fn sleep_until(&self, time: std::time::Instant) {
        let mut clock = self.clock.lock();
        if !self.is_stopping() {
            self.clock_changed.wait_until(&mut clock, time);
        }
    }

    pub(crate) fn wake_clock(&self) {
        drop(self.clock.lock());
        self.clock_changed.notify_all();
    }

    /// Ends every wait inside the broker.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        self.wake_clock();
        self.faults.stop();
        self.groups.stop();
        self.state().wake_all();
    }
}
