//! `app.stream(TOPIC)`: what the records of a topic of yours become.

use super::app::App;
use crate::ingress::Binding;
use crate::workflow::{RecordKey, Signal, Topic, Workflow};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The records of a topic, about to be bound. See [`App::stream`].
#[must_use = "a stream does nothing until it is bound with start or signal"]
pub struct Stream<'a, S, K, V> {
    app: &'a mut App<S>,
    topic: Topic<K, V>,
}

impl<'a, S, K, V> Stream<'a, S, K, V>
where
    K: RecordKey + 'static,
    V: DeserializeOwned + 'static,
{
    pub(super) fn new(app: &'a mut App<S>, topic: Topic<K, V>) -> Self {
        Stream { app, topic }
    }

    /// Each record starts a workflow. `to` gives the id and the input; records with one id start one instance.
    pub fn start<I, O, F>(self, workflow: Workflow<I, O>, to: F)
    where
        I: Serialize + 'static,
        F: Fn(&K, V) -> (String, I) + Send + Sync + 'static,
    {
        self.app.bind(Binding::start(self.topic, workflow, to));
    }

    /// Each record is a signal for an instance. `to` gives its id and the payload.
    pub fn signal<I, O, T, F>(self, workflow: Workflow<I, O>, signal: Signal<T>, to: F)
    where
        T: Serialize + 'static,
        F: Fn(&K, V) -> (String, T) + Send + Sync + 'static,
    {
        self.app.bind(Binding::signal(self.topic, workflow, signal, to));
    }
}
