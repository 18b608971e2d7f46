//! Dropping librdkafka clients without waiting for them.

use std::ops::Deref;

/// Owns a client and drops it on a thread of its own: a consumer closes its group and may wait for minutes if the
/// coordinator is away (rdkafka #509). Producers need none, see `polled`.
pub(crate) struct Detached<T: Send + 'static>(Option<T>);

impl<T: Send + 'static> Detached<T> {
    pub(crate) fn new(client: T) -> Self {
        Detached(Some(client))
    }
}

impl<T: Send + 'static> Deref for Detached<T> {
    type Target = T;
    fn deref(&self) -> &T {
        match &self.0 {
            Some(client) => client,
            None => unreachable!("the client is taken only by drop"),
        }
    }
}

impl<T: Send + 'static> Drop for Detached<T> {
    fn drop(&mut self) {
        if let Some(client) = self.0.take() {
            let dropped = std::thread::Builder::new().name("kafka-drop".into()).spawn(move || drop(client));
            if let Err(e) = dropped {
                tracing::warn!(error = %e, "no thread to drop a Kafka client on; dropped in place");
            }
        }
    }
}
