//! What a workflow's code gets.

use super::call::Call;
use super::cell::Shared;
use super::error::Result;
use super::names::{Signal, Topic, Workflow};
use super::payload::{RecordKey, encode};
use super::random;
use super::recv::Recv;
use super::run::Run;
use super::send;
use super::sleep::Sleep;
use crate::core::ids::InstanceKey;
use serde::Serialize;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use uuid::Uuid;

/// The instance that is running, and everything that it may wait for. Cheap to clone.
///
/// A workflow awaits only what comes from here. Anything else (a tokio timer, a socket, a channel) belongs into a
/// step: outside of one it parks the instance, because a replay could not repeat it.
///
/// ```no_run
/// use sakia::{Ctx, Result, Retry};
/// async fn greet(ctx: Ctx<()>, name: String) -> Result<String> {
///     let greeting = ctx
///         .run("translate", async || Ok(format!("hello {name}")))
///         .retry(Retry::times(3))
///         .await?;
///     Ok(greeting)
/// }
/// ```
pub struct Ctx<S = ()> {
    cell: Shared,
    app: Arc<S>,
}

impl<S> Clone for Ctx<S> {
    fn clone(&self) -> Self {
        Ctx { cell: self.cell.clone(), app: self.app.clone() }
    }
}

impl<S> fmt::Debug for Ctx<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ctx({})", self.cell.borrow().key)
    }
}

impl<S> Ctx<S> {
    pub(super) fn new(cell: Shared, app: Arc<S>) -> Self {
        Ctx { cell, app }
    }
    /// What the app was made with: clients, settings.
    pub fn app(&self) -> &S {
        &self.app
    }
    /// The instance's id.
    pub fn id(&self) -> String {
        self.cell.borrow().key.id.to_string()
    }
    /// Time of the input that is being handled. The same in every replay; never use `SystemTime::now` instead.
    pub fn now(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(self.cell.borrow().now)
    }
    /// A random number, the same in every replay.
    pub fn rand(&self) -> u64 {
        self.draw().as_u64_pair().0
    }
    /// A random UUID, the same in every replay.
    pub fn uuid(&self) -> Uuid {
        self.draw()
    }
    fn draw(&self) -> Uuid {
        let mut cell = self.cell.borrow_mut();
        cell.draws += 1;
        random::draw(&cell.app, &cell.key, cell.run, cell.draws)
    }
    /// Names the step that is running, the same in every attempt: `app/workflow/id/run/step`. Give it to whatever the
    /// step calls, so that a second attempt is recognised there. Outside of a step it names the instance.
    pub fn idempotency_key(&self) -> String {
        let cell = self.cell.borrow();
        let instance = format!("{}/{}/{}/{}", cell.app, cell.key.workflow, cell.key.id, cell.run);
        match cell.stepping {
            Some(op) => format!("{instance}/{op}"),
            None => instance,
        }
    }
    /// A step: the only place for side effects. Runs at least once; its recorded result is the only result, for ever.
    ///
    /// Inside, an error from `?` is retried and [`permanent`](super::Permanent::permanent) ends the step. The body is
    /// polled on the lane's thread: give work for the CPU to `tokio::task::spawn_blocking`.
    ///
    /// # Errors
    /// The last error, when it was permanent or the retries are used up.
    pub fn run<'a, T, F>(&self, name: &str, body: F) -> Run<'a, T>
    where
        F: AsyncFn() -> Result<T> + 'a,
        T: 'a,
    {
        Run::new(&self.cell, name, body)
    }
    /// A durable timer: ends once, never early, also if the process dies in between. Milliseconds count, what is
    /// below is rounded up.
    ///
    /// # Errors
    /// If the instance is cancelled meanwhile.
    pub fn sleep(&self, length: Duration) -> Sleep {
        Sleep::new(&self.cell, length)
    }
    /// Waits for a signal. Signals that came earlier are kept, in order.
    ///
    /// # Errors
    /// If the instance is cancelled meanwhile.
    pub fn recv<T>(&self, signal: Signal<T>) -> Recv<T> {
        Recv::new(&self.cell, signal.name())
    }
    /// Produces a record to a topic of yours, in the same Kafka transaction as the instance's state: a
    /// `read_committed` consumer sees it exactly once.
    pub fn send<K: RecordKey, V: Serialize>(&self, topic: Topic<K, V>, key: &K, value: V) {
        send::send(&self.cell, topic, key, &value);
    }
    /// Starts a child workflow, or finds the one of that id, and waits for its result. Dropping the call cancels a
    /// child that it started.
    ///
    /// # Errors
    /// The child's failure.
    pub fn call<I: Serialize, O>(
        &self,
        workflow: Workflow<I, O>,
        id: impl fmt::Display,
        input: I,
    ) -> Call<O> {
        let child = InstanceKey::new(workflow.name(), id.to_string());
        Call::new(&self.cell, child, encode(&input))
    }
}
