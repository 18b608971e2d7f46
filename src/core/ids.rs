//! Names of things.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

/// Longest id of an instance and longest name of a workflow, step, signal or topic, in bytes.
pub const NAME_MAX_BYTES: usize = 1024;

/// One run of a workflow: the workflow's name and the instance's id, which is also the Kafka key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct InstanceKey {
    /// The id first, so that all instances of one id lie side by side on their lane.
    pub id: Arc<str>,
    /// Name of the workflow.
    pub workflow: Arc<str>,
}

impl InstanceKey {
    /// Names an instance.
    pub fn new(workflow: impl Into<Arc<str>>, id: impl Into<Arc<str>>) -> Self {
        InstanceKey { id: id.into(), workflow: workflow.into() }
    }
}

impl fmt::Display for InstanceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.workflow, self.id)
    }
}

/// Names one operation of an instance, by its place in the code.
///
/// Numbered per branch, so that an edit in one branch does not shift the numbers of another. The main line of a
/// workflow is branch 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct OpId {
    /// Branch that issued it.
    pub branch: u32,
    /// Its number there, from 0.
    pub number: u32,
}

impl fmt::Display for OpId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.branch == 0 {
            write!(f, "{}", self.number)
        } else {
            write!(f, "{}.{}", self.branch, self.number)
        }
    }
}

/// Milliseconds since the Unix epoch. Always the time of an input, never read from a clock in the core.
pub type Millis = u64;
