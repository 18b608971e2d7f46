//! `ctx.run`: a step, the only place for side effects.

use super::cell::Shared;
use super::error::{Error, Result};
use super::payload;
use super::pending::Pending;
use super::wake::StepWaker;
use crate::core::error::{Failure, FailureKind};
use crate::core::history::{Ask, Outcome};
use crate::core::ids::OpId;
use crate::core::retry::Retry;
use futures::future::LocalBoxFuture;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// An attempt that ended; the executor makes a fact of it.
pub(super) struct Attempt {
    pub(super) op: OpId,
    pub(super) attempt: u32,
    pub(super) outcome: Outcome,
    pub(super) retry: Retry,
}

type Body<'a, T> = Box<dyn Fn() -> LocalBoxFuture<'a, Result<T>> + 'a>;

/// A step that was described; `.await` issues it. See [`Ctx::run`](super::Ctx::run).
#[must_use = "a step does nothing until it is awaited"]
pub struct Run<'a, T> {
    cell: Shared,
    name: Arc<str>,
    body: Body<'a, T>,
    retry: Retry,
    timeout: Option<Duration>,
}

impl<'a, T> Run<'a, T> {
    pub(super) fn new<F>(cell: &Shared, name: &str, body: F) -> Self
    where
        F: AsyncFn() -> Result<T> + 'a,
        T: 'a,
    {
        let body = Rc::new(body);
        let body: Body<'a, T> = Box::new(move || {
            let body = body.clone();
            Box::pin(async move { body().await })
        });
        Run { cell: cell.clone(), name: name.into(), body, retry: Retry::forever(), timeout: None }
    }
    /// How often and how fast a failed attempt is repeated. Default: [`Retry::forever`].
    pub fn retry(mut self, retry: Retry) -> Self {
        self.retry = retry;
        self
    }
    /// Ends each attempt that takes longer; it counts as failed and is retried. Default: no limit.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }
}

impl<'a, T: Serialize + DeserializeOwned + 'a> IntoFuture for Run<'a, T> {
    type Output = Result<T>;
    type IntoFuture = RunFuture<'a, T>;
    fn into_future(self) -> RunFuture<'a, T> {
        RunFuture {
            pending: Pending::new(&self.cell),
            name: self.name,
            body: self.body,
            retry: self.retry,
            timeout: self.timeout,
            attempt: None,
        }
    }
}

/// A step that is under way.
pub struct RunFuture<'a, T> {
    pending: Pending,
    name: Arc<str>,
    body: Body<'a, T>,
    retry: Retry,
    timeout: Option<Duration>,
    attempt: Option<Running<'a, T>>,
}

struct Running<'a, T> {
    number: u32,
    future: LocalBoxFuture<'a, Result<T>>,
    waker: Arc<StepWaker>,
}

impl<T> Unpin for RunFuture<'_, T> {}

impl<'a, T: Serialize + DeserializeOwned + 'a> Future for RunFuture<'a, T> {
    type Output = Result<T>;
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<T>> {
        let this = self.get_mut();
        let op = this.pending.issue(|_| Ask::Run { name: this.name.clone() });
        if let Poll::Ready(outcome) = this.pending.poll(cx) {
            this.attempt = None;
            return match outcome {
                Ok(bytes) => {
                    this.pending.decode(&format!("the result of step \"{}\"", this.name), &bytes).map(Ok)
                }
                Err(failure) => Poll::Ready(Err(failure.into())),
            };
        }
        this.start_if_told(op);
        this.poll_attempt(op);
        Poll::Pending
    }
}

impl<'a, T: Serialize + 'a> RunFuture<'a, T> {
    fn start_if_told(&mut self, op: OpId) {
        let (number, key, queue) = {
            let mut cell = self.pending.cell.borrow_mut();
            let (key, queue) = (cell.key.clone(), cell.ready.clone());
            let Some(slot) = cell.slots.get_mut(&op) else { return };
            let Some(number) = slot.go.take() else { return };
            slot.running = true;
            (number, key, queue)
        };
        let future = match self.timeout {
            None => (self.body)(),
            Some(limit) => {
                let attempt = (self.body)();
                Box::pin(async move {
                    tokio::time::timeout(limit, attempt)
                        .await
                        .unwrap_or_else(|_| Err(Error::msg(format!("timed out after {limit:?}"))))
                })
            }
        };
        let waker = Arc::new(StepWaker { key, op, queue, queued: AtomicBool::new(false) });
        self.attempt = Some(Running { number, future, waker });
    }

    /// Polls the body under a tokio handle, which the workflow's own code does not have.
    fn poll_attempt(&mut self, op: OpId) {
        let Some(running) = &mut self.attempt else { return };
        running.waker.queued.store(false, Ordering::SeqCst);
        let runtime = {
            let mut cell = self.pending.cell.borrow_mut();
            cell.stepping = Some(op);
            cell.runtime.clone()
        };
        let guard = runtime.as_ref().map(|r| r.enter());
        let waker = Waker::from(running.waker.clone());
        let polled = running.future.as_mut().poll(&mut Context::from_waker(&waker));
        drop(guard);
        let mut cell = self.pending.cell.borrow_mut();
        cell.stepping = None;
        if let Poll::Ready(result) = polled {
            let outcome = self::outcome(result, &self.name, cell.payload_limit);
            let attempt = Attempt { op, attempt: running.number, outcome, retry: self.retry };
            cell.attempts.push(attempt);
            if let Some(slot) = cell.slots.get_mut(&op) {
                slot.running = false;
            }
            drop(cell);
            self.attempt = None;
        }
    }
}

/// The bytes of a result, or the failure that takes its place.
fn outcome<T: Serialize>(result: Result<T>, name: &str, limit: usize) -> Outcome {
    let bytes = match result {
        Ok(value) => payload::encode(&value).map_err(|e| {
            Failure::permanent(format!("the result of step \"{name}\" cannot be written: {e}")).bounded()
        })?,
        Err(error) => return Err(error.into_failure()),
    };
    if bytes.len() > limit {
        let message = format!(
            "the result of step \"{name}\" has {} bytes, the limit is {limit}: return a reference instead",
            bytes.len()
        );
        return Err(Failure { kind: FailureKind::PayloadTooLarge, message, details: Default::default() });
    }
    Ok(bytes)
}
