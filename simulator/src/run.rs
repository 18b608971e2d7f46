//! One simulation: bad days first, then everything has to come to rest.

use crate::chaos::Chaos;
use crate::client::Client;
use crate::model::Model;
use crate::outside;
use crate::profile::Profile;
use crate::task::{NewTask, Task};
use crate::world::{Process, Sim};
use fastrand::Rng;
use sakia::log::Isolation;
use sakia::workflow::ReadyQueue;
use sakia::workflow::executor::LaneExecutor;
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Once};
use std::time::Duration;

/// Events after which a simulation that does not come to rest is stuck.
const EVENTS_MAX: u32 = 40_000;
/// The same in simulated time.
const REST_WITHIN: Duration = Duration::from_secs(900);

/// What a simulation came to.
#[derive(Debug)]
pub struct Report {
    /// It runs the same again under this number.
    pub seed: u64,
    /// What happened, line by line.
    pub events: Vec<String>,
    /// One number for all of it.
    pub fingerprint: u64,
    /// The promise that was broken.
    pub violation: Option<String>,
    /// Checkpoints that were committed.
    pub checkpoints: u64,
    /// Journal records that became durable.
    pub appends: u64,
}

thread_local! {
    static RUNTIME: RefCell<Option<tokio::runtime::Runtime>> = const { RefCell::new(None) };
}

/// Step bodies are polled under it; they use nothing of it.
pub(crate) fn runtime() -> tokio::runtime::Handle {
    RUNTIME.with_borrow_mut(|runtime| {
        let new =
            || tokio::runtime::Builder::new_current_thread().build().expect("a runtime without drivers");
        runtime.get_or_insert_with(new).handle().clone()
    })
}

/// Runs the simulation of a seed. The same seed gives the same events.
pub fn run(seed: u64) -> Report {
    static HOOKS: Once = Once::new();
    HOOKS.call_once(install_hooks);
    let mut rng = Rng::with_seed(seed);
    let profile = Profile::of(&mut rng);
    let mut run = Run::new(seed, profile, &mut rng);
    run.chaos();
    if run.is_good() {
        run.rest();
    }
    run.report(seed)
}

/// The coroutines and the executor each wrap the process's panic hook when they are first used. Two threads that do so
/// at the same time would lose one of the hooks.
fn install_hooks() {
    let mut task = Task::new(NewTask { process: 0, name: String::new(), work: Box::new(|| {}) });
    task.resume();
    let ready = Arc::new(ReadyQueue::new(|| {}));
    drop(LaneExecutor::new("hooks".into(), Arc::default(), None, ready, 0, 0));
}

/// A simulation under way.
pub(crate) struct Run {
    pub(crate) sim: Sim,
    pub(crate) tasks: Vec<Task>,
    models: Vec<Model>,
    pub(crate) chaos: Chaos,
    pub(crate) client: Client,
}

impl Run {
    fn new(seed: u64, profile: Profile, rng: &mut Rng) -> Self {
        let (lanes, processes) = (profile.lanes, profile.processes);
        let client = Client::new(&profile, rng);
        let sim = Sim::new(rng.u64(..), profile.clone());
        {
            let mut world = sim.world();
            world.note(format_args!("seed {seed}: {profile:?}"));
            world.processes.extend((0..processes).map(|_| Process::new()));
        }
        let models = (0..lanes).map(|lane| Model::new(&sim, lane)).collect();
        Run { sim, tasks: Vec::new(), models, chaos: Chaos::new(lanes), client }
    }

    pub(crate) fn is_good(&self) -> bool {
        self.sim.world().violation.is_none()
    }

    /// Lets faults happen.
    fn chaos(&mut self) {
        let events = self.sim.world().profile.chaos_events;
        self.heal();
        for _ in 0..events {
            self.event();
            if !self.is_good() {
                return;
            }
        }
    }

    /// No more faults: everybody learns the truth, and what was accepted has to end.
    fn rest(&mut self) {
        self.sim.world().chaos = false;
        self.sim.world().note(format_args!("from here on no faults"));
        self.heal();
        let until = self.sim.world().now + REST_WITHIN;
        let mut events = 0;
        let mut cancelled = false;
        while self.is_good() {
            events += 1;
            if self.is_quiet() {
                let running: Vec<_> = self.models.iter().flat_map(Model::running).collect();
                if self.is_torn() {
                    return;
                }
                if running.is_empty() {
                    return self.sim.world().check(outside::at_end(&self.models));
                }
                if cancelled {
                    let names: Vec<String> =
                        running.iter().map(|(key, i)| format!("{key} {:?}", i.open)).collect();
                    return self.sim.world().violated(format!("never ended: {}", names.join(", ")));
                }
                // They wait for signals that nobody sends.
                self.sim.world().check(outside::at_rest(&mut self.models));
                cancelled = true;
                for (key, _) in running {
                    self.client.cancel(&self.sim, &key);
                }
            }
            if events > EVENTS_MAX || self.sim.world().now > until {
                return self.stuck();
            }
            self.event();
        }
    }

    fn stuck(&self) {
        if self.is_torn() {
            return;
        }
        let open: Vec<String> = self.models.iter().flat_map(Model::open).collect();
        let behind: Vec<usize> = (0..self.models.len())
            .filter(|at| self.models[*at].is_behind(&self.sim.world().broker))
            .collect();
        self.sim
            .world()
            .violated(format!("it does not come to rest; lanes behind: {behind:?}; open: {open:?}"));
    }

    fn is_torn(&self) -> bool {
        self.sim.world().seen.lanes.values().any(|lane| lane.torn)
    }

    /// Everything that was sent is applied, committed, and waits for nothing that comes by itself.
    fn is_quiet(&self) -> bool {
        let mut world = self.sim.world();
        if !self.client.is_done()
            || !world.broker.pending_markers().is_empty()
            || !world.wire.sending().is_empty()
        {
            return false;
        }
        self.models.iter().zip(0..).all(|(model, lane)| {
            let durable = world.seen.lane(lane).last_facts();
            let place = (sakia::lane::Topics::of(crate::lanes::APP).commands, lane);
            let decided = world.broker.range(&place, Isolation::Committed)
                == world.broker.range(&place, Isolation::Uncommitted);
            decided && !model.is_behind(&world.broker) && model.seq() >= durable && model.open().is_empty()
        })
    }

    /// One thing happens, and the promises are checked.
    fn event(&mut self) {
        crate::chaos::happen(self);
        self.collect();
        self.check();
    }

    /// Starts what was spawned, drops what has ended.
    pub(crate) fn collect(&mut self) {
        let spawned = std::mem::take(&mut self.sim.world().spawned);
        self.tasks.extend(spawned.into_iter().map(Task::new));
        self.tasks.retain(|task| task.pause != crate::task::Pause::End);
    }

    /// Lets a task run to its next pause. A panic in it is a broken promise.
    pub(crate) fn resume(&mut self, at: usize) {
        let task = &mut self.tasks[at];
        task.seen = self.sim.world().processes[task.process].happened;
        let resumed = catch_unwind(AssertUnwindSafe(|| task.resume()));
        if let Err(panic) = resumed {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
            let name = task.name.clone();
            self.sim.world().violated(format!("{name} panicked: {}", text.unwrap_or_default()));
        }
    }

    /// Hands what was decided to the checks and to the models.
    fn check(&mut self) {
        let decided = std::mem::take(&mut self.sim.world().broker.decided);
        for decision in decided.iter().filter(|d| d.committed) {
            self.sim.world().check_commit(decision);
        }
        let commits = std::mem::take(&mut self.sim.world().seen.commits);
        for commit in commits {
            let mut world = self.sim.world();
            let world = &mut *world;
            let Some(model) = usize::try_from(commit.lane).ok().and_then(|at| self.models.get_mut(at)) else {
                continue;
            };
            if let Err(what) = model.check(&commit, &mut world.seen, &world.broker) {
                world.violated(what);
            }
        }
    }

    fn report(mut self, seed: u64) -> Report {
        // Their stacks are unwound; nothing that they still do counts.
        for process in &mut self.sim.world().processes {
            process.alive = false;
        }
        self.tasks.clear();
        let mut world = self.sim.world();
        let appends = world.seen.lanes.values().map(|l| l.journal.len() as u64).sum();
        let checkpoints =
            world.seen.lanes.values().filter_map(|l| l.position.as_ref()).map(|p| p.checkpoint).sum();
        Report {
            seed,
            fingerprint: world.fingerprint(),
            violation: world.violation.take(),
            events: std::mem::take(&mut world.events),
            checkpoints,
            appends,
        }
    }
}
