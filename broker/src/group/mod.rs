//! Consumer groups, classic protocol, with static members (KIP-345).
//!
//! | state | join: new member | join: known member | sync | leave, expiry | all joined, or deadline |
//! |---|---|---|---|---|---|
//! | Empty | Preparing | UNKNOWN_MEMBER_ID | UNKNOWN_MEMBER_ID | Empty | - |
//! | Preparing | waits | waits | REBALANCE_IN_PROGRESS | Preparing | Completing, or Empty |
//! | Completing | Preparing | Preparing if its metadata changed, else the running generation | waits; leader's makes Stable | Preparing | - |
//! | Stable | Preparing | Preparing if leader or changed, else the running generation | its assignment | Preparing | - |
//!
//! A static member that comes back without its id takes over the old one's place: in Stable nothing moves,
//! otherwise it joins the next generation; the old id is fenced. `Group` never looks at a clock and never
//! blocks; `coordinator` does both.
pub(crate) mod coordinator;
mod expiry;
mod join;
mod sync;

pub(crate) use coordinator::Coordinator;
pub(crate) use join::{JoinRefused, JoinReply, JoinRequest, JoinStep};
pub(crate) use sync::{SyncReply, SyncStep};

use crate::mistake::{Mistake, makes};
use bytes::Bytes;
use kafka_protocol::ResponseError;
use parking_lot::Condvar;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// State of a group, named as Kafka's tools name it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum GroupState {
    #[default]
    Empty,
    PreparingRebalance,
    CompletingRebalance,
    Stable,
}

impl GroupState {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::PreparingRebalance => "PreparingRebalance",
            Self::CompletingRebalance => "CompletingRebalance",
            Self::Stable => "Stable",
        }
    }
}

/// One member.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) instance: Option<String>,
    pub(crate) client_id: String,
    pub(crate) protocols: Vec<(String, Bytes)>,
    pub(crate) assignment: Bytes,
    session: Duration,
    rebalance: Duration,
    awaiting_join: bool,
    awaiting_sync: bool,
    /// Has asked for its assignment in this generation.
    synced: bool,
    last_seen: Instant,
}

impl Member {
    pub(crate) fn metadata(&self, protocol: &str) -> Bytes {
        self.protocols.iter().find(|(name, _)| name == protocol).map(|(_, m)| m.clone()).unwrap_or_default()
    }
}

/// One group.
#[derive(Debug, Default)]
pub(crate) struct Group {
    pub(crate) state: GroupState,
    pub(crate) generation: i32,
    pub(crate) protocol_type: String,
    pub(crate) protocol: String,
    leader: String,
    pub(crate) members: BTreeMap<String, Member>,
    /// Ids given out with MEMBER_ID_REQUIRED (KIP-394), until when.
    pending: HashMap<String, Instant>,
    /// Member id of each static member.
    instances: HashMap<String, String>,
    join_not_before: Option<Instant>,
    deadline: Option<Instant>,
    pub(crate) changed: Arc<Condvar>,
}

impl Group {
    /// Whether the id, and the instance id if there is one, name a member of this group.
    fn check_member(&self, id: &str, instance: Option<&str>) -> Result<(), ResponseError> {
        if let Some(instance) = instance {
            match self.instances.get(instance) {
                None => return Err(ResponseError::UnknownMemberId),
                Some(current) if current != id => return Err(ResponseError::FencedInstanceId),
                Some(_) => {}
            }
        }
        if self.members.contains_key(id) { Ok(()) } else { Err(ResponseError::UnknownMemberId) }
    }

    /// Identity and generation, as commits and heartbeats check them.
    pub(crate) fn check(
        &self,
        id: &str,
        instance: Option<&str>,
        generation: i32,
    ) -> Result<(), ResponseError> {
        self.check_member(id, instance)?;
        if generation == self.generation || makes(Mistake::TakesOldGenerations) {
            Ok(())
        } else {
            Err(ResponseError::IllegalGeneration)
        }
    }

    pub(crate) fn heartbeat(
        &mut self,
        id: &str,
        instance: Option<&str>,
        generation: i32,
        now: Instant,
    ) -> Result<(), ResponseError> {
        self.check(id, instance, generation)?;
        self.seen(id, now);
        match self.state {
            GroupState::PreparingRebalance => Err(ResponseError::RebalanceInProgress),
            _ => Ok(()),
        }
    }

    /// Whether a commit may go ahead. Someone outside the group may commit while it has no members.
    pub(crate) fn check_commit(
        &mut self,
        id: &str,
        instance: Option<&str>,
        generation: i32,
        now: Instant,
    ) -> Result<(), ResponseError> {
        if generation < 0 && self.members.is_empty() {
            return Ok(());
        }
        self.check(id, instance, generation)?;
        self.seen(id, now);
        match self.state {
            GroupState::CompletingRebalance => Err(ResponseError::RebalanceInProgress),
            _ => Ok(()),
        }
    }

    fn seen(&mut self, id: &str, now: Instant) {
        if let Some(member) = self.members.get_mut(id) {
            member.last_seen = now;
        }
    }

    /// A member leaves, named by id or, by an administrator, by instance id alone.
    pub(crate) fn leave(
        &mut self,
        id: &str,
        instance: Option<&str>,
        now: Instant,
    ) -> Result<(), ResponseError> {
        let id = match instance {
            Some(instance) if id.is_empty() => {
                self.instances.get(instance).cloned().ok_or(ResponseError::UnknownMemberId)?
            }
            _ => id.to_owned(),
        };
        if self.pending.remove(&id).is_some() {
            self.try_complete_join(now);
            return Ok(());
        }
        self.check_member(&id, instance)?;
        self.remove(&id);
        self.after_removal(now);
        Ok(())
    }

    fn remove(&mut self, id: &str) {
        if let Some(instance) = self.members.remove(id).and_then(|m| m.instance) {
            self.instances.remove(&instance);
        }
    }

    /// The group goes on without members that are gone.
    fn after_removal(&mut self, now: Instant) {
        match self.state {
            GroupState::Empty => {}
            GroupState::PreparingRebalance => self.try_complete_join(now),
            GroupState::CompletingRebalance | GroupState::Stable => {
                self.prepare_rebalance(now);
                self.try_complete_join(now);
            }
        }
        self.changed.notify_all();
    }

    fn prepare_rebalance(&mut self, now: Instant) {
        for member in self.members.values_mut() {
            member.awaiting_sync = false;
        }
        self.state = GroupState::PreparingRebalance;
        self.deadline = Some(now + self.longest_rebalance());
        self.changed.notify_all();
    }

    fn longest_rebalance(&self) -> Duration {
        self.members.values().map(|m| m.rebalance).max().unwrap_or_default()
    }

    /// Begins the next generation once everybody is there or the time is over.
    fn try_complete_join(&mut self, now: Instant) {
        if self.state != GroupState::PreparingRebalance || self.join_not_before.is_some_and(|t| now < t) {
            return;
        }
        let all_here = self.pending.is_empty() && self.members.values().all(|m| m.awaiting_join);
        if !all_here && self.deadline.is_some_and(|t| now < t) {
            return;
        }
        // Members that did not come back are out; static ones stay until their session ends (KIP-345).
        let late: Vec<String> = self
            .members
            .iter()
            .filter(|(_, m)| !m.awaiting_join && m.instance.is_none() && !makes(Mistake::CountsLateMembers))
            .map(|(id, _)| id.clone())
            .collect();
        late.iter().for_each(|id| self.remove(id));
        self.join_not_before = None;
        if self.members.is_empty() {
            self.generation += 1;
            self.state = GroupState::Empty;
            self.deadline = None;
        } else if self.elect_leader() {
            self.begin_generation(now);
        } else {
            // only static members that have not come back: wait on for one of them
            self.deadline = Some(now + self.longest_rebalance());
        }
        self.changed.notify_all();
    }

    /// The leader stays if it is here; false if nobody is.
    fn elect_leader(&mut self) -> bool {
        if self.members.get(&self.leader).is_some_and(|m| m.awaiting_join) {
            return true;
        }
        let next = self.members.iter().find(|(_, m)| m.awaiting_join).map(|(id, _)| id.clone());
        match next {
            Some(id) => {
                self.leader = id;
                true
            }
            None => false,
        }
    }

    fn begin_generation(&mut self, now: Instant) {
        self.generation += 1;
        self.protocol = self.select_protocol();
        for member in self.members.values_mut() {
            if member.awaiting_join {
                member.last_seen = now;
            }
            member.awaiting_join = false;
            member.synced = false;
            if !makes(Mistake::GivesOldAssignments) {
                member.assignment = Bytes::new();
            }
        }
        self.state = GroupState::CompletingRebalance;
        self.deadline = Some(now + self.longest_rebalance());
    }

    /// Each member votes for the first of its protocols that all of them know.
    fn select_protocol(&self) -> String {
        let known_by_all =
            |name: &str| self.members.values().all(|m| m.protocols.iter().any(|p| p.0 == name));
        let mut votes: BTreeMap<&str, usize> = BTreeMap::new();
        for member in self.members.values() {
            if let Some((name, _)) = member.protocols.iter().find(|(name, _)| known_by_all(name)) {
                *votes.entry(name).or_default() += 1;
            }
        }
        votes.into_iter().max_by_key(|(_, n)| *n).map(|(name, _)| name.to_owned()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
