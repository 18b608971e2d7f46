//! InitProducerId.
use super::Call;
use crate::store::Changes;
use crate::txn::ProducerIdentity;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::{InitProducerIdRequest, InitProducerIdResponse, ProducerId};

/// From here on a fenced producer is told so by name (KIP-588).
const FENCED_FROM: i16 = 4;

impl Call<'_> {
    pub(crate) fn init_producer_id(&self, request: InitProducerIdRequest) -> InitProducerIdResponse {
        match self.admitted().and_then(|()| self.new_identity(&request)) {
            Ok(producer) => InitProducerIdResponse::default()
                .with_producer_id(ProducerId(producer.id))
                .with_producer_epoch(producer.epoch),
            Err(error) => InitProducerIdResponse::default()
                .with_error_code(self.fenced_as(error, FENCED_FROM).code())
                .with_producer_id(ProducerId(-1))
                .with_producer_epoch(-1),
        }
    }

    fn new_identity(&self, request: &InitProducerIdRequest) -> Result<ProducerIdentity, ResponseError> {
        let mut state = self.node.state();
        let mut changes = Changes::default();
        let Some(id) = request.transactional_id.as_ref().map(|id| id.to_string()) else {
            let id = state.new_producer_id(&mut changes);
            state.store.commit(changes)?;
            return Ok(ProducerIdentity { id, epoch: 0 });
        };
        if id.is_empty() {
            return Err(ResponseError::InvalidRequest);
        }
        let known = (request.producer_id.0 >= 0)
            .then_some(ProducerIdentity { id: request.producer_id.0, epoch: request.producer_epoch });
        let touched = state.txn_partitions(&id);
        let result =
            state.init_txn(&id, request.transaction_timeout_ms, known, self.node.end_mode(), &mut changes);
        state.store.commit(changes)?;
        state.wake_partitions(&touched);
        drop(state);
        self.node.wake_clock();
        result
    }

    /// Older versions of a request know only that the epoch is wrong.
    pub(super) fn fenced_as(&self, error: ResponseError, fenced_from: i16) -> ResponseError {
        match error {
            ResponseError::ProducerFenced if self.version < fenced_from => {
                ResponseError::InvalidProducerEpoch
            }
            other => other,
        }
    }
}
