#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test kit: what fails here fails the test")]
//! A lane in memory with virtual time: the real core and executor over a map, everything durable at once.

use bytes::Bytes;
use sakia::core::action::{Action, Reply};
use sakia::core::fact::Fact;
use sakia::core::history::{History, Outcome};
use sakia::core::ids::{InstanceKey, Millis, OpId};
use sakia::core::input::{Command, CommandAsk, ReplyTo, Waiter};
use sakia::core::limits::Limits;
use sakia::core::machine::Machine;
use sakia::core::state::{Callees, Instance, Key, Row, Status};
use sakia::core::tables::{Tables, history};
use sakia::workflow::ReadyQueue;
use sakia::workflow::executor::LaneExecutor;
use sakia::workflow::registry::Registry;
use sakia::{Ctx, Result, Workflow};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

#[derive(Default, Clone, PartialEq, Debug)]
pub(crate) struct MapTables(pub BTreeMap<Key, Row>);

impl Tables for MapTables {
    fn get(&mut self, key: &Key) -> Option<Row> {
        self.0.get(key).cloned()
    }
    fn put(&mut self, key: Key, row: Row) {
        self.0.insert(key, row);
    }
    fn delete(&mut self, key: &Key) {
        self.0.remove(key);
    }
}

/// One lane that owns every id but those that begin with "far".
pub(crate) struct Kit {
    registry: Arc<Registry>,
    runtime: tokio::runtime::Runtime,
    pub(crate) tables: MapTables,
    machine: Machine,
    executor: LaneExecutor,
    wakes: Receiver<()>,
    pub(crate) now: Millis,
    timers: BTreeSet<(Millis, InstanceKey, OpId)>,
    steps: Vec<(Millis, InstanceKey, u32, OpId, u32)>,
    pub(crate) sent: Vec<(String, String)>,
    pub(crate) far: Vec<Command>,
    /// On their way through the log of this lane.
    looped: VecDeque<Command>,
    /// How many have come back from there.
    pub(crate) came_back: usize,
    /// Whether none is to come back for now.
    pub(crate) holds_back: bool,
    pub(crate) replies: Vec<Reply>,
    pub(crate) dead: Vec<String>,
    /// Every input, in order: what a log would hold.
    log: Vec<(Millis, Input)>,
    /// Drop all instances from memory after every input.
    pub(crate) forgetful: bool,
}

#[derive(Clone)]
enum Input {
    Command(Command),
    Fact(Fact),
}

pub(crate) fn registry<S: Send + Sync + 'static, I, O, F, Fut>(deps: S, w: Workflow<I, O>, f: F) -> Registry
where
    I: DeserializeOwned + 'static,
    O: Serialize + 'static,
    F: Fn(Ctx<S>, I) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<O>> + 'static,
{
    let mut registry = Registry::default();
    registry.add(&Arc::new(deps), w, f);
    registry
}

/// Histories of a few turns have turns both in the row of their instance and in others; and bounds can be reached.
pub(crate) fn limits() -> Limits {
    Limits { recent_turns: 2, open_ops: 40, parents: 2, ..Limits::default() }
}

fn is_near(id: &str) -> bool {
    !id.starts_with("far")
}

fn machine() -> Machine {
    Machine::new(limits(), Arc::new(is_near), 0, Callees::default())
}

impl Kit {
    pub(crate) fn new(registry: Registry) -> Self {
        let registry = Arc::new(registry);
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (executor, wakes) = executor(&registry, &runtime);
        Kit {
            registry,
            runtime,
            tables: MapTables::default(),
            machine: machine(),
            executor,
            wakes,
            now: 1_000,
            timers: BTreeSet::new(),
            steps: Vec::new(),
            sent: Vec::new(),
            far: Vec::new(),
            looped: VecDeque::new(),
            came_back: 0,
            holds_back: false,
            replies: Vec::new(),
            dead: Vec::new(),
            log: Vec::new(),
            forgetful: false,
        }
    }

    /// The same lane with other code, as after a deploy: nothing is in memory.
    pub(crate) fn deploy(&mut self, registry: Registry) {
        self.registry = Arc::new(registry);
        self.forget_all();
    }

    pub(crate) fn forget_all(&mut self) {
        (self.executor, self.wakes) = executor(&self.registry, &self.runtime);
        self.steps.clear();
        let open: Vec<_> = self.tables.0.clone().into_iter().collect();
        for (key, row) in open {
            if let (Key::Step(key, op), Row::Step(step)) = (key, row) {
                self.steps.push((step.retry_at, key, step.run, op, step.failed_attempts + 1));
            }
        }
    }

    fn input(&mut self, input: Input) {
        self.log.push((self.now, input.clone()));
        let actions = apply(&mut self.machine, &mut self.tables, &mut self.executor, self.now, input);
        for action in actions {
            self.perform(action);
        }
        if self.forgetful {
            self.forget_all();
        }
        if !self.holds_back {
            self.come_back();
        }
    }

    /// Reads what went through the lane's own log.
    pub(crate) fn come_back(&mut self) {
        while let Some(command) = self.looped.pop_front() {
            self.came_back += 1;
            self.input(Input::Command(command));
        }
    }

    fn perform(&mut self, action: Action) {
        match action {
            Action::RunStep { key, run, op, attempt, not_before, .. } => {
                self.steps.push((not_before, key, run, op, attempt));
            }
            Action::ArmTimer { due, key, op, .. } => drop(self.timers.insert((due, key, op))),
            Action::DisarmTimer { due, key, op } => drop(self.timers.remove(&(due, key, op))),
            Action::Send { topic, value, .. } => {
                self.sent.push((topic.to_string(), String::from_utf8(value.to_vec()).unwrap()));
            }
            Action::Command(command) if is_near(&command.to.id) => self.looped.push_back(command),
            Action::Command(command) => self.far.push(command),
            Action::Reply { reply, .. } => self.replies.push(reply),
            Action::DeadLetter { code, message } => self.dead.push(format!("{}: {message}", code.code())),
            Action::Forget(_) | Action::Parked { .. } | Action::Stray { .. } => {}
        }
    }

    /// Runs until everything waits for a timer, a signal or another lane.
    pub(crate) fn settle(&mut self) {
        loop {
            let mut facts = Vec::new();
            let due = |s: &(Millis, InstanceKey, u32, OpId, u32), now| s.0 <= now;
            let ready: Vec<_> = self.steps.iter().filter(|s| due(s, self.now)).cloned().collect();
            self.steps.retain(|s| !due(s, self.now));
            let started = ready.len();
            for (_, key, run, op, attempt) in ready {
                let mut turns = || turns(&mut self.tables, &key);
                facts.extend(self.executor.start_step(&key, run, op, attempt, self.now, &mut turns));
            }
            facts.extend(self.executor.poll_ready(self.now));
            if facts.is_empty() && started == 0 {
                // A body may still be running on another thread: its wake-up says so, or nothing is under way.
                match self.wakes.recv_timeout(Duration::from_millis(30)) {
                    Ok(()) => continue,
                    Err(_) => return,
                }
            }
            for fact in facts {
                self.input(Input::Fact(fact));
            }
        }
    }

    /// Settles again and again until something on another thread has happened; fails after ten seconds.
    pub(crate) fn settle_until(&mut self, done: impl Fn(&Kit) -> bool) {
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        while !done(self) {
            assert!(std::time::Instant::now() < deadline, "it did not happen within ten seconds");
            self.settle();
        }
    }

    pub(crate) fn command(&mut self, to: InstanceKey, ask: CommandAsk) {
        self.input(Input::Command(Command { to, ask }));
        self.settle();
    }

    pub(crate) fn start<I: Serialize, O>(&mut self, w: Workflow<I, O>, id: &str, input: I) -> InstanceKey {
        let key = InstanceKey::new(w.name(), id);
        let input = Bytes::from(serde_json::to_vec(&input).unwrap());
        let reply = ReplyTo { partition: 0, correlation: Bytes::from_static(b"c") };
        self.command(key.clone(), CommandAsk::Start { input, waiter: Some(Waiter::Client(reply)) });
        key
    }

    pub(crate) fn signal<T: Serialize>(&mut self, key: &InstanceKey, name: &str, payload: T) {
        let payload = Bytes::from(serde_json::to_vec(&payload).unwrap());
        self.command(key.clone(), CommandAsk::Signal { name: name.into(), payload });
    }

    pub(crate) fn cancel(&mut self, key: &InstanceKey) {
        self.command(key.clone(), CommandAsk::Cancel { by: None, reply: None });
    }

    pub(crate) fn retry(&mut self, key: &InstanceKey) {
        self.command(key.clone(), CommandAsk::Retry { reply: None });
    }

    /// Lets time pass, from one due thing to the next.
    pub(crate) fn advance(&mut self, length: Duration) {
        let end = self.now + u64::try_from(length.as_millis()).unwrap();
        loop {
            let timer = self.timers.first().map(|t| t.0);
            let step = self.steps.iter().map(|s| s.0).min();
            let Some(next) = timer.into_iter().chain(step).min().filter(|t| *t <= end) else { break };
            self.now = self.now.max(next);
            while let Some((due, key, op)) = self.timers.first().filter(|t| t.0 <= self.now).cloned() {
                self.timers.pop_first();
                let run = self.instance(&key).run;
                self.input(Input::Fact(Fact::TimerDue { key, run, op, due }));
            }
            self.settle();
        }
        self.now = end;
        self.settle();
    }

    pub(crate) fn instance(&self, key: &InstanceKey) -> Instance {
        match self.tables.0.get(&Key::Instance(key.clone())) {
            Some(Row::Instance(instance)) => (**instance).clone(),
            other => panic!("no instance {key}: {other:?}"),
        }
    }

    pub(crate) fn outcome(&self, key: &InstanceKey) -> Option<Outcome> {
        self.instance(key).status.outcome()
    }

    pub(crate) fn result<T: DeserializeOwned>(&self, key: &InstanceKey) -> T {
        match self.outcome(key) {
            Some(Ok(bytes)) => serde_json::from_slice(&bytes).unwrap(),
            other => panic!("{key}: {other:?}, {:?}", self.instance(key).status),
        }
    }

    pub(crate) fn failure(&self, key: &InstanceKey) -> String {
        self.outcome(key).expect("it has ended").expect_err("it failed").message
    }

    pub(crate) fn park(&self, key: &InstanceKey) -> String {
        match self.instance(key).status {
            Status::Parked(park) => format!("{}: {}", park.code.code(), park.message),
            other => panic!("{key} is not parked but {other:?}"),
        }
    }

    /// Applies the whole log again, to an empty lane, and compares the state.
    pub(crate) fn check_replay(&self) {
        let (mut executor, _wakes) = executor(&self.registry, &self.runtime);
        let (mut tables, mut machine) = (MapTables::default(), machine());
        for (at, input) in &self.log {
            apply(&mut machine, &mut tables, &mut executor, *at, input.clone());
        }
        assert_eq!(tables, self.tables, "replay gives another state");
    }
}

fn executor(registry: &Arc<Registry>, runtime: &tokio::runtime::Runtime) -> (LaneExecutor, Receiver<()>) {
    let (notify, wakes) = channel();
    // The kit may be gone; then nobody waits for the wake-up.
    let ready = Arc::new(ReadyQueue::new(move || {
        let _ = notify.send(());
    }));
    let handle = Some(runtime.handle().clone());
    (LaneExecutor::new("test".into(), registry.clone(), handle, ready, 10_000, 1 << 20), wakes)
}

fn apply(
    machine: &mut Machine,
    tables: &mut MapTables,
    executor: &mut LaneExecutor,
    at: Millis,
    input: Input,
) -> Vec<Action> {
    match input {
        Input::Command(command) => machine.apply_command(tables, executor, at, command),
        Input::Fact(fact) => machine.apply_fact(tables, executor, at, fact),
    }
}

fn turns(tables: &mut MapTables, key: &InstanceKey) -> History {
    match tables.get(&Key::Instance(key.clone())) {
        Some(Row::Instance(instance)) => history(tables, key, &instance),
        _ => Ok(Vec::new()),
    }
}
