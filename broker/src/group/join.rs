//! JoinGroup.
use super::{Group, GroupState, Member};
use crate::mistake::{Mistake, makes};
use bytes::Bytes;
use kafka_protocol::ResponseError;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// A join as the group needs it.
#[derive(Clone, Debug)]
pub(crate) struct JoinRequest {
    pub(crate) member_id: String,
    pub(crate) instance: Option<String>,
    pub(crate) client_id: String,
    pub(crate) protocol_type: String,
    pub(crate) protocols: Vec<(String, Bytes)>,
    pub(crate) session: Duration,
    pub(crate) rebalance: Duration,
    /// From version 4 on a new member must come back with the id it is given (KIP-394).
    pub(crate) id_required: bool,
    pub(crate) initial_delay: Duration,
}

/// Refused, with the id that the answer must carry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct JoinRefused {
    pub(crate) error: ResponseError,
    pub(crate) member_id: String,
}

/// The generation that a member is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct JoinReply {
    pub(crate) generation: i32,
    pub(crate) protocol_type: String,
    pub(crate) protocol: String,
    pub(crate) leader: String,
    pub(crate) member_id: String,
    /// Id, instance id and metadata of everybody; for the leader only.
    pub(crate) members: Vec<(String, Option<String>, Bytes)>,
}

/// What follows from a join.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum JoinStep {
    Done(Result<JoinReply, JoinRefused>),
    /// Ask `Group::joined` with this id after each change.
    Wait(String),
}

impl Group {
    pub(crate) fn join(&mut self, request: &JoinRequest, now: Instant) -> JoinStep {
        let step = self.join_inner(request, now).unwrap_or_else(|error| {
            JoinStep::Done(Err(JoinRefused { error, member_id: request.member_id.clone() }))
        });
        self.changed.notify_all();
        step
    }

    fn join_inner(&mut self, request: &JoinRequest, now: Instant) -> Result<JoinStep, ResponseError> {
        self.check_protocols(request)?;
        let id = request.member_id.as_str();
        if id.is_empty() {
            return Ok(match &request.instance {
                Some(instance) => match self.instances.get(instance).cloned() {
                    Some(old) => self.replace_static(&old, request, now),
                    None => self.add(new_id(instance), request, now),
                },
                None if request.id_required => {
                    let member_id = new_id(&request.client_id);
                    self.pending.insert(member_id.clone(), now + request.session);
                    let error = ResponseError::MemberIdRequired;
                    JoinStep::Done(Err(JoinRefused { error, member_id }))
                }
                None => self.add(new_id(&request.client_id), request, now),
            });
        }
        if self.pending.remove(id).is_some() {
            return Ok(self.add(id.to_owned(), request, now));
        }
        self.check_member(id, request.instance.as_deref())?;
        Ok(self.rejoin(id, request, now))
    }

    fn check_protocols(&self, request: &JoinRequest) -> Result<(), ResponseError> {
        let mut others = self.members.iter().filter(|(id, _)| **id != request.member_id).peekable();
        if request.protocols.is_empty() || request.protocol_type.is_empty() {
            return Err(ResponseError::InconsistentGroupProtocol);
        }
        if others.peek().is_none() {
            return Ok(());
        }
        let others: Vec<&Member> = others.map(|(_, m)| m).collect();
        let knows = |m: &Member, name: &str| m.protocols.iter().any(|p| p.0 == name);
        let common = request.protocols.iter().any(|(name, _)| others.iter().all(|m| knows(m, name)));
        if common && self.protocol_type == request.protocol_type {
            Ok(())
        } else {
            Err(ResponseError::InconsistentGroupProtocol)
        }
    }

    fn add(&mut self, id: String, request: &JoinRequest, now: Instant) -> JoinStep {
        self.protocol_type.clone_from(&request.protocol_type);
        if let Some(instance) = &request.instance {
            self.instances.insert(instance.clone(), id.clone());
        }
        self.members.insert(id.clone(), Member::new(request, now));
        let first = self.state == GroupState::Empty;
        if self.state != GroupState::PreparingRebalance {
            self.prepare_rebalance(now);
        }
        // The first rebalance of a group waits a moment for others, and again when one comes.
        if first || self.join_not_before.is_some() {
            self.join_not_before = Some(now + request.initial_delay);
        }
        self.try_complete_join(now);
        JoinStep::Wait(id)
    }

    fn rejoin(&mut self, id: &str, request: &JoinRequest, now: Instant) -> JoinStep {
        let changed = self.members.get(id).is_some_and(|m| m.protocols != request.protocols);
        let stays = match self.state {
            GroupState::CompletingRebalance => !changed,
            // a leader that joins again asks for a new assignment, e.g. because a topic grew
            GroupState::Stable => !changed && self.leader != id,
            GroupState::PreparingRebalance | GroupState::Empty => false,
        };
        if stays {
            self.seen(id, now);
            return JoinStep::Done(Ok(self.reply(id)));
        }
        self.join_next(id, request, now)
    }

    /// The member takes part in the next generation.
    fn join_next(&mut self, id: &str, request: &JoinRequest, now: Instant) -> JoinStep {
        if let Some(member) = self.members.get_mut(id) {
            member.update(request, now);
            member.awaiting_join = true;
        }
        if self.state != GroupState::PreparingRebalance {
            self.prepare_rebalance(now);
        }
        self.try_complete_join(now);
        JoinStep::Wait(id.to_owned())
    }

    /// KIP-345: a static member came back, so the old process of that name is gone or must go.
    fn replace_static(&mut self, old: &str, request: &JoinRequest, now: Instant) -> JoinStep {
        let instance = request.instance.clone().unwrap_or_default();
        let id = new_id(&instance);
        // Answers before version 9 cannot say "leader, but do not assign", so the answer names the old id as
        // leader: the new one then behaves as a follower and is given the assignment that stands.
        let old_leader = self.leader.clone();
        if let Some(mut member) = self.members.remove(old) {
            if makes(Mistake::LeavesStaticZombies) {
                self.members.insert(old.to_owned(), member.clone());
            }
            member.update(request, now);
            member.awaiting_join = false;
            member.awaiting_sync = false;
            self.members.insert(id.clone(), member);
        }
        self.instances.insert(instance, id.clone());
        if self.leader == old {
            self.leader.clone_from(&id);
        }
        let stays = self.state == GroupState::Stable && self.select_protocol() == self.protocol;
        if stays && !makes(Mistake::LosesStaticPlaces) {
            let reply = JoinReply { leader: old_leader, members: Vec::new(), ..self.reply(&id) };
            return JoinStep::Done(Ok(reply));
        }
        self.join_next(&id, request, now)
    }

    /// Whether a waiting join is through.
    pub(crate) fn joined(&self, id: &str, instance: Option<&str>) -> Option<Result<JoinReply, JoinRefused>> {
        if let Err(error) = self.check_member(id, instance) {
            return Some(Err(JoinRefused { error, member_id: id.to_owned() }));
        }
        let waiting = self.members.get(id).is_some_and(|m| m.awaiting_join);
        (!waiting).then(|| Ok(self.reply(id)))
    }

    fn reply(&self, id: &str) -> JoinReply {
        let everybody = || {
            let row =
                |(id, m): (&String, &Member)| (id.clone(), m.instance.clone(), m.metadata(&self.protocol));
            self.members.iter().map(row).collect()
        };
        JoinReply {
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            leader: self.leader.clone(),
            member_id: id.to_owned(),
            members: if self.leader == id { everybody() } else { Vec::new() },
        }
    }
}

impl Member {
    fn new(request: &JoinRequest, now: Instant) -> Self {
        Self {
            instance: request.instance.clone(),
            client_id: request.client_id.clone(),
            protocols: request.protocols.clone(),
            assignment: Bytes::new(),
            session: request.session,
            rebalance: request.rebalance,
            awaiting_join: true,
            awaiting_sync: false,
            synced: false,
            last_seen: now,
        }
    }

    fn update(&mut self, request: &JoinRequest, now: Instant) {
        self.protocols.clone_from(&request.protocols);
        self.client_id.clone_from(&request.client_id);
        self.session = request.session;
        self.rebalance = request.rebalance;
        self.last_seen = now;
    }
}

fn new_id(prefix: &str) -> String {
    format!("{prefix}-{}", Uuid::new_v4())
}
