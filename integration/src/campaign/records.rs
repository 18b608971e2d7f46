//! The records that the ledger judges, as any reader of the topics finds them.

use crate::jobs::Seen;
use anyhow::{Context, Result};

/// Where a record was found, and what it holds.
#[derive(Debug, Clone)]
pub struct Found {
    /// Its partition, which is the lane of its workflow if it is keyed by that.
    pub lane: i32,
    /// Its offset.
    pub offset: i64,
    /// Its key.
    pub key: String,
    /// Its value.
    pub value: String,
}

impl Found {
    /// The value of the out topic.
    pub fn seen(&self) -> Result<Seen> {
        serde_json::from_str(&self.value)
            .with_context(|| format!("offset {} of lane {}: {}", self.offset, self.lane, self.value))
    }
}
