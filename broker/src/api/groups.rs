//! JoinGroup, SyncGroup, Heartbeat, LeaveGroup; ListGroups, DescribeGroups, DeleteGroups.
use super::{Call, code, text};
use crate::group::{GroupState, JoinRequest};
use crate::node::HOST;
use crate::store::Changes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::delete_groups_response::DeletableGroupResult;
use kafka_protocol::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use kafka_protocol::messages::join_group_response::JoinGroupResponseMember;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::leave_group_response::MemberResponse;
use kafka_protocol::messages::list_groups_response::ListedGroup;
use kafka_protocol::messages::{
    DeleteGroupsRequest, DeleteGroupsResponse, DescribeGroupsRequest, DescribeGroupsResponse, GroupId,
    HeartbeatRequest, HeartbeatResponse, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest,
    LeaveGroupResponse, ListGroupsRequest, ListGroupsResponse, SyncGroupRequest, SyncGroupResponse,
};
use std::collections::BTreeSet;
use std::time::Duration;

/// From here on a join without a member id is sent back with one (KIP-394).
const JOIN_ID_REQUIRED_FROM: i16 = 4;
/// From here on LeaveGroup names several members.
const LEAVE_MANY_FROM: i16 = 3;
/// Kafka's `group.max.session.timeout.ms`.
const MAX_SESSION: Duration = Duration::from_secs(1800);

impl Call<'_> {
    pub(crate) fn join_group(&self, request: JoinGroupRequest) -> JoinGroupResponse {
        let session = Duration::from_millis(request.session_timeout_ms.max(0) as u64);
        let refused = |error: ResponseError, id: &str| {
            JoinGroupResponse::default()
                .with_error_code(error.code())
                .with_generation_id(-1)
                .with_member_id(text(id))
                .with_protocol_name(Some(text("")))
        };
        let valid = self.node.config.group_min_session_timeout..=MAX_SESSION;
        let checked =
            self.admitted().and_then(|()| match (request.group_id.is_empty(), valid.contains(&session)) {
                (true, _) => Err(ResponseError::InvalidGroupId),
                (_, false) => Err(ResponseError::InvalidSessionTimeout),
                _ => Ok(()),
            });
        if let Err(error) = checked {
            return refused(error, &request.member_id);
        }
        let join = JoinRequest {
            member_id: request.member_id.to_string(),
            instance: request.group_instance_id.as_ref().map(ToString::to_string),
            client_id: self.client_id.to_owned(),
            protocol_type: request.protocol_type.to_string(),
            protocols: request.protocols.iter().map(|p| (p.name.to_string(), p.metadata.clone())).collect(),
            session,
            rebalance: Duration::from_millis(request.rebalance_timeout_ms.max(0) as u64),
            id_required: self.version >= JOIN_ID_REQUIRED_FROM,
            initial_delay: self.node.config.group_initial_rebalance_delay,
        };
        match self.node.groups.join(&request.group_id, &join) {
            Err(e) => refused(e.error, &e.member_id),
            Ok(reply) => {
                let member = |(id, instance, metadata): (String, Option<String>, bytes::Bytes)| {
                    JoinGroupResponseMember::default()
                        .with_member_id(text(&id))
                        .with_group_instance_id(instance.as_deref().map(text))
                        .with_metadata(metadata)
                };
                JoinGroupResponse::default()
                    .with_generation_id(reply.generation)
                    .with_protocol_type(Some(text(&reply.protocol_type)))
                    .with_protocol_name(Some(text(&reply.protocol)))
                    .with_leader(text(&reply.leader))
                    .with_member_id(text(&reply.member_id))
                    .with_members(reply.members.into_iter().map(member).collect())
            }
        }
    }

    pub(crate) fn sync_group(&self, request: SyncGroupRequest) -> SyncGroupResponse {
        let assignments: Vec<_> =
            request.assignments.iter().map(|a| (a.member_id.to_string(), a.assignment.clone())).collect();
        let synced = self.admitted().and_then(|()| {
            let instance = request.group_instance_id.as_deref();
            let (id, generation) = (&request.member_id, request.generation_id);
            self.node.groups.sync(&request.group_id, id, instance, generation, &assignments)
        });
        match synced {
            Err(error) => SyncGroupResponse::default().with_error_code(error.code()),
            Ok(reply) => SyncGroupResponse::default()
                .with_protocol_type(Some(text(&reply.protocol_type)))
                .with_protocol_name(Some(text(&reply.protocol)))
                .with_assignment(reply.assignment),
        }
    }

    pub(crate) fn heartbeat(&self, request: HeartbeatRequest) -> HeartbeatResponse {
        let beat = self.admitted().and_then(|()| {
            let mut groups = self.node.groups.lock();
            let group = groups.get_mut(request.group_id.as_str()).ok_or(ResponseError::UnknownMemberId)?;
            let instance = request.group_instance_id.as_deref();
            group.heartbeat(&request.member_id, instance, request.generation_id, self.node.time.instant())
        });
        HeartbeatResponse::default().with_error_code(code(&beat))
    }

    pub(crate) fn leave_group(&self, request: LeaveGroupRequest) -> LeaveGroupResponse {
        let many = self.version >= LEAVE_MANY_FROM;
        let leaving = if many {
            request.members
        } else {
            vec![MemberIdentity::default().with_member_id(request.member_id)]
        };
        let mut groups = self.node.groups.lock();
        let mut left = |member: &MemberIdentity| {
            self.admitted()?;
            let group = groups.get_mut(request.group_id.as_str()).ok_or(ResponseError::UnknownMemberId)?;
            group.leave(&member.member_id, member.group_instance_id.as_deref(), self.node.time.instant())
        };
        let mut first_error = 0;
        let rows = leaving.into_iter().map(|member| {
            let result = code(&left(&member));
            first_error = if first_error == 0 { result } else { first_error };
            MemberResponse::default()
                .with_member_id(member.member_id)
                .with_group_instance_id(member.group_instance_id)
                .with_error_code(result)
        });
        let rows: Vec<_> = rows.collect();
        // old versions have one error for the one member and no list
        let error = if many { 0 } else { first_error };
        LeaveGroupResponse::default().with_error_code(error).with_members(if many {
            rows
        } else {
            Vec::new()
        })
    }

    pub(crate) fn list_groups(&self, request: ListGroupsRequest) -> ListGroupsResponse {
        let groups = self.node.groups.lock();
        let state = self.node.state();
        let ids: BTreeSet<&String> = groups.keys().chain(state.offsets.keys()).collect();
        let wanted = |state: &str| {
            request.states_filter.is_empty()
                || request.states_filter.iter().any(|s| s.eq_ignore_ascii_case(state))
        };
        let rows = ids.into_iter().filter_map(|id| {
            let group = groups.get(id);
            let state = group.map_or(GroupState::Empty, |g| g.state).name();
            let row = ListedGroup::default()
                .with_group_id(GroupId(text(id)))
                .with_protocol_type(text(group.map_or("consumer", |g| &g.protocol_type)))
                .with_group_state(text(state));
            wanted(state).then_some(row)
        });
        ListGroupsResponse::default().with_groups(rows.collect())
    }

    pub(crate) fn describe_groups(&self, request: DescribeGroupsRequest) -> DescribeGroupsResponse {
        let groups = self.node.groups.lock();
        let state = self.node.state();
        let rows = request.groups.iter().map(|id| {
            let row = DescribedGroup::default().with_group_id(id.clone());
            let Some(group) = groups.get(id.as_str()) else {
                let known = state.offsets.contains_key(id.as_str());
                return row.with_group_state(text(if known { "Empty" } else { "Dead" }));
            };
            let members = group.members.iter().map(|(member_id, member)| {
                DescribedGroupMember::default()
                    .with_member_id(text(member_id))
                    .with_group_instance_id(member.instance.as_deref().map(text))
                    .with_client_id(text(&member.client_id))
                    .with_client_host(text(HOST))
                    .with_member_metadata(member.metadata(&group.protocol))
                    .with_member_assignment(member.assignment.clone())
            });
            row.with_group_state(text(group.state.name()))
                .with_protocol_type(text(&group.protocol_type))
                .with_protocol_data(text(&group.protocol))
                .with_members(members.collect())
        });
        DescribeGroupsResponse::default().with_groups(rows.collect())
    }

    pub(crate) fn delete_groups(&self, request: DeleteGroupsRequest) -> DeleteGroupsResponse {
        let mut groups = self.node.groups.lock();
        let mut state = self.node.state();
        let rows = request.groups_names.iter().map(|id| {
            let known = groups.contains_key(id.as_str()) || state.offsets.contains_key(id.as_str());
            let empty = groups.get(id.as_str()).is_none_or(|g| g.members.is_empty());
            let deleted = match (known, empty) {
                (false, _) => Err(ResponseError::GroupIdNotFound),
                (true, false) => Err(ResponseError::NonEmptyGroup),
                (true, true) => {
                    groups.remove(id.as_str());
                    state.offsets.remove(id.as_str());
                    let mut changes = Changes::default();
                    changes.delete_group(id);
                    state.store.commit(changes)
                }
            };
            DeletableGroupResult::default().with_group_id(id.clone()).with_error_code(code(&deleted))
        });
        DeleteGroupsResponse::default().with_results(rows.collect())
    }
}
