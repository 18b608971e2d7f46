//! The processes and the lanes that they own: what the runtime does around a lane, without threads and group protocol.

use crate::disk::SimStore;
use crate::host::SimHost;
use crate::log::SimLog;
use crate::program::registry;
use crate::task::NewTask;
use crate::world::{Process, Sim, Tap};
use sakia::core::limits::Limits;
use sakia::lane::{Lane, LaneConfig, LaneEnd, RestoreBudget, Takeover, Topics, Turnstile, take_over};
use sakia::log::Isolation;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

pub(crate) const APP: &str = "sim";
/// Batches of commands that wait for a lane.
const FEED_BATCHES: usize = 4;

/// The lane of an id.
pub(crate) fn partition_for(key: &[u8], lanes: i32) -> i32 {
    let sum: i32 = key.iter().map(|b| i32::from(*b)).sum();
    sum % lanes
}

/// How the lanes of a simulation are set up.
pub(crate) fn lane_config(sim: &Sim, partition: i32) -> LaneConfig {
    let profile = sim.world().profile.clone();
    LaneConfig {
        app: APP.into(),
        partition,
        partitions: profile.lanes,
        reply_partitions: profile.lanes,
        topics: Topics::of(APP),
        limits: Limits {
            cascade_len: profile.cascade_len,
            recent_turns: profile.recent_turns,
            ..Limits::default()
        },
        partition_for,
        commit_interval: profile.commit_interval,
        journal_roll: profile.journal_roll,
        min_compaction_lag: profile.compaction_lag,
        keep_deletes: profile.keep_deletes,
        cache_bytes: profile.cache_bytes,
        // So few that a lane often has to wait for room, and commands for steps.
        outbox_len: 4,
        busy_steps: 2,
        restore_budget: Arc::new(RestoreBudget::new(0)),
        fence_timeout: Duration::from_secs(10),
    }
}

impl Process {
    /// One that was never started.
    pub(crate) fn new() -> Self {
        Process {
            life: 0,
            alive: false,
            paused: false,
            view: BTreeSet::new(),
            working: BTreeSet::new(),
            handles: BTreeMap::new(),
            feeds: BTreeMap::new(),
            happened: 0,
            skew_ms: 0,
            turnstile: Arc::new(Turnstile::new(1)),
        }
    }
}

/// Starts a process, with a new life and no lanes.
pub(crate) fn start(sim: &Sim, process: usize) {
    let mut world = sim.world();
    let (permits, skew) = (world.profile.permits, world.profile.skew_ms);
    let skew_ms = i64::try_from(world.rng.u64(0..=skew)).unwrap_or(0) * if world.rng.bool() { 1 } else { -1 };
    let life = world.processes[process].life + 1;
    let turnstile = Arc::new(Turnstile::new(permits));
    world.processes[process] = Process { life, alive: true, skew_ms, turnstile, ..Process::new() };
    world.note(format_args!("process {process} starts, its clock {skew_ms} ms off"));
}

/// The process learns that it owns a lane, or that it does not any more.
pub(crate) fn learn(sim: &Sim, process: usize, lane: i32, owns: bool) {
    let mut world = sim.world();
    let it = &mut world.processes[process];
    if !it.alive || it.view.contains(&lane) == owns {
        return;
    }
    let life = it.life;
    if owns {
        it.view.insert(lane);
        if it.working.insert(lane) {
            let host = SimHost { sim: sim.clone(), process, life };
            let work = Box::new(move || worker(&host, lane));
            world.spawned.push(NewTask { process, name: format!("lane {lane} of process {process}"), work });
        }
    } else {
        it.view.remove(&lane);
        if let Some(handle) = it.handles.get(&lane) {
            handle.stop();
        }
    }
    world.touch(process);
    let verb = if owns { "gets" } else { "gives up" };
    world.note(format_args!("process {process} {verb} lane {lane}"));
}

/// Takes a lane over, runs it, and takes it over again when it was lost, as long as it is ours.
fn worker(host: &SimHost, lane: i32) {
    let owned = |host: &SimHost| host.sim.world().processes[host.process].view.contains(&lane);
    while host.is_alive() && owned(host) {
        let end = once(host, lane);
        if !host.is_alive() {
            return;
        }
        host.sim.world().note(format_args!("process {} ends lane {lane}: {end:?}", host.process));
        match end {
            LaneEnd::Stopped | LaneEnd::Lost(_) => {}
            LaneEnd::Store(_) => {
                if let Some(disk) = host.sim.world().disks.get_mut(&(host.process, lane)) {
                    disk.wipe();
                }
            }
            LaneEnd::Broken(why) => {
                host.sim.world().check_broken(lane, &why);
                break;
            }
        }
        let backoff = host.sim.world().rng.u64(1..100);
        host.sleep(Duration::from_millis(backoff));
    }
    if host.is_alive() {
        host.sim.world().processes[host.process].working.remove(&lane);
    }
}

fn once(host: &SimHost, lane: i32) -> LaneEnd {
    let group_offset = host.sim.world().seen.group_offset(lane);
    let turnstile = host.sim.world().processes[host.process].turnstile.clone();
    let taken = take_over(Takeover {
        config: lane_config(&host.sim, lane),
        log: Arc::new(SimLog { host: host.clone() }),
        store: Box::new(SimStore { host: host.clone(), lane }),
        registry: registry(&Arc::new(host.clone())),
        runtime: crate::run::runtime(),
        host: Arc::new(host.clone()),
        turnstile,
        group_offset,
    });
    match taken {
        Ok(taken) => run(host, lane, taken),
        Err(end) => end,
    }
}

fn run(host: &SimHost, lane: i32, taken: Lane) -> LaneEnd {
    let (sender, feed) = crossbeam_channel::bounded(FEED_BATCHES);
    {
        let mut world = host.sim.world();
        let next = taken.next_command();
        world.note(format_args!("process {} has lane {lane}, next command {next}", host.process));
        world.check_taken(lane);
        let it = &mut world.processes[host.process];
        it.feeds.insert(lane, Tap { sender, next });
        let handle = taken.handle();
        if !it.view.contains(&lane) {
            handle.stop();
        }
        it.handles.insert(lane, handle);
    }
    let end = taken.run(&feed);
    let mut world = host.sim.world();
    if world.is_alive(host.process, host.life) {
        world.processes[host.process].feeds.remove(&lane);
        world.processes[host.process].handles.remove(&lane);
    }
    end
}

/// Hands a few commands to a lane, if it has room. Says whether it did.
pub(crate) fn feed(sim: &Sim, process: usize, lane: i32) -> bool {
    let mut world = sim.world();
    let again = world.profile.feed_again;
    let again = world.fault(again);
    let most = world.rng.usize(1..=4);
    let place = (Topics::of(APP).commands, lane);
    let Some(tap) = world.processes[process].feeds.get(&lane) else { return false };
    if tap.sender.is_full() {
        return false;
    }
    let mut next = if again { (tap.next - 2).max(0) } else { tap.next };
    let mut batch = Vec::new();
    while batch.len() < most
        && let Ok(record) = world.broker.next(&place, next, Isolation::Committed)
    {
        next = record.offset + 1;
        batch.push(record);
    }
    if batch.is_empty() {
        return false;
    }
    world.note(format_args!("process {process} reads {} commands of lane {lane}, next {next}", batch.len()));
    world.touch(process);
    let Some(tap) = world.processes[process].feeds.get_mut(&lane) else { return false };
    tap.next = next;
    tap.sender.try_send(Ok(batch)).is_ok()
}
