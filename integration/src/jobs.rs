//! The contract of the `worker` app.

use sakia::{Signal, Topic, Workflow};
use serde::{Deserialize, Serialize};

/// Does everything that a workflow can do. Its input numbers it.
pub const JOB: Workflow<u64, Done> = Workflow::new("job");
/// The child that every job calls, on whichever lane.
pub const LEAF: Workflow<u64, u64> = Workflow::new("leaf");
/// Sends a record of so many bytes to the topic of that name.
pub const POST: Workflow<(String, usize), ()> = Workflow::new("post");
/// Fails, its step first, with a text of so many bytes.
pub const RANT: Workflow<usize, ()> = Workflow::new("rant");
/// The signal that every job waits for.
pub const GO: Signal<u64> = Signal::new("go");

/// The topic that jobs write.
pub const fn out_topic(name: &'static str) -> Topic<String, Seen> {
    Topic::new(name)
}

/// The result of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// What its first step drew.
    pub token: u64,
    /// What its child returned.
    pub leaf: u64,
}

/// What a workflow saw, written to the out topic: a job when it began and when it ended, and what
/// [`crate::campaign::workflows`] do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// Which of those it is: `began`, `ended`, ….
    pub stage: String,
    /// The number of the job, transfer, account or alarm.
    pub n: u64,
    /// What its first step drew.
    pub token: u64,
    /// Length of the sleep that it asked for, in milliseconds.
    pub asked_ms: u64,
    /// How long it slept by its own clock, in milliseconds.
    pub slept_ms: u64,
    /// Payload of the signal.
    pub go: u64,
    /// Result of the child.
    pub leaf: u64,
    /// Account of a posting.
    #[serde(default)]
    pub account: u64,
    /// Money.
    #[serde(default)]
    pub amount: i64,
    /// Whether it went as it should.
    #[serde(default)]
    pub paid: bool,
}

impl Seen {
    /// A record of that stage with nothing in it.
    pub fn stage(stage: &str) -> Self {
        Seen { stage: stage.into(), ..Seen::default() }
    }
}
