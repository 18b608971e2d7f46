//! `ctx.recv`: waits for a signal.

use super::cell::Shared;
use super::error::Result;
use super::pending::Pending;
use super::sleep::Sleep;
use crate::core::history::Ask;
use serde::de::DeserializeOwned;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

/// A receive. See [`Ctx::recv`](super::Ctx::recv).
#[must_use = "a receive does nothing until it is awaited"]
pub struct Recv<T> {
    pending: Pending,
    signal: Arc<str>,
    _type: PhantomData<fn() -> T>,
}

impl<T> Recv<T> {
    pub(super) fn new(cell: &Shared, signal: &str) -> Self {
        Recv { pending: Pending::new(cell), signal: signal.into(), _type: PhantomData }
    }
    /// Waits no longer than that; `None` if no signal came.
    pub fn timeout(self, length: Duration) -> RecvTimeout<T> {
        let timer = Sleep::new(&self.pending.cell, length);
        RecvTimeout { ends: Some((self, timer)) }
    }
}

impl<T: DeserializeOwned> Future for Recv<T> {
    type Output = Result<T>;
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<T>> {
        let this = self.get_mut();
        this.pending.issue(|_| Ask::Receive { signal: this.signal.clone() });
        match this.pending.poll(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Err(failure)) => Poll::Ready(Err(failure.into())),
            Poll::Ready(Ok(bytes)) => {
                this.pending.decode(&format!("signal \"{}\"", this.signal), &bytes).map(Ok)
            }
        }
    }
}

/// A receive with a limit. See [`Recv::timeout`].
#[must_use = "a receive does nothing until it is awaited"]
pub struct RecvTimeout<T> {
    ends: Option<(Recv<T>, Sleep)>,
}

impl<T: DeserializeOwned> Future for RecvTimeout<T> {
    type Output = Result<Option<T>>;
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Option<T>>> {
        let Some((recv, timer)) = &mut self.ends else { return Poll::Pending };
        let first = match Pin::new(recv).poll(cx) {
            Poll::Ready(signal) => Poll::Ready(signal.map(Some)),
            Poll::Pending => Pin::new(timer).poll(cx).map(|fired| fired.map(|()| None)),
        };
        if first.is_ready() {
            // Whichever lost is cancelled here, at a place that replay meets again.
            self.ends = None;
        }
        first
    }
}
