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
}

impl KafkaCheckpoints {
    pub(crate) fn new(transaction: Transaction) -> Self {
        KafkaCheckpoints { transaction }
    }
}

impl Checkpoints for KafkaCheckpoints {
    fn commit(
        &mut self,
        records: &[NewRecord],
        gate: &mut dyn FnMut() -> Result<(), LogError>,
    ) -> Result<Committed, LogError> {
        if records.is_empty() {
            return Err(LogError::Refused("a checkpoint without a position record".into()));
        }
        let deadline = Instant::now() + PATIENCE;
        let last_offset = self.transaction.produce(records, deadline)?;
        if let Err(closed) = gate() {
            return self.transaction.abort(deadline).and(Err(closed));
        }
        let may_come_again = self.transaction.commit(deadline)?;
        Ok(Committed { last_offset, may_come_again })
    }
}
