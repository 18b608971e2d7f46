//! What happens next: one of all that can, by the seed. Faults among it, until the chaos ends.

use crate::lanes::{self, feed};
use crate::run::Run;
use crate::wire::deliver_answer;
use fastrand::Rng;
use sakia::lane::Topics;
use std::time::Duration;

/// What the group protocol knows: who owns which lane, and who has not heard of it yet.
pub(crate) struct Chaos {
    owners: Vec<Option<usize>>,
    /// Processes that still believe to own a lane.
    stale: Vec<(usize, i32)>,
}

impl Chaos {
    pub(crate) fn new(lanes: i32) -> Self {
        Chaos { owners: (0..lanes).map(|_| None).collect(), stale: Vec::new() }
    }

    fn lane(&self, at: usize) -> i32 {
        i32::try_from(at).unwrap_or(i32::MAX)
    }
}

/// Something that can happen now.
#[derive(Debug, Clone, Copy)]
enum Happening {
    Run(usize),
    Request(u64),
    Answer(u64),
    Marker(usize),
    LateEnd(usize),
    Feed(usize, i32),
    Body(usize),
    Client,
    Time,
    Deadline,
    Jump,
    Start(usize),
    Assign(usize),
    Forget(usize),
    Continue(usize),
    Crash,
    Stop,
    Move,
    RestartBroker,
    Compact,
    Expire,
}

/// Picks one by weight and lets it happen.
pub(crate) fn happen(run: &mut Run) {
    let choices = choices(run);
    let total: u32 = choices.iter().map(|(weight, _)| weight).sum();
    if total == 0 {
        return to_deadline(run);
    }
    let mut pick = run.sim.world().rng.u32(0..total);
    for (weight, happening) in choices {
        if pick < weight {
            return perform(run, happening);
        }
        pick -= weight;
    }
}

/// Adds one of several things of a kind.
fn one<T>(
    choices: &mut Vec<(u32, Happening)>,
    rng: &mut Rng,
    weight: u32,
    from: &[T],
    of: impl Fn(&T) -> Happening,
) {
    if let Some(chosen) = rng.choice(from) {
        choices.push((weight, of(chosen)));
    }
}

fn choices(run: &Run) -> Vec<(u32, Happening)> {
    let mut world = run.sim.world();
    let world = &mut *world;
    let awake: Vec<bool> = world.processes.iter().map(|p| p.alive && !p.paused).collect();
    let now = world.now;
    let ready = |at: &usize| {
        let task = &run.tasks[*at];
        awake[task.process] && task.is_ready(now, world.processes[task.process].happened)
    };
    let tasks: Vec<usize> = (0..run.tasks.len()).filter(ready).collect();
    let answers: Vec<u64> = world
        .wire
        .answering()
        .into_iter()
        .filter(|(_, p)| awake[*p] || !world.processes[*p].alive)
        .map(|(n, _)| n)
        .collect();
    let taps: Vec<(usize, i32)> = (world.processes.iter().enumerate())
        .filter(|(at, _)| awake[*at])
        .flat_map(|(at, p)| p.feeds.iter().map(move |(lane, tap)| (at, *lane, tap)))
        .filter(|(_, lane, tap)| {
            let place = (Topics::of(lanes::APP).commands, *lane);
            !tap.sender.is_full()
                && world.broker.next(&place, tap.next, sakia::log::Isolation::Committed).is_ok()
        })
        .map(|(at, lane, _)| (at, lane))
        .collect();
    let bodies: Vec<usize> = (0..world.bodies.len()).filter(|at| awake[world.bodies[*at].process]).collect();
    let (sending, markers) = (world.wire.sending(), world.broker.pending_markers().len());
    let mut all = Vec::new();
    let rng = &mut world.rng;
    one(&mut all, rng, 60, &tasks, |at| Happening::Run(*at));
    one(&mut all, rng, 40, &sending, |number| Happening::Request(*number));
    one(&mut all, rng, 40, &answers, |number| Happening::Answer(*number));
    // Slowly, where some may be forgotten.
    let soon = if world.profile.skip_markers > 0 { 8 } else { 30 };
    one(&mut all, rng, soon, &(0..markers).collect::<Vec<_>>(), |at| Happening::Marker(*at));
    for (at, late) in world.wire.late.iter().enumerate() {
        // It comes where it would hurt, mostly.
        let hits = world.broker.has_written(&late.id, late.epoch);
        let weight = if hits { 200 } else { u32::from(rng.u32(0..4) == 0) };
        all.push((weight, Happening::LateEnd(at)));
    }
    one(&mut all, rng, 20, &taps, |(process, lane)| Happening::Feed(*process, *lane));
    one(&mut all, rng, 15, &bodies, |at| Happening::Body(*at));
    let idle = all.is_empty();
    if !run.client.is_done() {
        all.push((6, Happening::Client));
    }
    if world.chaos {
        all.extend([
            (6, Happening::Time),
            (if idle { 20 } else { 2 }, Happening::Deadline),
            (1, Happening::Jump),
        ]);
        faults(run, world, &mut all);
    }
    all
}

fn faults(run: &Run, world: &mut crate::world::World, all: &mut Vec<(u32, Happening)>) {
    let profile = world.profile.clone();
    let dead: Vec<usize> = (0..world.processes.len()).filter(|at| !world.processes[*at].alive).collect();
    let paused: Vec<usize> = (0..world.processes.len()).filter(|at| world.processes[*at].paused).collect();
    let lost = |owner: Option<usize>| owner.is_none_or(|at| !world.processes[at].alive);
    let orphans: Vec<usize> = (0..run.chaos.owners.len()).filter(|at| lost(run.chaos.owners[*at])).collect();
    let stale: Vec<usize> = (0..run.chaos.stale.len()).collect();
    let rng = &mut world.rng;
    one(all, rng, 5, &dead, |at| Happening::Start(*at));
    one(all, rng, 12, &orphans, |at| Happening::Assign(*at));
    one(all, rng, 2, &stale, |at| Happening::Forget(*at));
    one(all, rng, 4, &paused, |at| Happening::Continue(*at));
    all.extend([
        (profile.crash / 4, Happening::Crash),
        (profile.stop / 4, Happening::Stop),
        (profile.move_lane / 4, Happening::Move),
        (profile.restart_broker / 4, Happening::RestartBroker),
        (profile.compact / 4, Happening::Compact),
        (profile.expire / 4, Happening::Expire),
    ]);
}

fn perform(run: &mut Run, happening: Happening) {
    match happening {
        Happening::Run(at) => run.resume(at),
        Happening::Request(number) => run.sim.world().deliver_append(number),
        Happening::Answer(number) => deliver_answer(&run.sim, number),
        Happening::Marker(at) => {
            let mut world = run.sim.world();
            let (id, place) = world.broker.pending_markers()[at].clone();
            let now_ms = world.now_ms();
            world.broker.write_marker(&id, &place, now_ms);
            world.note(format_args!("marker of {id} on {} {}", place.0, place.1));
        }
        Happening::LateEnd(at) => run.sim.world().deliver_late_end(at),
        Happening::Feed(process, lane) => drop(feed(&run.sim, process, lane)),
        Happening::Body(at) => {
            let body = run.sim.world().bodies.swap_remove(at);
            run.sim.world().note(format_args!("the outside answers {}", body.what));
            // Its instance may be gone.
            let _ = body.done.send(());
            run.sim.world().touch(body.process);
        }
        Happening::Client => run.client.send(&run.sim),
        Happening::Time => {
            let mut world = run.sim.world();
            let length = Duration::from_millis(world.rng.u64(1..=30));
            world.now += length;
        }
        Happening::Deadline => to_deadline(run),
        Happening::Jump => {
            let mut world = run.sim.world();
            let jump = world.profile.jump;
            let length = jump.mul_f64(world.rng.f64());
            world.now += length;
        }
        other => fault(run, other),
    }
}

/// Goes on to the next time at which something happens by itself.
fn to_deadline(run: &Run) {
    let mut world = run.sim.world();
    let awake = |process: usize| world.processes[process].alive && !world.processes[process].paused;
    let next = run.tasks.iter().filter(|t| awake(t.process)).filter_map(crate::task::Task::deadline).min();
    world.now = next.unwrap_or(world.now + Duration::from_secs(1)).max(world.now + Duration::from_millis(1));
}

fn fault(run: &mut Run, happening: Happening) {
    match happening {
        Happening::Start(process) => lanes::start(&run.sim, process),
        Happening::Assign(lane) => run.assign(lane),
        Happening::Forget(at) => {
            let (process, lane) = run.chaos.stale.swap_remove(at);
            if run.chaos.owners[usize::try_from(lane).unwrap_or(0)] != Some(process) {
                lanes::learn(&run.sim, process, lane, false);
            }
        }
        Happening::Continue(process) => {
            let mut world = run.sim.world();
            world.processes[process].paused = false;
            world.note(format_args!("process {process} continues"));
        }
        Happening::Crash => run.crash(),
        Happening::Stop => run.stop(),
        Happening::Move => {
            let lane = run.sim.world().rng.usize(0..run.chaos.owners.len());
            run.assign(lane);
        }
        Happening::RestartBroker => {
            let mut world = run.sim.world();
            world.broker.generation += 1;
            world.note(format_args!("the broker restarts"));
            let open = world.broker.open_since(u64::MAX);
            for id in open {
                if world.rng.u32(0..4) == 0 {
                    world.broker.expire(&id);
                }
            }
            for id in world.broker.unseen() {
                let skips = world.profile.skip_markers;
                if world.fault(skips) {
                    world.broker.skip_markers(&id);
                    world.note(format_args!("it forgets the markers of {id}"));
                }
            }
        }
        Happening::Compact => run.compact(),
        Happening::Expire => {
            let mut world = run.sim.world();
            let timeout = u64::try_from(world.profile.transaction_timeout.as_millis()).unwrap_or(u64::MAX);
            let before = world.now_ms().saturating_sub(timeout);
            for id in world.broker.open_since(before) {
                world.broker.expire(&id);
                world.note(format_args!("the transaction of {id} was open too long: aborted and fenced"));
            }
        }
        _ => {}
    }
}

impl Run {
    /// Gives a lane to a process that lives. Who had it may hear of that much later.
    fn assign(&mut self, lane: usize) {
        let (new, at_once) = {
            let mut world = self.sim.world();
            let alive: Vec<usize> = (0..world.processes.len())
                .filter(|at| world.processes[*at].alive && !world.processes[*at].paused)
                .collect();
            (world.rng.choice(alive).to_owned(), world.rng.bool())
        };
        let Some(new) = new else { return };
        let number = self.chaos.lane(lane);
        if let Some(old) = self.chaos.owners[lane].replace(new).filter(|old| *old != new) {
            if at_once {
                lanes::learn(&self.sim, old, number, false);
            } else {
                self.chaos.stale.push((old, number));
            }
        }
        lanes::learn(&self.sim, new, number, true);
    }

    fn crash(&mut self) {
        let process = {
            let mut world = self.sim.world();
            let alive: Vec<usize> =
                (0..world.processes.len()).filter(|at| world.processes[*at].alive).collect();
            let Some(process) = world.rng.choice(alive) else { return };
            world.note(format_args!("process {process} crashes"));
            world.processes[process].alive = false;
            process
        };
        // Their stacks are unwound now; what they still call has no effect.
        self.tasks.retain(|task| task.process != process);
        let mut world = self.sim.world();
        world.spawned.retain(|task| task.process != process);
        let gone = std::mem::take(&mut world.bodies);
        let (gone, kept) = gone.into_iter().partition(|body| body.process == process);
        world.bodies = kept;
        let life = world.processes[process].life;
        world.processes[process] = crate::world::Process { life, ..crate::world::Process::new() };
        let lanes: Vec<i32> =
            world.disks.keys().filter(|(p, _)| *p == process).map(|(_, lane)| *lane).collect();
        for lane in lanes {
            let luck = world.rng.usize(0..8);
            let Some(disk) = world.disks.get_mut(&(process, lane)) else { continue };
            let left = disk.crash(luck);
            world.note(format_args!("its disk of lane {lane} {left}"));
        }
        drop(world);
        drop::<Vec<crate::world::Body>>(gone);
    }

    /// SIGSTOP. The group gives its lanes to others, mostly.
    fn stop(&mut self) {
        let (process, reassign) = {
            let mut world = self.sim.world();
            let awake: Vec<usize> = (0..world.processes.len())
                .filter(|at| world.processes[*at].alive && !world.processes[*at].paused)
                .collect();
            let Some(process) = world.rng.choice(awake) else { return };
            world.processes[process].paused = true;
            world.note(format_args!("process {process} is stopped"));
            (process, world.rng.u32(0..4) > 0)
        };
        for lane in 0..self.chaos.owners.len() {
            if reassign && self.chaos.owners[lane] == Some(process) {
                self.assign(lane);
            }
        }
    }

    fn compact(&mut self) {
        let mut world = self.sim.world();
        let ms = |d: Duration| u64::try_from(d.as_millis()).unwrap_or(u64::MAX);
        let (lag, keep) = (ms(world.profile.compaction_lag), ms(world.profile.keep_deletes));
        let now_ms = world.now_ms();
        for lane in 0..world.profile.lanes {
            let place = (Topics::of(lanes::APP).changelog, lane);
            let gone = world.broker.compact(&place, now_ms, lag, keep);
            world.note(format_args!("compaction takes {gone} entries from the changelog of lane {lane}"));
        }
    }

    /// Everybody lives and learns who owns what, and no transaction hangs.
    pub(crate) fn heal(&mut self) {
        let now_ms = self.sim.world().now_ms();
        self.sim.world().broker.write_skipped(now_ms);
        let processes = self.sim.world().processes.len();
        for process in 0..processes {
            let alive = self.sim.world().processes[process].alive;
            self.sim.world().processes[process].paused = false;
            if !alive {
                lanes::start(&self.sim, process);
            }
        }
        for lane in 0..self.chaos.owners.len() {
            let lost = self.chaos.owners[lane]
                .is_none_or(|owner| !self.sim.world().processes[owner].view.contains(&self.chaos.lane(lane)));
            if lost {
                self.chaos.owners[lane] = None;
                self.assign(lane);
            }
            for process in (0..processes).filter(|p| Some(*p) != self.chaos.owners[lane]) {
                lanes::learn(&self.sim, process, self.chaos.lane(lane), false);
            }
        }
        self.chaos.stale.clear();
    }
}
