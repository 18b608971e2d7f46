//! Everything outside of the lanes: time, chance, the broker, the disks, the network, and what was seen of it all.

use crate::broker::Broker;
use crate::disk::Disk;
use crate::profile::Profile;
use crate::seen::Seen;
use crate::task::NewTask;
use crate::wire::Wire;
use fastrand::Rng;
use futures::channel::oneshot;
use sakia::lane::{Feed, LaneHandle, Turnstile};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Duration;

/// The simulated clock begins here, in milliseconds since the Unix epoch.
const EPOCH_MS: u64 = 1_700_000_000_000;

/// The world, shared by everything that lives in it. All in one thread: the lock is never waited for.
#[derive(Clone)]
pub(crate) struct Sim(Arc<Mutex<World>>);

impl Sim {
    pub(crate) fn new(seed: u64, profile: Profile) -> Self {
        Sim(Arc::new(Mutex::new(World::new(seed, profile))))
    }

    /// # Panics
    /// If somebody has it already: it must not be held over a pause.
    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        match self.0.try_lock() {
            Ok(world) => world,
            Err(TryLockError::Poisoned(poisoned)) => PoisonError::into_inner(poisoned),
            Err(TryLockError::WouldBlock) => panic!("the world is held over a pause"),
        }
    }
}

/// A process that owns lanes.
pub(crate) struct Process {
    /// Counts its lives. What a dead one still calls has no effect.
    pub(crate) life: u32,
    pub(crate) alive: bool,
    /// Stopped as by SIGSTOP: nothing in it moves.
    pub(crate) paused: bool,
    /// The lanes that it believes to own.
    pub(crate) view: BTreeSet<i32>,
    /// Lanes with a worker.
    pub(crate) working: BTreeSet<i32>,
    pub(crate) handles: BTreeMap<i32, LaneHandle>,
    pub(crate) feeds: BTreeMap<i32, Tap>,
    /// Counts what happened in it; whoever waits looks again.
    pub(crate) happened: u64,
    /// How far its wall clock is off.
    pub(crate) skew_ms: i64,
    pub(crate) turnstile: Arc<Turnstile>,
}

/// Carries commands to a lane.
pub(crate) struct Tap {
    pub(crate) sender: crossbeam_channel::Sender<Feed>,
    pub(crate) next: i64,
}

/// A step body that waits for the outside.
pub(crate) struct Body {
    pub(crate) process: usize,
    pub(crate) what: String,
    pub(crate) done: oneshot::Sender<()>,
}

pub(crate) struct World {
    pub(crate) rng: Rng,
    pub(crate) profile: Profile,
    pub(crate) now: Duration,
    pub(crate) broker: Broker,
    pub(crate) wire: Wire,
    pub(crate) processes: Vec<Process>,
    /// By process and lane.
    pub(crate) disks: BTreeMap<(usize, i32), Disk>,
    pub(crate) bodies: Vec<Body>,
    pub(crate) spawned: Vec<NewTask>,
    pub(crate) seen: Seen,
    /// Whether faults happen. Off at the end, when everything has to come to rest.
    pub(crate) chaos: bool,
    /// Counter for results that are never the same twice.
    pub(crate) nonce: u64,
    pub(crate) violation: Option<String>,
    pub(crate) events: Vec<String>,
    hasher: DefaultHasher,
}

impl World {
    fn new(seed: u64, profile: Profile) -> Self {
        World {
            rng: Rng::with_seed(seed),
            profile,
            now: Duration::ZERO,
            broker: Broker::default(),
            wire: Wire::default(),
            processes: Vec::new(),
            disks: BTreeMap::new(),
            bodies: Vec::new(),
            spawned: Vec::new(),
            seen: Seen::default(),
            chaos: true,
            nonce: 0,
            violation: None,
            events: Vec::new(),
            hasher: DefaultHasher::new(),
        }
    }

    /// The broker's clock.
    pub(crate) fn now_ms(&self) -> u64 {
        EPOCH_MS + u64::try_from(self.now.as_millis()).unwrap_or(u64::MAX)
    }

    /// Puts a line into the event log.
    pub(crate) fn note(&mut self, line: fmt::Arguments<'_>) {
        let line = format!("{:>9.3}s {line}", self.now.as_secs_f64());
        line.hash(&mut self.hasher);
        self.events.push(line);
    }

    /// One number for the whole event log.
    pub(crate) fn fingerprint(&self) -> u64 {
        self.hasher.finish()
    }

    /// A promise was broken. The first one counts.
    pub(crate) fn violated(&mut self, what: String) {
        self.note(format_args!("VIOLATION {what}"));
        self.violation.get_or_insert(what);
    }

    /// Whether something that happens once in so many times happens now; never after the chaos.
    pub(crate) fn fault(&mut self, per_mille: u32) -> bool {
        self.chaos && self.rng.u32(0..1000) < per_mille
    }

    /// Whoever waits in the process looks again.
    pub(crate) fn touch(&mut self, process: usize) {
        self.processes[process].happened += 1;
    }

    pub(crate) fn is_alive(&self, process: usize, life: u32) -> bool {
        self.processes.get(process).is_some_and(|p| p.alive && p.life == life)
    }

    pub(crate) fn next_nonce(&mut self) -> u64 {
        self.nonce += 1;
        self.nonce
    }
}
