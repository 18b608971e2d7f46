//! The machine of a simulated process.

use crate::task::{NewTask, Pause, pause};
use crate::world::Sim;
use sakia::core::ids::Millis;
use sakia::lane::{Host, Join};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// One life of one process.
#[derive(Clone)]
pub(crate) struct SimHost {
    pub(crate) sim: Sim,
    pub(crate) process: usize,
    pub(crate) life: u32,
}

impl SimHost {
    pub(crate) fn is_alive(&self) -> bool {
        self.sim.world().is_alive(self.process, self.life)
    }

    /// Lets others go on. Nothing happens in a process that is dead: its stack is being unwound.
    pub(crate) fn pause(&self, why: Pause) {
        if self.is_alive() {
            pause(why);
        }
    }

    /// Lets time pass.
    pub(crate) fn sleep(&self, length: Duration) {
        let until = self.sim.world().now + length;
        self.pause(Pause::Until(until));
    }
}

impl Host for SimHost {
    fn now(&self) -> Millis {
        let world = self.sim.world();
        world.now_ms().saturating_add_signed(world.processes[self.process].skew_ms)
    }

    fn uptime(&self) -> Duration {
        self.sim.world().now
    }

    fn wait(&self, limit: Duration, ready: &mut dyn FnMut(Duration) -> bool) -> bool {
        let deadline = self.uptime() + limit;
        let mut paused = false;
        while self.is_alive() {
            let is_ready = ready(Duration::ZERO);
            if is_ready || (paused && self.uptime() >= deadline) {
                // What this thread does now may be what another one waits for.
                self.sim.world().touch(self.process);
                return is_ready;
            }
            paused = true;
            self.pause(Pause::Wait(deadline));
        }
        false
    }

    fn spawn(&self, name: String, work: Box<dyn FnOnce() + Send>) -> std::io::Result<Join> {
        let ended = Arc::new(AtomicBool::new(false));
        let (theirs, host) = (ended.clone(), self.clone());
        let work = Box::new(move || {
            work();
            theirs.store(true, Ordering::SeqCst);
            host.sim.world().touch(host.process);
        });
        self.sim.world().spawned.push(NewTask { process: self.process, name, work });
        let host = self.clone();
        Ok(Box::new(move || {
            host.sim.world().touch(host.process);
            while host.is_alive() && !host.wait(LONG, &mut |_| ended.load(Ordering::SeqCst)) {}
        }))
    }
}

/// Whoever waits for a thread looks again after so long.
const LONG: Duration = Duration::from_secs(60);
