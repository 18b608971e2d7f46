//! `ctx.sleep`: a durable timer.

use super::cell::Shared;
use super::error::Result;
use super::pending::Pending;
use crate::core::history::Ask;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

/// A sleep. See [`Ctx::sleep`](super::Ctx::sleep).
#[must_use = "a sleep does nothing until it is awaited"]
pub struct Sleep {
    pending: Pending,
    length: Duration,
}

impl Sleep {
    pub(super) fn new(cell: &Shared, length: Duration) -> Self {
        Sleep { pending: Pending::new(cell), length }
    }
}

impl Future for Sleep {
    type Output = Result<()>;
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let length = self.length;
        self.pending.issue(|cell| {
            // Rounded up: a timer is never early.
            let length_ms = u64::try_from(length.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX);
            Ask::Sleep { until: cell.borrow().now.saturating_add(length_ms), length_ms }
        });
        self.pending.poll(cx).map(|outcome| outcome.map(|_| ()).map_err(Into::into))
    }
}
