//! Connecting a client before it is needed.

use rdkafka::client::{Client, ClientContext};
use std::time::Duration;

/// How long a consumer waits for a connection before it is used; past it librdkafka goes on by itself.
pub(crate) const CONNECT_WAIT: Duration = Duration::from_secs(1);

/// Waits until a broker is connected and the topic's leaders are known. Without it librdkafka 2.12.1 finds out by timers:
/// 500 ms for a transaction's coordinator, up to 1 s for the leader of an assigned partition. Does not fail: why
/// there is no connection, the call that needs it says better.
pub(crate) fn connect<C: ClientContext>(client: &Client<C>, topic: &str, wait: Duration) {
    if let Err(e) = client.fetch_metadata(Some(topic), wait) {
        tracing::debug!(topic, error = %e, "no metadata yet");
    }
}
