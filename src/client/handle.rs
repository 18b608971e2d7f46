//! One instance, seen from outside.

use super::inbox::Waiting;
use super::{Client, ClientError};
use crate::codec::reply::Description;
use crate::core::ids::InstanceKey;
use crate::workflow::{Error, Result, Signal, payload};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt;
use std::marker::PhantomData;
use std::sync::{Mutex, PoisonError};

/// An instance of a workflow whose result is an `O`.
pub struct Handle<O> {
    client: Client,
    key: InstanceKey,
    /// The answer that a start has already asked for.
    started: Mutex<Option<Waiting>>,
    _result: PhantomData<fn() -> O>,
}

impl<O> fmt::Debug for Handle<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Handle({})", self.key)
    }
}

impl<O: DeserializeOwned> Handle<O> {
    pub(super) fn new(client: Client, key: InstanceKey, started: Option<Waiting>) -> Self {
        Handle { client, key, started: Mutex::new(started), _result: PhantomData }
    }

    /// The instance's id.
    pub fn id(&self) -> &str {
        &self.key.id
    }

    /// Sends a signal; returns when it is durable.
    ///
    /// # Errors
    /// If it could not be written. A signal for an instance that was never started, or that has ended, goes to the
    /// dead-letter topic.
    pub async fn signal<T: Serialize>(&self, signal: Signal<T>, payload: T) -> Result<()> {
        let bytes = payload::encode(&payload)
            .map_err(|e| Error::msg(format!("signal \"{}\" for {}: {e}", signal.name(), self.key)))?;
        self.client.signal_raw(&self.key.workflow, &self.key.id, signal.name(), bytes).await?;
        Ok(())
    }

    /// Waits for the result, as long as it takes; wrap it in `tokio::time::timeout` to wait shorter.
    ///
    /// # Errors
    /// The workflow's own error, with its details; or that there is no such instance.
    pub async fn result(&self) -> Result<O> {
        let started = self.started.lock().unwrap_or_else(PoisonError::into_inner).take();
        let bytes = match self.client.await_result(&self.key, started).await {
            Ok(bytes) => bytes,
            Err(ClientError::Failed { failure, .. }) => return Err(failure.into()),
            Err(other) => return Err(other.into()),
        };
        payload::decode(&bytes).map_err(|e| {
            Error::msg(format!("the result of {} is not what this program expects: {e}", self.key))
        })
    }

    /// Cancels it: its code sees `Err(Cancelled)` where it waits. No error if it has ended.
    ///
    /// # Errors
    /// If there is no such instance, or the app did not answer in time.
    pub async fn cancel(&self) -> Result<()> {
        Ok(self.client.cancel_raw(&self.key.workflow, &self.key.id).await?)
    }

    /// Takes it up again if it is parked.
    ///
    /// # Errors
    /// If there is no such instance, or the app did not answer in time.
    pub async fn retry(&self) -> Result<()> {
        Ok(self.client.retry_raw(&self.key.workflow, &self.key.id).await?)
    }

    /// What it did and what it waits for.
    ///
    /// # Errors
    /// If there is no such instance, or the app did not answer in time.
    pub async fn show(&self) -> Result<Description> {
        Ok(self.client.show(&self.key.workflow, &self.key.id).await?)
    }
}
