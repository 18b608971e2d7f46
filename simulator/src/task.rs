//! Threads of the simulated processes: coroutines in one real thread. One runs at a time, and the scheduler says which.

use generator::{Generator, Gn};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Words of stack: the executor replays users' code on it.
const STACK_WORDS: usize = 64 * 1024;

/// Why a task let others go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pause {
    /// It may go on at any time: a request or a response is under way.
    Go,
    /// Until something happens in its process, or until a time.
    Wait(Duration),
    /// Until a time, whatever happens.
    Until(Duration),
    /// It has ended.
    End,
}

/// Lets the scheduler pick somebody else. Crashed processes end here: their stack is unwound.
#[expect(
    deprecated,
    reason = "the form with a scope cannot be reached through the traits of the log and the store"
)]
pub(crate) fn pause(pause: Pause) {
    generator::yield_with(pause);
}

/// What a task runs.
pub(crate) type Work = Box<dyn FnOnce() + Send>;

/// A task that is to be started.
pub(crate) struct NewTask {
    pub(crate) process: usize,
    pub(crate) name: String,
    pub(crate) work: Work,
}

/// One thread of a process.
pub(crate) struct Task {
    pub(crate) process: usize,
    pub(crate) name: String,
    code: Generator<'static, (), Pause>,
    pub(crate) pause: Pause,
    /// Count of the process's happenings when it paused.
    pub(crate) seen: u64,
}

impl Task {
    pub(crate) fn new(new: NewTask) -> Self {
        let work = new.work;
        let code = Gn::<()>::new_opt(STACK_WORDS, move || {
            work();
            Pause::End
        });
        Task { process: new.process, name: new.name, code, pause: Pause::Go, seen: 0 }
    }

    /// Runs it to its next pause.
    pub(crate) fn resume(&mut self) {
        self.pause = self.code.resume().unwrap_or(Pause::End);
    }

    /// Whether it may go on.
    pub(crate) fn is_ready(&self, now: Duration, happened: u64) -> bool {
        match self.pause {
            Pause::Go => true,
            Pause::Wait(until) => self.seen != happened || until <= now,
            Pause::Until(until) => until <= now,
            Pause::End => false,
        }
    }

    /// When it goes on by itself.
    pub(crate) fn deadline(&self) -> Option<Duration> {
        match self.pause {
            Pause::Wait(until) | Pause::Until(until) => Some(until),
            Pause::Go | Pause::End => None,
        }
    }
}

impl Drop for Task {
    /// While a coroutine is unwound, its library has another panic hook in place. Two threads that did so at the same
    /// time could leave that one for good, and no panic would be printed any more.
    fn drop(&mut self) {
        static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
        let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        if !std::thread::panicking() {
            self.code.cancel();
        }
    }
}
