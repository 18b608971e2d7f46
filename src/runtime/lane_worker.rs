//! One thread per lane: takes it over, runs it, and takes it over again when it was lost, as long as it is ours.

use super::host::SystemHost;
use super::measured::MeasuredFeed;
use super::process::Shared;
use crate::lane::{Lane, LaneConfig, LaneEnd, LaneHandle, Takeover, take_over};
use crate::log::LogError;
use crate::store::Stores;
use crate::telemetry::LaneState;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Batches of commands that wait for the lane.
const FEED_BATCHES: usize = 8;
const FIRST_BACKOFF: Duration = Duration::from_millis(50);
const LONGEST_BACKOFF: Duration = Duration::from_secs(5);

/// A lane of this process.
pub(super) struct LaneWorker {
    control: Arc<Control>,
    thread: JoinHandle<()>,
}

#[derive(Default)]
struct Control {
    state: Mutex<ControlState>,
    changed: std::sync::Condvar,
}

struct ControlState {
    stop: bool,
    /// What the thread is doing, for whoever asks.
    doing: LaneState,
    handle: Option<LaneHandle>,
    /// Offset of the next command after the last checkpoint.
    committed: Option<i64>,
}

impl Default for ControlState {
    fn default() -> Self {
        ControlState { stop: false, doing: LaneState::TakingOver, handle: None, committed: None }
    }
}

impl LaneWorker {
    pub(super) fn start(shared: Arc<Shared>, partition: i32) -> std::io::Result<Self> {
        let control = Arc::new(Control::default());
        let theirs = control.clone();
        // Linux shows 15 bytes of it.
        let name = format!("lane-{partition}");
        let thread =
            std::thread::Builder::new().name(name).spawn(move || life(&shared, partition, &theirs))?;
        Ok(LaneWorker { control, thread })
    }

    /// Asks for a clean end; does not wait.
    pub(super) fn stop(&self) {
        let mut state = self.control.lock();
        state.stop = true;
        if let Some(handle) = &state.handle {
            handle.stop();
        }
        self.control.changed.notify_all();
    }

    /// Whether the thread has ended.
    pub(super) fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }

    /// What it is doing.
    pub(super) fn state(&self) -> LaneState {
        let state = self.control.lock();
        match state.doing {
            _ if state.stop => LaneState::Ending,
            // Nobody told it to.
            _ if self.thread.is_finished() => LaneState::Broken,
            doing => doing,
        }
    }

    /// What lag tools may know.
    pub(super) fn committed(&self) -> Option<i64> {
        let state = self.control.lock();
        state.handle.as_ref().map(LaneHandle::committed).or(state.committed)
    }
}

impl Control {
    fn lock(&self) -> std::sync::MutexGuard<'_, ControlState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stopped(&self) -> bool {
        self.lock().stop
    }

    fn now(&self, doing: LaneState) {
        self.lock().doing = doing;
    }

    /// Sleeps, but not past a stop.
    fn pause(&self, length: Duration) {
        let state = self.lock();
        drop(self.changed.wait_timeout_while(state, length, |s| !s.stop));
    }

    fn wait_for_stop(&self) {
        let state = self.lock();
        drop(self.changed.wait_while(state, |s| !s.stop));
    }

    /// Publishes the running lane; tells it at once if a stop came before.
    fn running(&self, handle: LaneHandle) {
        let mut state = self.lock();
        if state.stop {
            handle.stop();
        }
        state.handle = Some(handle);
        state.doing = LaneState::Running;
    }

    fn ended(&self) {
        let mut state = self.lock();
        state.committed = state.handle.take().map(|h| h.committed());
    }
}

fn life(shared: &Shared, partition: i32, control: &Control) {
    let turn = shared.turn(partition);
    let _turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
    let mut backoff = FIRST_BACKOFF;
    while !control.stopped() {
        control.now(LaneState::TakingOver);
        let began = Instant::now();
        match once(shared, partition, control) {
            LaneEnd::Stopped => return,
            LaneEnd::Lost(why) => {
                tracing::warn!(app = %shared.app, lane = partition, "lane lost, taken over again: {why}");
            }
            LaneEnd::Store(error) => {
                tracing::error!(
                    app = %shared.app,
                    lane = partition,
                    "the store is thrown away and restored from the changelog, so nothing is lost; if its disk is full, \
                     make room: {error}"
                );
                if let Err(error) = shared.stores.wipe(partition) {
                    tracing::error!(app = %shared.app, lane = partition, "store cannot be rebuilt: {error}");
                }
            }
            LaneEnd::Broken(why) => {
                tracing::error!(app = %shared.app, lane = partition, "lane stopped, an operator has to look: {why}");
                control.now(LaneState::Broken);
                return control.wait_for_stop();
            }
        }
        // What ends a lane soon after each take-over must not keep Kafka busy with fencing it.
        if began.elapsed() > LONGEST_BACKOFF {
            backoff = FIRST_BACKOFF;
        }
        control.now(LaneState::Waiting);
        control.pause(backoff);
        backoff = (backoff * 2).min(LONGEST_BACKOFF);
    }
}

fn once(shared: &Shared, partition: i32, control: &Control) -> LaneEnd {
    let store = match shared.stores.open(partition) {
        Ok(store) => store,
        Err(error) => return LaneEnd::Store(error),
    };
    let group_offset = match shared.committed_by_group(&shared.topics.commands, partition) {
        Ok(offset) => offset,
        Err(error) => return lost(&error),
    };
    let config = LaneConfig { partition, ..shared.lane.clone() };
    let lane = match take_over(Takeover {
        config,
        log: shared.lane_log.clone(),
        store,
        registry: shared.registry.clone(),
        runtime: shared.tokio.clone(),
        host: Arc::new(SystemHost::new()),
        turnstile: shared.turnstile.clone(),
        group_offset,
    }) {
        Ok(lane) => lane,
        Err(end) => return end,
    };
    control.running(lane.handle());
    let end = feed_and_run(shared, partition, lane);
    control.ended();
    end
}

fn feed_and_run(shared: &Shared, partition: i32, lane: Lane) -> LaneEnd {
    let (sender, feed) = crossbeam_channel::bounded(FEED_BATCHES);
    let sink = MeasuredFeed { lane: sender, metrics: shared.metrics.lane(partition) };
    if let Err(error) = shared.feed.add(&shared.topics.commands, partition, lane.next_command(), sink) {
        return lost(&error);
    }
    let end = catch_unwind(AssertUnwindSafe(|| lane.run(&feed))).unwrap_or_else(|_| {
        LaneEnd::Lost("it panicked, which is a mistake in the program; the panic is logged above".into())
    });
    if let Err(error) = shared.feed.remove(&shared.topics.commands, partition) {
        tracing::warn!(lane = partition, "the feed of commands could not be ended: {error}");
    }
    end
}

fn lost(error: &LogError) -> LaneEnd {
    LaneEnd::Lost(error.to_string())
}
