//! Who may wake an instance: its own code while it is polled, and the bodies of its steps. Nobody else.

use crate::core::ids::{InstanceKey, OpId};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Wake;
use std::thread::ThreadId;

/// Why an instance is to be polled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ready {
    /// The body of a step may go on.
    Step(InstanceKey, OpId),
    /// Something that is not ours woke the instance; the text says from where.
    Foreign(InstanceKey, String),
}

/// Collects wake-ups from any thread for the lane that owns the instances.
pub struct ReadyQueue {
    waiting: Mutex<Vec<Ready>>,
    notify: Box<dyn Fn() + Send + Sync>,
}

impl ReadyQueue {
    /// `notify` is called, from any thread, when the queue is no longer empty.
    pub fn new(notify: impl Fn() + Send + Sync + 'static) -> Self {
        ReadyQueue { waiting: Mutex::default(), notify: Box::new(notify) }
    }

    pub(super) fn take(&self) -> Vec<Ready> {
        std::mem::take(&mut self.waiting.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn push(&self, ready: Ready) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let first = waiting.is_empty();
        waiting.push(ready);
        drop(waiting);
        if first {
            (self.notify)();
        }
    }
}

/// Wakes the body of one step, from any thread.
pub(super) struct StepWaker {
    pub(super) key: InstanceKey,
    pub(super) op: OpId,
    pub(super) queue: Arc<ReadyQueue>,
    /// Set while a wake-up is queued, so that a chatty body fills no queue.
    pub(super) queued: AtomicBool,
}

impl Wake for StepWaker {
    fn wake(self: Arc<Self>) {
        if !self.queued.swap(true, Ordering::SeqCst) {
            self.queue.push(Ready::Step(self.key.clone(), self.op));
        }
    }
}

/// Wakes the instance itself. Valid only on the lane's thread and while it is being polled.
pub(super) struct RootWaker {
    pub(super) key: InstanceKey,
    pub(super) queue: Arc<ReadyQueue>,
    pub(super) thread: ThreadId,
    pub(super) polling: AtomicBool,
    pub(super) woken: AtomicBool,
    pub(super) reported: AtomicBool,
}

impl Wake for RootWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }
    fn wake_by_ref(self: &Arc<Self>) {
        let ours = std::thread::current().id() == self.thread && self.polling.load(Ordering::SeqCst);
        if ours {
            self.woken.store(true, Ordering::SeqCst);
        } else if !self.reported.swap(true, Ordering::SeqCst) {
            self.queue.push(Ready::Foreign(self.key.clone(), waking_line()));
        }
    }
}

/// The first line outside of the standard library and of this crate's machinery on the waking thread's stack.
fn waking_line() -> String {
    let thread = std::thread::current().name().unwrap_or("without a name").to_string();
    let trace = std::backtrace::Backtrace::force_capture().to_string();
    let line = trace.lines().map(str::trim).filter_map(|l| l.strip_prefix("at ")).find(|l| {
        !l.contains("/rustc/")
            && !l.contains("/library/")
            && !l.contains("/registry/src/")
            && !l.contains("src/workflow/")
    });
    match line {
        Some(line) => format!("thread {thread}, {line}"),
        None => format!("thread {thread}"),
    }
}
