//! The workflows of a program, by name.

use super::cell::Shared;
use super::ctx::Ctx;
use super::error::Result;
use super::names::Workflow;
use super::payload;
use crate::core::error::Failure;
use crate::core::history::Outcome;
use bytes::Bytes;
use futures::future::LocalBoxFuture;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::sync::Arc;

type Begin = Box<dyn Fn(Shared, &Bytes) -> Result<LocalBoxFuture<'static, Outcome>, String> + Send + Sync>;
type Check = Box<dyn Fn(&Bytes) -> Result<(), String> + Send + Sync>;

/// One workflow, its types forgotten.
pub(super) struct Handler {
    pub(super) begin: Begin,
    pub(super) check: Check,
}

/// The workflows of a program. Shared by all lanes.
#[derive(Default)]
pub struct Registry {
    handlers: BTreeMap<&'static str, Handler>,
}

impl Registry {
    /// Adds a workflow.
    ///
    /// # Panics
    /// If there is one of that name: two functions for one name is a mistake in the program.
    pub fn add<S, I, O, F, Fut>(&mut self, app: &Arc<S>, workflow: Workflow<I, O>, function: F)
    where
        S: Send + Sync + 'static,
        I: DeserializeOwned + 'static,
        O: Serialize + 'static,
        F: Fn(Ctx<S>, I) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<O>> + 'static,
    {
        let (app, name) = (app.clone(), workflow.name());
        let begin: Begin = Box::new(move |cell, input| {
            let input = payload::decode(input)?;
            let code = function(Ctx::new(cell, app.clone()), input);
            Ok(Box::pin(async move {
                match code.await {
                    Ok(value) => payload::encode(&value)
                        .map_err(|e| Failure::permanent(format!("the result cannot be written: {e}"))),
                    Err(error) => Err(error.into_failure()),
                }
            }))
        });
        let check: Check = Box::new(|input| payload::decode::<I>(input).map(|_| ()));
        let earlier = self.handlers.insert(name, Handler { begin, check });
        assert!(earlier.is_none(), "workflow \"{name}\" is registered twice");
    }

    pub(super) fn get(&self, workflow: &str) -> Option<&Handler> {
        self.handlers.get(workflow)
    }

    /// The names, in order.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.handlers.keys().copied()
    }
}
