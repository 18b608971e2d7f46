//! The requests that are served, one file per family.
mod configs;
mod fetch;
mod group_offsets;
mod groups;
mod inspect;
mod list_offsets;
mod metadata;
mod produce;
mod producers;
mod topics;
mod transactions;

use crate::node::Node;
use bytes::{Bytes, BytesMut};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::{
    AddOffsetsToTxnRequest, AddPartitionsToTxnRequest, AlterConfigsRequest, ApiKey, ApiVersionsResponse,
    CreatePartitionsRequest, CreateTopicsRequest, DeleteGroupsRequest, DeleteRecordsRequest,
    DeleteTopicsRequest, DescribeConfigsRequest, DescribeGroupsRequest, DescribeProducersRequest,
    DescribeTransactionsRequest, EndTxnRequest, FetchRequest, FindCoordinatorRequest, HeartbeatRequest,
    IncrementalAlterConfigsRequest, InitProducerIdRequest, JoinGroupRequest, LeaveGroupRequest,
    ListGroupsRequest, ListOffsetsRequest, ListTransactionsRequest, MetadataRequest, OffsetCommitRequest,
    OffsetFetchRequest, OffsetForLeaderEpochRequest, ProduceRequest, SyncGroupRequest,
    TxnOffsetCommitRequest,
};
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};

macro_rules! served {
    ($($api:ident $min:literal ..= $max:literal),* $(,)?) => {
        /// A Kafka request that the broker serves.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        #[expect(missing_docs, reason = "the names are Kafka's")]
        pub enum Api { $($api),* }

        impl Api {
            /// Versions end before those that need topic ids, batched forms or KIP-848.
            pub(crate) const SERVED: &[(Api, ApiKey, i16, i16)] = &[$((Api::$api, ApiKey::$api, $min, $max)),*];
        }
    };
}

served! {
    Produce 3..=9, Fetch 4..=12, ListOffsets 1..=7, Metadata 1..=12, OffsetCommit 2..=8, OffsetFetch 1..=7,
    FindCoordinator 0..=3, JoinGroup 2..=7, Heartbeat 0..=4, LeaveGroup 0..=4, SyncGroup 0..=5,
    DescribeGroups 0..=5, ListGroups 0..=4, ApiVersions 0..=3, CreateTopics 2..=7, DeleteTopics 1..=5,
    DeleteRecords 0..=2, InitProducerId 0..=4, OffsetForLeaderEpoch 2..=4, AddPartitionsToTxn 0..=3,
    AddOffsetsToTxn 0..=3, EndTxn 0..=3, TxnOffsetCommit 0..=3, DescribeConfigs 1..=4, AlterConfigs 0..=2,
    IncrementalAlterConfigs 0..=1, CreatePartitions 0..=3, DeleteGroups 0..=2, DescribeProducers 0..=0,
    DescribeTransactions 0..=0, ListTransactions 0..=1,
}

impl Api {
    /// The API of a request header, and whether its version is served.
    pub(crate) fn of(key: ApiKey, version: i16) -> Option<(Self, bool)> {
        let (api, _, min, max) = Self::SERVED.iter().find(|(_, served, _, _)| *served == key)?;
        Some((*api, (*min..=*max).contains(&version)))
    }
}

/// A request that cannot be answered; the connection is closed, as Kafka does.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RequestError {
    #[error("request does not decode: {0}")]
    Decode(String),
    #[error("answer does not encode: {0}")]
    Encode(String),
}

/// One request, as the handlers see it.
pub(crate) struct Call<'a> {
    pub(crate) node: &'a Node,
    pub(crate) version: i16,
    pub(crate) client_id: &'a str,
    /// Injected error that this request must be refused with.
    pub(crate) refusal: Option<i16>,
}

impl Call<'_> {
    /// The injected error if there is one.
    fn admitted(&self) -> Result<(), ResponseError> {
        self.refusal.and_then(ResponseError::try_from_code).map_or(Ok(()), Err)
    }

    fn answer<Q: Decodable, A: Encodable>(
        &self,
        body: &mut Bytes,
        out: &mut BytesMut,
        handle: impl FnOnce(&Self, Q) -> A,
    ) -> Result<bool, RequestError> {
        let request = Q::decode(body, self.version).map_err(|e| RequestError::Decode(e.to_string()))?;
        let answer = handle(self, request);
        answer.encode(out, self.version).map_err(|e| RequestError::Encode(e.to_string()))?;
        Ok(true)
    }

    /// Carries out a request and writes the answer; false if there must be none.
    pub(crate) fn run(&self, api: Api, b: &mut Bytes, out: &mut BytesMut) -> Result<bool, RequestError> {
        match api {
            Api::ApiVersions => self.api_versions(out, true),
            Api::Produce => {
                let mut acks = 0;
                self.answer(b, out, |call, request: ProduceRequest| {
                    acks = request.acks;
                    call.produce(request)
                })?;
                Ok(acks != 0)
            }
            Api::Fetch => self.answer(b, out, |c, r: FetchRequest| c.fetch(r)),
            Api::ListOffsets => self.answer(b, out, |c, r: ListOffsetsRequest| c.list_offsets(r)),
            Api::OffsetForLeaderEpoch => {
                self.answer(b, out, |c, r: OffsetForLeaderEpochRequest| c.offset_for_leader_epoch(r))
            }
            Api::Metadata => self.answer(b, out, |c, r: MetadataRequest| c.metadata(r)),
            Api::FindCoordinator => self.answer(b, out, |c, r: FindCoordinatorRequest| c.find_coordinator(r)),
            Api::JoinGroup => self.answer(b, out, |c, r: JoinGroupRequest| c.join_group(r)),
            Api::SyncGroup => self.answer(b, out, |c, r: SyncGroupRequest| c.sync_group(r)),
            Api::Heartbeat => self.answer(b, out, |c, r: HeartbeatRequest| c.heartbeat(r)),
            Api::LeaveGroup => self.answer(b, out, |c, r: LeaveGroupRequest| c.leave_group(r)),
            Api::ListGroups => self.answer(b, out, |c, r: ListGroupsRequest| c.list_groups(r)),
            Api::DescribeGroups => self.answer(b, out, |c, r: DescribeGroupsRequest| c.describe_groups(r)),
            Api::DeleteGroups => self.answer(b, out, |c, r: DeleteGroupsRequest| c.delete_groups(r)),
            Api::OffsetCommit => self.answer(b, out, |c, r: OffsetCommitRequest| c.offset_commit(r)),
            Api::OffsetFetch => self.answer(b, out, |c, r: OffsetFetchRequest| c.offset_fetch(r)),
            Api::TxnOffsetCommit => {
                self.answer(b, out, |c, r: TxnOffsetCommitRequest| c.txn_offset_commit(r))
            }
            _ => self.run_admin(api, b, out),
        }
    }

    fn run_admin(&self, api: Api, b: &mut Bytes, out: &mut BytesMut) -> Result<bool, RequestError> {
        match api {
            Api::InitProducerId => self.answer(b, out, |c, r: InitProducerIdRequest| c.init_producer_id(r)),
            Api::AddPartitionsToTxn => {
                self.answer(b, out, |c, r: AddPartitionsToTxnRequest| c.add_partitions_to_txn(r))
            }
            Api::AddOffsetsToTxn => {
                self.answer(b, out, |c, r: AddOffsetsToTxnRequest| c.add_offsets_to_txn(r))
            }
            Api::EndTxn => self.answer(b, out, |c, r: EndTxnRequest| c.end_txn(r)),
            Api::CreateTopics => self.answer(b, out, |c, r: CreateTopicsRequest| c.create_topics(r)),
            Api::DeleteTopics => self.answer(b, out, |c, r: DeleteTopicsRequest| c.delete_topics(r)),
            Api::CreatePartitions => {
                self.answer(b, out, |c, r: CreatePartitionsRequest| c.create_partitions(r))
            }
            Api::DeleteRecords => self.answer(b, out, |c, r: DeleteRecordsRequest| c.delete_records(r)),
            Api::DescribeConfigs => self.answer(b, out, |c, r: DescribeConfigsRequest| c.describe_configs(r)),
            Api::AlterConfigs => self.answer(b, out, |c, r: AlterConfigsRequest| c.alter_configs(r)),
            Api::IncrementalAlterConfigs => {
                self.answer(b, out, |c, r: IncrementalAlterConfigsRequest| c.incremental_alter_configs(r))
            }
            Api::DescribeProducers => {
                self.answer(b, out, |c, r: DescribeProducersRequest| c.describe_producers(r))
            }
            Api::DescribeTransactions => {
                self.answer(b, out, |c, r: DescribeTransactionsRequest| c.describe_transactions(r))
            }
            Api::ListTransactions => {
                self.answer(b, out, |c, r: ListTransactionsRequest| c.list_transactions(r))
            }
            _ => Err(RequestError::Decode(format!("{api:?} has no handler"))),
        }
    }

    /// The list of what is served. A client that asks in a version from the future gets it in version 0,
    /// with an error, and asks again (KIP-511).
    pub(crate) fn api_versions(&self, out: &mut BytesMut, known: bool) -> Result<bool, RequestError> {
        let row = |(_, key, min, max): &(Api, ApiKey, i16, i16)| {
            ApiVersion::default().with_api_key(*key as i16).with_min_version(*min).with_max_version(*max)
        };
        let answer = ApiVersionsResponse::default()
            .with_api_keys(Api::SERVED.iter().map(row).collect())
            .with_error_code(if known { 0 } else { ResponseError::UnsupportedVersion.code() });
        let version = if known { self.version } else { 0 };
        answer.encode(out, version).map_err(|e| RequestError::Encode(e.to_string()))?;
        Ok(true)
    }
}

/// The code on the wire: 0 is success.
fn code<T>(result: &Result<T, ResponseError>) -> i16 {
    result.as_ref().err().map_or(0, ResponseError::code)
}

fn text(value: &str) -> StrBytes {
    StrBytes::from_string(value.to_owned())
}
