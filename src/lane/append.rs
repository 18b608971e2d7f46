//! The fenced append: the facts that wait become one journal record, and then they are applied.
//!
//! Group commit without a timer: while appends are in flight, facts gather.

use super::acks::Acks;
use super::fault::crash_point;
use super::{Host, LaneConfig, LaneEnd};
use crate::codec::journal;
use crate::core::fact::{Fact, JournalRecord};
use crate::core::ids::Millis;
use crate::core::mutation::{Mutation, mutated};
use crate::log::Journal;
use std::sync::Arc;
use std::time::Duration;

/// Appends that may be in flight at once. Two hide the round trip; more would make each smaller.
const IN_FLIGHT_MAX: u64 = 2;
/// The same as long as each is large. Applying so many facts takes the lane longer than a round trip takes Kafka, and with
/// two the lane stood still a third of the time.
const IN_FLIGHT_LARGE_MAX: u64 = 4;
/// Facts that make an append large. The simulator's lanes never have so many.
const LARGE_FACTS: usize = if cfg!(feature = "mutations") { 2 } else { 64 };
/// Facts in one journal record. The rest waits for the next.
const RECORD_FACTS_MAX: usize = 2_000;
/// Payload bytes in one journal record; it must stay below the topic's `max.message.bytes`.
const RECORD_BYTES_MAX: usize = 512 * 1024;

/// The lane's side of the journal.
pub(super) struct Appender {
    journal: Box<dyn Journal>,
    acks: Arc<Acks>,
    host: Arc<dyn Host>,
    epoch: u64,
    /// Sequence of the last record that was appended.
    seq: u64,
    waiting: Vec<Fact>,
    /// Sequence of the last record with facts: an owner that only claims its lane has nothing to save.
    facts_seq: u64,
    /// Whether this owner has appended anything: see [`Appender::append`].
    claimed: bool,
    roll_after: Duration,
    /// When the open transaction began.
    rolled: Duration,
    appended_since_roll: bool,
}

impl Appender {
    pub(super) fn new(
        journal: Box<dyn Journal>,
        acks: Arc<Acks>,
        host: Arc<dyn Host>,
        epoch: u64,
        seq: u64,
        config: &LaneConfig,
    ) -> Self {
        Appender {
            journal,
            acks,
            epoch,
            seq,
            waiting: Vec::new(),
            // What was replayed is in the rows that wait for a checkpoint.
            facts_seq: 0,
            claimed: mutated(Mutation::NoClaim),
            roll_after: config.journal_roll,
            rolled: host.uptime(),
            host,
            appended_since_roll: false,
        }
    }

    /// Sequence of the last record that was appended: what a step that starts now has to wait for.
    pub(super) fn seq(&self) -> u64 {
        self.seq
    }

    pub(super) fn facts_seq(&self) -> u64 {
        self.facts_seq
    }

    pub(super) fn epoch(&self) -> u64 {
        self.epoch
    }

    pub(super) fn add(&mut self, facts: impl IntoIterator<Item = Fact>) {
        self.waiting.extend(facts);
    }

    /// Facts that are not in the journal yet.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Whether a record of this owner's was appended, on which its checkpoints can rest.
    pub(super) fn has_claimed(&self) -> bool {
        self.claimed
    }

    /// Whether everything appended is durable.
    pub(super) fn is_drained(&self) -> bool {
        self.acks.now().seq >= self.seq
    }

    /// Appends the facts that wait, if there is room in flight, and returns them: the caller applies them now.
    /// `next_command` fixes their place between the commands.
    ///
    /// A record may be empty. If it is `waited_for`, it fixes the place of the commands so far: a step that one of them
    /// asked for may start then. And the first record of an owner claims the lane. Of two take-overs at the same time
    /// each may have fenced the other on another id; the journal's is fenced first, so only the one whose claim is
    /// accepted has all of them. Every checkpoint rests on a record of its owner's, so no other owner can commit.
    pub(super) fn append(
        &mut self,
        next_command: i64,
        at: Millis,
        waited_for: bool,
    ) -> Result<Option<JournalRecord>, LaneEnd> {
        let in_flight = self.seq.saturating_sub(self.acks.now().seq);
        let wanted = waited_for || !self.waiting.is_empty() || !self.claimed;
        let is_large = self.waiting.len() >= LARGE_FACTS;
        let in_flight_max = if is_large { IN_FLIGHT_LARGE_MAX } else { IN_FLIGHT_MAX };
        if !wanted || in_flight >= in_flight_max || self.wants_to_roll() {
            return Ok(None);
        }
        let facts = self.take();
        let next_command = match next_command {
            _ if mutated(Mutation::NextCommandLost) => 0,
            next if mutated(Mutation::NextCommandLate) => (next - 1).max(0),
            next => next,
        };
        let record = JournalRecord { epoch: self.epoch, seq: self.seq + 1, next_command, at, facts };
        crash_point!("append:before");
        self.journal.append(record.seq, journal::encode(&record))?;
        crash_point!("append:sent");
        self.seq = record.seq;
        self.claimed = true;
        if !record.facts.is_empty() {
            self.facts_seq = record.seq;
        }
        self.appended_since_roll = true;
        Ok(Some(record))
    }

    fn take(&mut self) -> Vec<Fact> {
        let mut bytes = 0;
        let fits = self.waiting.iter().take(RECORD_FACTS_MAX).take_while(|fact| {
            let first = bytes == 0;
            bytes += fact_bytes(fact);
            first || bytes <= RECORD_BYTES_MAX
        });
        let len = fits.count();
        let rest = self.waiting.split_off(len);
        std::mem::replace(&mut self.waiting, rest)
    }

    fn open_for(&self) -> Duration {
        self.host.uptime().saturating_sub(self.rolled)
    }

    fn wants_to_roll(&self) -> bool {
        self.appended_since_roll && self.open_for() >= self.roll_after
    }

    /// The broker would abort a transaction that is open too long, and fence this owner.
    pub(super) fn roll_if_due(&mut self) -> Result<(), LaneEnd> {
        if self.wants_to_roll() && self.is_drained() {
            self.journal.roll()?;
            self.rolled = self.host.uptime();
            self.appended_since_roll = false;
        }
        Ok(())
    }

    /// When to look again, if the journal wants to be rolled.
    pub(super) fn roll_due_in(&self) -> Option<Duration> {
        self.appended_since_roll.then(|| self.roll_after.saturating_sub(self.open_for()))
    }

    pub(super) fn close(mut self) -> Result<(), LaneEnd> {
        Ok(self.journal.close()?)
    }
}

fn fact_bytes(fact: &Fact) -> usize {
    64 + match fact {
        Fact::StepEnded { outcome: Ok(payload), .. } => payload.len(),
        Fact::StepEnded { outcome: Err(failure), .. } | Fact::AttemptFailed { failure, .. } => failure.size(),
        Fact::TimerDue { .. } => 0,
        Fact::Parked { park, .. } => park.message.len(),
    }
}
