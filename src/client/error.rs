//! What can go wrong for a client, by what its user has to do.

use crate::config::{ConfigError, Unreachable};
use crate::core::error::{Failure, FailureKind};
use crate::core::ids::InstanceKey;
use crate::log::LogError;

/// Why a client did not get what it asked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Nobody listens at Kafka's address.
    #[error(transparent)]
    Unreachable(#[from] Unreachable),
    /// The app's topics are not there.
    #[error(
        "app {app} has no topic {topic}: correct the app's name, or create its topics with `topics init`"
    )]
    NoTopic {
        /// The app.
        app: String,
        /// The topic.
        topic: String,
    },
    /// There is no such instance.
    #[error("there is no instance {0}: it was never started; check workflow and id with `list`")]
    Unknown(InstanceKey),
    /// The instance ended with a failure.
    #[error("{key} {}", ending(.failure))]
    Failed {
        /// The instance.
        key: InstanceKey,
        /// Its failure.
        failure: Failure,
    },
    /// No process answered in time.
    #[error(
        "no process of app {app} answered for partitions {partitions:?} within {waited_ms} ms: is the app running? \
         (its processes may also be taking over; ask again)"
    )]
    NoAnswer {
        /// The app.
        app: String,
        /// Those without an answer.
        partitions: Vec<i32>,
        /// How long it was waited.
        waited_ms: u64,
    },
    /// It can never be sent like this.
    #[error("{0}")]
    Refused(String),
    /// It may work later.
    #[error("{0}")]
    Unavailable(String),
}

fn ending(failure: &Failure) -> String {
    match failure.kind {
        FailureKind::Cancelled => "was cancelled".to_string(),
        _ => format!("failed: {failure}"),
    }
}

impl From<LogError> for ClientError {
    fn from(error: LogError) -> Self {
        match error {
            LogError::Refused(text) | LogError::RefusedRecord { text, .. } => ClientError::Refused(text),
            LogError::Lost(text) | LogError::Unavailable(text) | LogError::Broken(text) => {
                ClientError::Unavailable(text)
            }
        }
    }
}
