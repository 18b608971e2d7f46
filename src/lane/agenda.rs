//! What the owner has to do later: fire timers, start attempts that wait for their time or for the journal.

use crate::core::fact::Fact;
use crate::core::ids::{InstanceKey, Millis, OpId};
use std::collections::{BTreeMap, VecDeque};

/// An attempt of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Attempt {
    pub(super) key: InstanceKey,
    pub(super) run: u32,
    pub(super) op: OpId,
    pub(super) attempt: u32,
}

/// In time order. Nothing here is durable: it is made again from the state at take-over.
#[derive(Default)]
pub(super) struct Agenda {
    timers: BTreeMap<(Millis, InstanceKey, OpId), u32>,
    retries: BTreeMap<(Millis, InstanceKey, OpId), (u32, u32)>,
    /// Attempts and the journal sequence that must be durable before they start.
    gated: VecDeque<(u64, Attempt)>,
}

impl Agenda {
    pub(super) fn arm(&mut self, due: Millis, key: InstanceKey, run: u32, op: OpId) {
        self.timers.insert((due, key, op), run);
    }

    pub(super) fn disarm(&mut self, due: Millis, key: InstanceKey, op: OpId) {
        self.timers.remove(&(due, key, op));
    }

    pub(super) fn retry_at(&mut self, at: Millis, a: Attempt) {
        self.retries.insert((at, a.key, a.op), (a.run, a.attempt));
    }

    pub(super) fn gate(&mut self, seq: u64, attempt: Attempt) {
        // In order: whatever waits behind another attempt waits at least as long.
        let seq = self.gated.back().map_or(seq, |(last, _)| seq.max(*last));
        self.gated.push_back((seq, attempt));
    }

    /// Attempts that wait for the journal.
    pub(super) fn gated(&self) -> usize {
        self.gated.len()
    }

    /// Timers that are due, at most `limit`.
    pub(super) fn due_timers(&mut self, now: Millis, limit: usize) -> Vec<Fact> {
        let mut facts = Vec::new();
        while facts.len() < limit
            && let Some(first) = self.timers.first_entry()
            && first.key().0 <= now
        {
            let ((due, key, op), run) = first.remove_entry();
            facts.push(Fact::TimerDue { key, run, op, due });
        }
        facts
    }

    /// Attempts whose time has come, at most `limit`.
    pub(super) fn due_retries(&mut self, now: Millis, limit: usize) -> Vec<Attempt> {
        let mut due = Vec::new();
        while due.len() < limit
            && let Some(first) = self.retries.first_entry()
            && first.key().0 <= now
        {
            let ((_, key, op), (run, attempt)) = first.remove_entry();
            due.push(Attempt { key, run, op, attempt });
        }
        due
    }

    /// The next attempt that may start now that the journal is durable up to `seq`.
    pub(super) fn released(&mut self, seq: u64) -> Option<Attempt> {
        match self.gated.front() {
            Some((needs, _)) if *needs <= seq => self.gated.pop_front().map(|(_, attempt)| attempt),
            _ => None,
        }
    }

    /// Whether an attempt waits for a journal record behind `seq`, the last one that was appended.
    pub(super) fn waits_for_next(&self, seq: u64) -> bool {
        self.gated.back().is_some_and(|(needs, _)| *needs > seq)
    }

    /// When something is due next.
    pub(super) fn next_due(&self) -> Option<Millis> {
        let timer = self.timers.first_key_value().map(|(k, _)| k.0);
        let retry = self.retries.first_key_value().map(|(k, _)| k.0);
        timer.into_iter().chain(retry).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OP: OpId = OpId { branch: 0, number: 0 };

    #[test]
    fn a_timer_is_never_early_and_comes_once() {
        let mut agenda = Agenda::default();
        agenda.arm(10, InstanceKey::new("w", "a"), 0, OP);
        assert!(agenda.due_timers(9, 100).is_empty());
        assert_eq!(agenda.next_due(), Some(10));
        assert_eq!(agenda.due_timers(10, 100).len(), 1);
        assert!(agenda.due_timers(11, 100).is_empty());
    }

    #[test]
    fn a_gated_attempt_waits_for_its_journal_record() {
        let mut agenda = Agenda::default();
        let attempt = Attempt { key: InstanceKey::new("w", "a"), run: 0, op: OP, attempt: 1 };
        agenda.gate(5, attempt.clone());
        assert_eq!(agenda.released(4), None);
        assert_eq!(agenda.released(5), Some(attempt));
        assert_eq!(agenda.released(5), None);
    }

    #[test]
    fn many_due_timers_come_in_bounded_portions_in_order() {
        let mut agenda = Agenda::default();
        for n in (0..10).rev() {
            agenda.arm(n, InstanceKey::new("w", "a"), 0, OP);
        }
        assert_eq!(agenda.due_timers(100, 4).len(), 4);
        assert_eq!(agenda.next_due(), Some(4));
    }
}
