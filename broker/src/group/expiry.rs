//! Everything that happens to a group by time passing.
use super::{Group, GroupState, Member};
use crate::mistake::{Mistake, makes};
use std::time::Instant;

impl Group {
    /// Removes members that were not heard of and goes on with rebalances whose time has come.
    pub(crate) fn tick(&mut self, now: Instant) {
        let pending_before = self.pending.len();
        self.pending.retain(|_, until| now < *until);
        let gone: Vec<String> =
            self.members.iter().filter(|(_, m)| self.is_gone(m, now)).map(|(id, _)| id.clone()).collect();
        for id in &gone {
            tracing::info!(member = id, "group member's session is over");
            self.remove(id);
        }
        if !gone.is_empty() {
            self.after_removal(now);
        } else if self.state == GroupState::PreparingRebalance || pending_before != self.pending.len() {
            self.try_complete_join(now);
        }
    }

    fn is_gone(&self, member: &Member, now: Instant) -> bool {
        // A member whose request the broker keeps waiting cannot send heartbeats meanwhile.
        let kept_waiting = member.awaiting_join || member.awaiting_sync;
        let silent = !kept_waiting && now.duration_since(member.last_seen) > member.session;
        let never_synced = self.state == GroupState::CompletingRebalance
            && !member.synced
            && self.deadline.is_some_and(|t| now > t);
        (silent || never_synced) && !makes(Mistake::KeepsSilentMembers)
    }
}
