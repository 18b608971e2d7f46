//! Checkpoints: transactions on one id.

use super::config::CHECKPOINT_TRANSACTION_TIMEOUT;
use super::transaction::Transaction;
use crate::log::{Checkpoints, Committed, LogError, NewRecord};
use std::time::{Duration, Instant};

/// The broker ends the transaction by itself after its timeout (swept every 10 s); past this there is nothing to wait
/// for.
const PATIENCE: Duration = Duration::from_secs(CHECKPOINT_TRANSACTION_TIMEOUT.as_secs() + 5);

/// One of a lane's two writers of checkpoints.
pub struct KafkaCheckpoints {
    transaction: Transaction,
    /// When the open transaction has to be over.
    deadline: Option<Instant>,
}

impl KafkaCheckpoints {
    pub(crate) fn new(transaction: Transaction) -> Self {
        KafkaCheckpoints { transaction, deadline: None }
    }

    fn end(&mut self) -> Result<Instant, LogError> {
        self.deadline.take().ok_or_else(|| LogError::Refused("no transaction is open".into()))
    }
}

impl Checkpoints for KafkaCheckpoints {
    fn produce(&mut self, records: &[NewRecord]) -> Result<i64, LogError> {
        if records.is_empty() {
            return Err(LogError::Refused("a checkpoint without a position record".into()));
        }
        if let Some(deadline) = self.deadline {
            let more = self.transaction.produce_more(records, deadline);
            if more.is_err() {
                self.deadline = None;
            }
            return more;
        }
        let deadline = Instant::now() + PATIENCE;
        let last = self.transaction.produce(records, deadline)?;
        self.deadline = Some(deadline);
        Ok(last)
    }

    fn commit(&mut self) -> Result<Committed, LogError> {
        let deadline = self.end()?;
        self.transaction.commit(deadline)
    }

    fn abort(&mut self) -> Result<(), LogError> {
        let deadline = self.end()?;
        self.transaction.abort(deadline)
    }
}
