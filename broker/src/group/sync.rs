//! SyncGroup.
use super::{Group, GroupState};
use bytes::Bytes;
use kafka_protocol::ResponseError;
use std::time::Instant;

/// A member's assignment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SyncReply {
    pub(crate) protocol_type: String,
    pub(crate) protocol: String,
    pub(crate) assignment: Bytes,
}

/// What follows from a sync.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SyncStep {
    Done(Result<SyncReply, ResponseError>),
    /// Ask `Group::synced` after each change.
    Wait,
}

impl Group {
    pub(crate) fn sync(
        &mut self,
        id: &str,
        instance: Option<&str>,
        generation: i32,
        assignments: &[(String, Bytes)],
        now: Instant,
    ) -> SyncStep {
        if let Err(error) = self.check(id, instance, generation) {
            return SyncStep::Done(Err(error));
        }
        self.seen(id, now);
        if let Some(member) = self.members.get_mut(id) {
            member.synced = true;
        }
        match self.state {
            GroupState::Empty => SyncStep::Done(Err(ResponseError::UnknownMemberId)),
            GroupState::PreparingRebalance => SyncStep::Done(Err(ResponseError::RebalanceInProgress)),
            GroupState::Stable => SyncStep::Done(Ok(self.assignment(id))),
            GroupState::CompletingRebalance if self.leader == id => {
                self.assign(assignments, now);
                SyncStep::Done(Ok(self.assignment(id)))
            }
            GroupState::CompletingRebalance => {
                if let Some(member) = self.members.get_mut(id) {
                    member.awaiting_sync = true;
                }
                SyncStep::Wait
            }
        }
    }

    fn assign(&mut self, assignments: &[(String, Bytes)], now: Instant) {
        for (id, assignment) in assignments {
            if let Some(member) = self.members.get_mut(id) {
                member.assignment = assignment.clone();
            }
        }
        for member in self.members.values_mut().filter(|m| m.awaiting_sync) {
            member.awaiting_sync = false;
            member.last_seen = now;
        }
        self.state = GroupState::Stable;
        self.changed.notify_all();
    }

    /// Whether a waiting sync is through.
    pub(crate) fn synced(
        &self,
        id: &str,
        instance: Option<&str>,
        generation: i32,
    ) -> Option<Result<SyncReply, ResponseError>> {
        if let Err(error) = self.check_member(id, instance) {
            return Some(Err(error));
        }
        match self.state {
            GroupState::CompletingRebalance if self.generation == generation => None,
            GroupState::Stable if self.generation == generation => Some(Ok(self.assignment(id))),
            _ => Some(Err(ResponseError::RebalanceInProgress)),
        }
    }

    fn assignment(&self, id: &str) -> SyncReply {
        SyncReply {
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            assignment: self.members.get(id).map(|m| m.assignment.clone()).unwrap_or_default(),
        }
    }
}
