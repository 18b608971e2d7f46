//! Runs the code of a lane's instances: one input per poll, until nothing more wakes in-thread, live and in replay
//! alike. So `join!`, `select!` and `FuturesUnordered` replay without special types.

use super::cell::{Cell, Shared};
use super::registry::Registry;
use super::wake::{Ready, ReadyQueue, RootWaker};
use crate::core::error::{Park, ParkCode};
use crate::core::executor::{Answer, Executor, TurnEnd};
use crate::core::fact::Fact;
use crate::core::history::{History, Mark, MissingTurn, Op, Outcome, Turn, TurnInput};
use crate::core::ids::{InstanceKey, Millis, OpId};
use bytes::Bytes;
use foldhash::HashMap;
use futures::future::LocalBoxFuture;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};

/// What an instance in memory is taken to need besides its payloads, in bytes.
const INSTANCE_BYTES: usize = 4 * 1024;

/// The instances of one lane that are in memory. Lives on the lane's thread.
pub struct LaneExecutor {
    app: Arc<str>,
    registry: Arc<Registry>,
    runtime: Option<tokio::runtime::Handle>,
    ready: Arc<ReadyQueue>,
    payload_limit: usize,
    cache_bytes: usize,
    live: HashMap<InstanceKey, Live>,
    /// By time of last use, oldest first.
    used: BTreeMap<u64, InstanceKey>,
    uses: u64,
    bytes: usize,
}

struct Live {
    cell: Shared,
    code: LocalBoxFuture<'static, Outcome>,
    root: Arc<RootWaker>,
    last_use: u64,
    bytes: usize,
}

/// How a poll left the code.
enum Polled {
    Waiting,
    Returned(Outcome),
    Parked(Park),
}

impl LaneExecutor {
    /// An executor for one lane. `cache_bytes` bounds the instances kept in memory (an estimate); one that is evicted
    /// is rebuilt by replay when something reaches it. Instances with a running step are never evicted.
    pub fn new(
        app: Arc<str>,
        registry: Arc<Registry>,
        runtime: Option<tokio::runtime::Handle>,
        ready: Arc<ReadyQueue>,
        payload_limit: usize,
        cache_bytes: usize,
    ) -> Self {
        super::panics::note_locations();
        LaneExecutor {
            app,
            registry,
            runtime,
            ready,
            payload_limit,
            cache_bytes,
            live: HashMap::default(),
            used: BTreeMap::new(),
            uses: 0,
            bytes: 0,
        }
    }

    /// Lets an attempt of a step start. Facts that are known at once are returned. An empty `history` says that the
    /// instance has ended since the step was asked for: nobody waits for it.
    pub fn start_step(
        &mut self,
        key: &InstanceKey,
        run: u32,
        op: OpId,
        attempt: u32,
        now: Millis,
        history: &mut dyn FnMut() -> History,
    ) -> Vec<Fact> {
        if !self.holds(key, run) {
            let history = history();
            if history.as_ref().is_ok_and(Vec::is_empty) {
                return Vec::new();
            }
            if let Err(park) = self.load(key, run, history) {
                return vec![Fact::Parked { key: key.clone(), run, park }];
            }
        }
        let Some(live) = self.live.get_mut(key) else { return Vec::new() };
        let waker = {
            let mut cell = live.cell.borrow_mut();
            match cell.slots.get_mut(&op) {
                Some(slot) if slot.outcome.is_none() && !slot.running => {
                    slot.go = Some(attempt);
                    slot.waker.clone()
                }
                _ => None,
            }
        };
        waker.map_or_else(Vec::new, |waker| self.poll_bodies(key, waker, now))
    }

    /// Polls whatever step bodies were woken since the last call. `now` is the owner's clock, for retries.
    pub fn poll_ready(&mut self, now: Millis) -> Vec<Fact> {
        let mut facts = Vec::new();
        for ready in self.ready.take() {
            match ready {
                Ready::Step(key, op) => {
                    let waker = self.live.get(&key).and_then(|live| {
                        live.cell.borrow().slots.get(&op).and_then(|slot| slot.waker.clone())
                    });
                    if let Some(waker) = waker {
                        facts.extend(self.poll_bodies(&key, waker, now));
                    }
                }
                Ready::Foreign(key, by) => {
                    if let Some(live) = self.live.get(&key) {
                        let run = live.cell.borrow().run;
                        facts.push(Fact::Parked { key, run, park: foreign(&format!("woken by {by}")) });
                    }
                }
            }
        }
        facts
    }

    /// Polls an instance of which a step's body may go on. No input is delivered, so its code must not.
    fn poll_bodies(&mut self, key: &InstanceKey, step: Waker, now: Millis) -> Vec<Fact> {
        let Some(live) = self.live.get_mut(key) else { return Vec::new() };
        live.root.polling.store(true, Ordering::SeqCst);
        step.wake();
        let polled = live.poll();
        live.root.polling.store(false, Ordering::SeqCst);
        let mut cell = live.cell.borrow_mut();
        let run = cell.run;
        let park = match polled {
            Polled::Parked(park) => Some(park),
            Polled::Returned(_) => Some(foreign("it went on without an input")),
            Polled::Waiting if !cell.asked.is_empty() => Some(foreign("it went on without an input")),
            Polled::Waiting => None,
        };
        if let Some(park) = park {
            return vec![Fact::Parked { key: key.clone(), run, park }];
        }
        let attempts = std::mem::take(&mut cell.attempts);
        attempts
            .into_iter()
            .map(|a| {
                let (key, op, attempt) = (key.clone(), a.op, a.attempt);
                match a.outcome {
                    Err(failure) if failure.kind == crate::core::error::FailureKind::Retryable => {
                        match a.retry.due_after(attempt, now) {
                            Some(retry_at) => {
                                Fact::AttemptFailed { key, run, op, attempt, failure, retry_at }
                            }
                            None => Fact::StepEnded { key, run, op, attempt, outcome: Err(failure) },
                        }
                    }
                    outcome => Fact::StepEnded { key, run, op, attempt, outcome },
                }
            })
            .collect()
    }

    /// Instances in memory and their estimated size in bytes.
    pub fn in_memory(&self) -> (usize, usize) {
        (self.live.len(), self.bytes)
    }

    fn holds(&self, key: &InstanceKey, run: u32) -> bool {
        self.live.get(key).is_some_and(|live| live.cell.borrow().run == run)
    }

    /// Brings an instance into memory by replaying its history.
    fn load(&mut self, key: &InstanceKey, run: u32, history: History) -> Result<(), Park> {
        let turns = history.map_err(missing)?;
        let Some(Turn { input: TurnInput::Start(input), .. }) = turns.first() else {
            let message = "its history does not begin with a start".to_string();
            return Err(Park::new(ParkCode::Mismatch, message));
        };
        let mut live = self.begin(key, run, input)?;
        for (number, turn) in turns.iter().enumerate() {
            live.bytes += input_bytes(&turn.input);
            if let Err(park) = live.replay(number, turn, number + 1 == turns.len()) {
                live.tear_down();
                return Err(park);
            }
        }
        self.keep(key, live);
        Ok(())
    }

    /// Makes the future of a new run; it is not polled yet.
    fn begin(&self, key: &InstanceKey, run: u32, input: &Bytes) -> Result<Live, Park> {
        let Some(handler) = self.registry.get(&key.workflow) else {
            let message = format!(
                "this program has no workflow \"{}\": deploy one that has, then retry the instance",
                key.workflow
            );
            return Err(Park::new(ParkCode::UnknownWorkflow, message));
        };
        let cell = Rc::new(RefCell::new(Cell {
            app: self.app.clone(),
            key: key.clone(),
            run,
            now: 0,
            next_op: 0,
            draws: 0,
            asked: Vec::new(),
            slots: BTreeMap::new(),
            attempts: Vec::new(),
            stepping: None,
            quiet: false,
            trouble: None,
            runtime: self.runtime.clone(),
            ready: self.ready.clone(),
            payload_limit: self.payload_limit,
        }));
        let code = catch_unwind(AssertUnwindSafe(|| (handler.begin)(cell.clone(), input)))
            .map_err(|panic| panicked(&*panic))?
            .map_err(|error| {
                Park::new(
                    ParkCode::Undecodable,
                    format!("the payload of its start does not fit the type that the code asks for: {error}"),
                )
            })?;
        let root = Arc::new(RootWaker {
            key: key.clone(),
            queue: self.ready.clone(),
            thread: std::thread::current().id(),
            polling: AtomicBool::new(false),
            woken: AtomicBool::new(false),
            reported: AtomicBool::new(false),
        });
        Ok(Live { cell, code, root, last_use: 0, bytes: INSTANCE_BYTES })
    }

    fn keep(&mut self, key: &InstanceKey, mut live: Live) {
        self.drop_live(key);
        self.uses += 1;
        live.last_use = self.uses;
        self.bytes += live.bytes;
        self.used.insert(self.uses, key.clone());
        self.live.insert(key.clone(), live);
    }

    fn touch(&mut self, key: &InstanceKey, more_bytes: usize) {
        if let Some(live) = self.live.get_mut(key) {
            self.used.remove(&live.last_use);
            self.uses += 1;
            live.last_use = self.uses;
            live.bytes += more_bytes;
            self.bytes += more_bytes;
            self.used.insert(self.uses, key.clone());
        }
    }

    /// Drops the least recently used instances until the rest fits. Not those with a step under way: its result would
    /// never come.
    fn evict(&mut self, but: &InstanceKey) {
        if self.bytes <= self.cache_bytes {
            return;
        }
        let mut victims = Vec::new();
        let mut bytes = self.bytes;
        for key in self.used.values() {
            if bytes <= self.cache_bytes {
                break;
            }
            let Some(live) = self.live.get(key) else { continue };
            if key != but && !live.cell.borrow().is_running_a_step() {
                bytes -= live.bytes;
                victims.push(key.clone());
            }
        }
        for key in victims {
            self.drop_live(&key);
        }
    }

    fn drop_live(&mut self, key: &InstanceKey) {
        if let Some(live) = self.live.remove(key) {
            self.used.remove(&live.last_use);
            self.bytes -= live.bytes;
            live.tear_down();
        }
    }
}

impl Executor for LaneExecutor {
    fn knows(&self, workflow: &str) -> bool {
        self.registry.get(workflow).is_some()
    }

    fn check_start(&self, workflow: &str, input: &Bytes) -> Result<(), String> {
        let Some(handler) = self.registry.get(workflow) else { return Ok(()) };
        // What reads it is the user's code.
        let checked = catch_unwind(AssertUnwindSafe(|| (handler.check)(input)));
        checked.unwrap_or_else(|panic| Err(format!("reading it panicked{}", panic_text(&*panic))))
    }

    fn turn(
        &mut self,
        key: &InstanceKey,
        run: u32,
        history: &mut dyn FnMut() -> History,
        at: Millis,
        input: &TurnInput,
    ) -> Answer {
        let loaded = match input {
            TurnInput::Start(payload) => self.begin(key, run, payload).map(|live| self.keep(key, live)),
            _ if self.holds(key, run) => Ok(()),
            _ => self.load(key, run, history()),
        };
        let polled = match loaded {
            Err(park) => Polled::Parked(park),
            Ok(()) => {
                self.touch(key, input_bytes(input));
                match self.live.get_mut(key) {
                    Some(live) => live.deliver(at, input),
                    None => Polled::Parked(foreign("it vanished from memory")),
                }
            }
        };
        let ops =
            self.live.get(key).map(|l| std::mem::take(&mut l.cell.borrow_mut().asked)).unwrap_or_default();
        let end = match polled {
            Polled::Waiting => TurnEnd::Waiting,
            Polled::Returned(outcome) => TurnEnd::Returned(outcome),
            Polled::Parked(park) => TurnEnd::Parked(park),
        };
        self.evict(key);
        Answer { ops, end }
    }

    fn forget(&mut self, key: &InstanceKey) {
        self.drop_live(key);
    }
}

impl Live {
    /// Delivers one input and polls until the code waits.
    fn deliver(&mut self, at: Millis, input: &TurnInput) -> Polled {
        self.root.polling.store(true, Ordering::SeqCst);
        {
            let mut cell = self.cell.borrow_mut();
            cell.now = at;
            match input {
                TurnInput::Start(_) => {}
                TurnInput::Step { op, outcome, .. } | TurnInput::Child { op, outcome } => {
                    cell.resolve(*op, outcome.clone());
                }
                TurnInput::Timer { op } => cell.resolve(*op, Ok(Bytes::new())),
                TurnInput::Signal { op, payload } => cell.resolve(*op, Ok(payload.clone())),
                TurnInput::Cancel => cell.cancel(),
            }
        }
        let polled = self.poll();
        self.root.polling.store(false, Ordering::SeqCst);
        match polled {
            Polled::Waiting if !self.cell.borrow().waits() => {
                Polled::Parked(foreign("no operation of ctx is open, so nothing can wake it"))
            }
            other => other,
        }
    }

    fn poll(&mut self) -> Polled {
        let waker = Waker::from(self.root.clone());
        let mut cx = Context::from_waker(&waker);
        loop {
            self.root.woken.store(false, Ordering::SeqCst);
            let polled = catch_unwind(AssertUnwindSafe(|| self.code.as_mut().poll(&mut cx)));
            if let Some(park) = self.cell.borrow_mut().trouble.take() {
                return Polled::Parked(park);
            }
            match polled {
                Err(panic) => return Polled::Parked(panicked(&*panic)),
                Ok(Poll::Ready(outcome)) => return Polled::Returned(outcome),
                Ok(Poll::Pending) if self.root.woken.load(Ordering::SeqCst) => {}
                Ok(Poll::Pending) => return Polled::Waiting,
            }
        }
    }

    /// Delivers a recorded input and compares what the code asks with what it asked then.
    fn replay(&mut self, number: usize, turn: &Turn, last: bool) -> Result<(), Park> {
        let polled = self.deliver(turn.at, &turn.input);
        let asked = std::mem::take(&mut self.cell.borrow_mut().asked);
        let asked: Vec<Mark> = asked.iter().map(Op::mark).collect();
        for at in 0..asked.len().max(turn.asked.len()) {
            let (was, is) = (turn.asked.get(at), asked.get(at));
            if was != is {
                return Err(mismatch(number, was, is));
            }
        }
        match polled {
            Polled::Waiting => Ok(()),
            Polled::Parked(park) => Err(park),
            Polled::Returned(_) if last => Err(mismatch_text(number, "more to wait for", "the end")),
            Polled::Returned(_) => Err(mismatch_text(number, "more turns", "the end")),
        }
    }

    /// Drops the code without recording what it drops.
    fn tear_down(self) {
        if let Ok(mut cell) = self.cell.try_borrow_mut() {
            cell.quiet = true;
        }
        self.root.reported.store(true, Ordering::SeqCst);
        let code = self.code;
        // A destructor of the user's may panic; the instance is going away all the same.
        let _ = catch_unwind(AssertUnwindSafe(move || drop(code)));
    }
}

fn input_bytes(input: &TurnInput) -> usize {
    match input {
        TurnInput::Start(b) | TurnInput::Signal { payload: b, .. } => b.len(),
        TurnInput::Step { outcome, .. } | TurnInput::Child { outcome, .. } => {
            outcome.as_ref().map_or(0, Bytes::len)
        }
        TurnInput::Timer { .. } | TurnInput::Cancel => 0,
    }
}

fn missing(MissingTurn(turn): MissingTurn) -> Park {
    Park::new(
        ParkCode::Mismatch,
        format!(
            "turn {turn} of its history is missing: the lane's local state is damaged; stop the process, delete the \
             lane's state folder, start it, so that the lane is restored from the changelog, then retry the instance"
        ),
    )
}

fn mismatch(turn: usize, was: Option<&Mark>, is: Option<&Mark>) -> Park {
    let text = |mark: Option<&Mark>, none: &str| mark.map_or_else(|| none.to_string(), Mark::to_string);
    let (was_text, is_text) = (text(was, "nothing more"), text(is, "nothing more"));
    if was_text == is_text
        && let (Some(was), Some(is)) = (was, is)
    {
        return mismatch_text(
            turn,
            &format!("{was_text} as operation {}", was.id),
            &format!("operation {}", is.id),
        );
    }
    mismatch_text(turn, &was_text, &is_text)
}

fn mismatch_text(turn: usize, was: &str, is: &str) -> Park {
    Park::new(
        ParkCode::Mismatch,
        format!(
            "history has {was}, code asked {is} (turn {turn}): the code changed under a running instance, or is not \
             deterministic; deploy code that fits, then retry the instance"
        ),
    )
}

fn foreign(what: &str) -> Park {
    Park::new(
        ParkCode::ForeignAwait,
        format!(
            "the code waits for something that is no operation of ctx ({what}): a replay could not repeat it; move it \
             into a step"
        ),
    )
}

fn panicked(panic: &(dyn std::any::Any + Send)) -> Park {
    let what = panic_text(panic);
    Park::new(
        ParkCode::Panicked,
        format!("the code panicked{what}; deploy code that does not, then retry the instance"),
    )
}

/// Where a panic was, and what it said.
fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic
        .downcast_ref::<&str>()
        .map(|s| (*s).to_string())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "with a value that is no text".into());
    let place = super::panics::last_location().map(|l| format!(" at {l}")).unwrap_or_default();
    format!("{place}: {text}")
}
