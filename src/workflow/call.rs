//! `ctx.call`: a child workflow, on whichever lane owns its id.

use super::cell::Shared;
use super::error::Result;
use super::pending::Pending;
use crate::core::history::Ask;
use crate::core::ids::InstanceKey;
use bytes::Bytes;
use serde::de::DeserializeOwned;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};

/// A call. See [`Ctx::call`](super::Ctx::call).
#[must_use = "a call does nothing until it is awaited"]
pub struct Call<O> {
    pending: Pending,
    child: InstanceKey,
    input: std::result::Result<Bytes, String>,
    _type: PhantomData<fn() -> O>,
}

impl<O> Call<O> {
    pub(super) fn new(cell: &Shared, child: InstanceKey, input: std::result::Result<Bytes, String>) -> Self {
        Call { pending: Pending::new(cell), child, input, _type: PhantomData }
    }
}

impl<O: DeserializeOwned> Future for Call<O> {
    type Output = Result<O>;
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<O>> {
        let this = self.get_mut();
        let input = match &this.input {
            Ok(input) => input.clone(),
            Err(error) => {
                this.pending.cell.borrow_mut().unencodable(&format!("call {}", this.child), error);
                return Poll::Pending;
            }
        };
        this.pending.issue(|_| Ask::Call { child: this.child.clone(), input });
        match this.pending.poll(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Err(failure)) => Poll::Ready(Err(failure.into())),
            Poll::Ready(Ok(bytes)) => {
                this.pending.decode(&format!("the result of {}", this.child), &bytes).map(Ok)
            }
        }
    }
}
