//! The life of a lane: wait, gather, append, apply, checkpoint.

use super::acks::Acks;
use super::agenda::Attempt;
use super::append::Appender;
use super::checkpoint::{self, Checkpointer};
use super::clock::LaneClock;
use super::engine::Engine;
use super::fault::crash_point;
use super::intake::Intake;
use super::perform::Live;
use super::turnstile::{Turn, Turnstile};
use super::{Event, Feed, Host, LaneEnd, LaneHandle};
use crate::core::fact::Fact;
use crate::core::ids::Millis;
use crate::core::mutation::{Mutation, mutated};
use crate::core::state::{Key, Position, Row};
use crate::core::tables::{Tables, history};
use crate::log::NewRecord;
use crossbeam_channel::{Receiver, Sender, never, select_biased};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

/// Timers and attempts that one round takes (a million may be due at once).
const ROUND_DUE: usize = 1_000;
/// Bytes of outgoing records at which nothing more is decided until a checkpoint has carried them off.
const OUTBOX_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Rows at which a checkpoint is due although nothing outgoing asks for it.
const DIRTY_MAX: usize = 10_000;
/// Longest wait for anything.
const IDLE_MAX: Duration = Duration::from_secs(1);

/// What take-over hands to the lane.
pub(super) struct Parts {
    pub(super) engine: Engine,
    pub(super) appender: Appender,
    pub(super) checkpointer: Checkpointer,
    pub(super) acks: Arc<Acks>,
    pub(super) host: Arc<dyn Host>,
    pub(super) turnstile: Arc<Turnstile>,
    pub(super) position: Position,
    pub(super) sender: Sender<Event>,
    pub(super) events: Receiver<Event>,
}

/// A lane that was taken over. Lives on a thread of its own.
pub struct Lane {
    /// Checkpoints under way, the oldest first. Before the parts, so that a lane that is dropped gives its turns back
    /// before it waits for its threads.
    pending: VecDeque<Pending>,
    turn: MyTurn,
    parts: Parts,
    /// What the last committed checkpoint says.
    committed: Position,
    committed_next: Arc<AtomicI64>,
    /// The transaction of the newest checkpoint asks for more.
    asked_for_more: bool,
    clock: LaneClock,
    intake: Intake,
    /// When it began.
    last_checkpoint: Duration,
    stopping: bool,
}

enum MyTurn {
    Not,
    Asked,
    Mine(Turn),
}

/// A checkpoint under way.
struct Pending {
    position: Position,
    /// Its transaction is written, and has nothing left to do but to commit.
    produced: bool,
    /// Of the first checkpoint of a transaction. Held: dropping it lets the next lane go.
    turn: Option<Turn>,
}

impl Lane {
    pub(super) fn new(parts: Parts) -> Self {
        let committed = parts.position.clone();
        Lane {
            committed_next: Arc::new(AtomicI64::new(committed.next_command)),
            committed,
            pending: VecDeque::new(),
            asked_for_more: false,
            turn: MyTurn::Not,
            clock: LaneClock::new(parts.host.clone()),
            intake: Intake::new(parts.engine.config.busy_steps, parts.host.uptime()),
            last_checkpoint: parts.host.uptime(),
            stopping: false,
            parts,
        }
    }

    /// Offset of the first command that it wants to be fed.
    pub fn next_command(&self) -> i64 {
        self.parts.engine.next_command
    }

    /// Tells it to stop, from another thread.
    pub fn handle(&self) -> LaneHandle {
        LaneHandle { events: self.parts.sender.clone(), committed: self.committed_next.clone() }
    }

    /// Runs until it is stopped or lost. Blocks.
    pub fn run(mut self, feed: &Receiver<Feed>) -> LaneEnd {
        loop {
            match self.round(feed) {
                Ok(false) => {}
                Ok(true) => return self.close(),
                Err(end) => return end,
            }
        }
    }

    /// One round. `true` when the lane was stopped and everything is committed.
    fn round(&mut self, feed: &Receiver<Feed>) -> Result<bool, LaneEnd> {
        self.wait(feed)?;
        let now = self.now();
        if !self.stopping {
            self.take_due(now);
            self.start_released(now)?;
            let facts = self.parts.engine.executor.poll_ready(now);
            self.parts.appender.add(facts);
            self.append(now)?;
            self.start_released(now)?;
        }
        self.append(now)?;
        self.checkpoint()?;
        let appended = self.parts.appender.waiting() == 0 && self.parts.appender.is_drained();
        Ok(self.stopping && appended && self.pending.is_empty() && !self.is_unsaved())
    }

    /// Waits for input, and takes what there is, up to a bound.
    fn wait(&mut self, feed: &Receiver<Feed>) -> Result<(), LaneEnd> {
        let host = self.parts.host.clone();
        let mut taken = Ok(false);
        let timeout = self.timeout();
        host.wait(timeout, &mut |block| {
            taken = self.take_input(feed, block);
            !matches!(taken, Ok(false))
        });
        taken.map(drop)
    }

    /// Takes what there is; blocks only for the first. Whether there was anything.
    fn take_input(&mut self, feed: &Receiver<Feed>, block: Duration) -> Result<bool, LaneEnd> {
        let closed = never();
        let accepts = !self.stopping && self.has_room() && self.commands_wait().is_none();
        let events = self.parts.events.clone();
        let mut left = self.intake.limit(self.under_way());
        let mut any = false;
        while left > 0 {
            let has_commands = accepts && !self.intake.is_empty();
            let feed = if accepts && !has_commands { feed } else { &closed };
            let timeout = if any || has_commands { Duration::ZERO } else { block };
            // Events first: they are few, and what they release is older than any command.
            select_biased! {
                recv(events) -> event => match event {
                    Ok(event) => self.handle_event(event)?,
                    Err(_) => return Err(LaneEnd::Lost("its event channel is closed".into())),
                },
                recv(feed) -> batch => match batch {
                    Ok(Ok(batch)) => self.intake.feed(batch),
                    // Also if commands are gone: a later owner may have trimmed what this one has not read. If it is
                    // damage, the next take-over says so.
                    Ok(Err(error)) => return Err(LaneEnd::Lost(error.to_string())),
                    Err(_) => return Err(LaneEnd::Lost("its feed of commands ended".into())),
                },
                default(timeout) => {
                    if !has_commands {
                        return Ok(any);
                    }
                    left -= self.apply_commands(left)?;
                }
            }
            any = true;
        }
        Ok(any)
    }

    /// Whether more may be decided. All of it goes into one transaction of Kafka's, which must end within its timeout, also
    /// when it is decided again by a successor; so what would be too much waits for the next checkpoint.
    fn has_room(&self) -> bool {
        let engine = &self.parts.engine;
        engine.outbox.len() < engine.config.outbox_len
            && engine.outbox.bytes() < OUTBOX_BYTES_MAX
            && engine.overlay.dirty() < 2 * DIRTY_MAX
    }

    /// Steps and facts on their way between the code and the journal.
    fn under_way(&self) -> usize {
        self.parts.engine.agenda.gated() + self.parts.appender.waiting()
    }

    fn commands_wait(&self) -> Option<Duration> {
        self.intake.wait(self.under_way(), self.parts.host.uptime())
    }

    fn since_checkpoint(&self) -> Duration {
        self.parts.host.uptime().saturating_sub(self.last_checkpoint)
    }

    /// How long nothing needs to be done if nothing comes.
    fn timeout(&mut self) -> Duration {
        let now = self.now();
        let mut wait = self.commands_wait().unwrap_or(IDLE_MAX);
        // What is due but cannot be taken is no reason to look again at once.
        if self.takes_due()
            && let Some(due) = self.parts.engine.agenda.next_due()
        {
            wait = wait.min(Duration::from_millis(due.saturating_sub(now)));
        }
        if let Some(roll) = self.parts.appender.roll_due_in() {
            wait = wait.min(roll.max(Duration::from_millis(1)));
        }
        if self.is_unsaved() && self.may_begin() && !matches!(self.turn, MyTurn::Asked) {
            let due = self.parts.engine.config.commit_interval.saturating_sub(self.since_checkpoint());
            wait = wait.min(due.max(Duration::from_millis(1)));
        }
        wait
    }

    fn handle_event(&mut self, event: Event) -> Result<(), LaneEnd> {
        match event {
            // What was acknowledged is looked up when it is needed.
            Event::Appended => match self.parts.acks.now().lost {
                Some(why) => Err(LaneEnd::Lost(why)),
                None => Ok(()),
            },
            Event::Wake => Ok(()),
            Event::Turn(turn) => {
                self.turn = MyTurn::Mine(turn);
                Ok(())
            }
            Event::Stop => {
                self.stopping = true;
                Ok(())
            }
            Event::MoreTaken => {
                self.asked_for_more = true;
                Ok(())
            }
            Event::Produced => {
                self.pending.iter_mut().for_each(|pending| pending.produced = true);
                Ok(())
            }
            Event::Checkpointed(result) => self.checkpointed(result?),
        }
    }

    fn now(&mut self) -> Millis {
        self.clock.now(self.parts.engine.machine.now())
    }

    fn live(&self, now: Millis) -> Live {
        Live { seq: self.parts.appender.seq(), now }
    }

    /// Applies commands that were fed, at most so many. How many there were.
    fn apply_commands(&mut self, limit: usize) -> Result<usize, LaneEnd> {
        let now = self.now();
        let live = self.live(now);
        let commands = self.intake.take(limit, self.parts.host.uptime());
        let taken = commands.len();
        for record in commands {
            self.parts.engine.apply_record(&record, Some(live))?;
        }
        Ok(taken)
    }

    /// Whether there is room for what comes due.
    fn takes_due(&self) -> bool {
        !self.stopping && self.parts.appender.waiting() < ROUND_DUE && self.has_room()
    }

    fn take_due(&mut self, now: Millis) {
        if !self.takes_due() {
            return;
        }
        let early = if mutated(Mutation::TimerEarly) { 5 } else { 0 };
        let due = self.parts.engine.agenda.due_timers(now + early, ROUND_DUE);
        self.parts.appender.add(due);
        let seq = self.parts.appender.seq();
        for attempt in self.parts.engine.agenda.due_retries(now, ROUND_DUE) {
            self.parts.engine.agenda.gate(seq, attempt);
        }
    }

    /// Starts the attempts for which the journal is durable far enough.
    fn start_released(&mut self, now: Millis) -> Result<(), LaneEnd> {
        let sent = mutated(Mutation::StepBeforeAck).then(|| self.parts.appender.seq());
        let durable = sent.unwrap_or_else(|| self.parts.acks.now().seq);
        while let Some(attempt) = self.parts.engine.agenda.released(durable) {
            let facts = self.start(&attempt, now);
            // Where the history could not be read, the fact says that a turn is missing, which must not be recorded.
            if !mutated(Mutation::ParkUnread) {
                self.parts.engine.check_readable()?;
            }
            self.parts.appender.add(facts);
        }
        Ok(())
    }

    fn start(&mut self, attempt: &Attempt, now: Millis) -> Vec<Fact> {
        let Attempt { key, run, op, attempt } = attempt;
        let engine = &mut self.parts.engine;
        let overlay = &mut engine.overlay;
        let mut history_so_far = || match overlay.get(&Key::Instance(key.clone())) {
            Some(Row::Instance(instance)) if instance.run == *run => history(overlay, key, &instance),
            _ => Ok(Vec::new()),
        };
        engine.executor.start_step(key, *run, *op, *attempt, now, &mut history_so_far)
    }

    /// Appends the facts that wait, and applies them in the place that the journal record fixes.
    fn append(&mut self, now: Millis) -> Result<(), LaneEnd> {
        let at = now.max(self.parts.engine.machine.now());
        self.parts.appender.roll_if_due()?;
        while self.has_room() || !self.parts.appender.has_claimed() {
            let parts = &mut self.parts;
            let waited_for = parts.engine.agenda.waits_for_next(parts.appender.seq());
            let Some(record) = parts.appender.append(parts.engine.next_command, at, waited_for)? else {
                return Ok(());
            };
            let live = Live { seq: record.seq, now };
            parts.engine.apply_facts(record, Some(live))?;
        }
        Ok(())
    }

    /// Where the newest checkpoint stands, committed or under way.
    fn saved(&self) -> &Position {
        self.pending.back().map_or(&self.committed, |pending| &pending.position)
    }

    /// Whether a transaction may begin: none is under way, or one that has nothing left to do but to commit.
    fn may_begin(&self) -> bool {
        match self.pending.iter().filter(|pending| pending.turn.is_some()).count() {
            0 => true,
            1 => self.pending.iter().all(|p| p.produced) || mutated(Mutation::ProduceOutOfTurn),
            _ => false,
        }
    }

    /// Whether there is anything that only the log's input holds.
    fn is_unsaved(&self) -> bool {
        let saved = self.saved();
        self.parts.engine.overlay.dirty() > 0
            || self.parts.engine.outbox.len() > 0
            || saved.next_command != self.parts.engine.next_command
            || saved.journal_seq < self.parts.appender.facts_seq()
    }

    /// Writes a checkpoint as soon as something outgoing waits and none is in the way; otherwise after the interval.
    fn checkpoint(&mut self) -> Result<(), LaneEnd> {
        let engine = &self.parts.engine;
        let urgent = engine.outbox.len() > 0 || engine.overlay.dirty() >= DIRTY_MAX || self.stopping;
        let due = self.since_checkpoint() >= engine.config.commit_interval;
        let wanted = self.is_unsaved() && (urgent || due);
        if std::mem::take(&mut self.asked_for_more) {
            if wanted {
                let (records, position) = self.freeze(None);
                self.parts.checkpointer.add(records, position);
            } else {
                self.parts.checkpointer.add_nothing();
            }
        } else if !wanted {
            return Ok(());
        } else if !self.may_begin() {
            self.parts.checkpointer.want_more();
        } else if let Some(turn) = self.my_turn() {
            let (records, position) = self.freeze(Some(turn));
            self.parts.checkpointer.begin(records, position);
        }
        Ok(())
    }

    /// The turn, or `None`: then it comes as an event.
    fn my_turn(&mut self) -> Option<Turn> {
        match std::mem::replace(&mut self.turn, MyTurn::Asked) {
            MyTurn::Mine(turn) => {
                self.turn = MyTurn::Not;
                Some(turn)
            }
            MyTurn::Asked => None,
            MyTurn::Not => {
                let sender = self.parts.sender.clone();
                // If the lane is gone by then, the turn is dropped and goes to the next.
                let turn = self.parts.turnstile.enter(move |turn| drop(sender.send(Event::Turn(turn))));
                if turn.is_some() {
                    self.turn = MyTurn::Not;
                }
                turn
            }
        }
    }

    /// Closes what was done so far into a checkpoint.
    fn freeze(&mut self, turn: Option<Turn>) -> (Vec<NewRecord>, Position) {
        let checkpoint = self.saved().checkpoint + 1;
        let parts = &mut self.parts;
        let position = Position {
            epoch: parts.appender.epoch(),
            checkpoint,
            next_command: parts.engine.next_command,
            journal_seq: parts.appender.seq(),
            journal_offset: parts.acks.now().offset,
            now: parts.engine.machine.now(),
            partitions: parts.engine.config.partitions,
            callees: parts.engine.machine.callees().clone(),
        };
        let outgoing = parts.engine.outbox.take();
        parts.engine.overlay.put(Key::Position, Row::Position(position.clone()));
        let writes = parts.engine.overlay.freeze();
        let records = checkpoint::records(&parts.engine.config, writes, outgoing, &position);
        if mutated(Mutation::StoreBeforeCommit) {
            parts.engine.overlay.write_early();
        }
        self.pending.push_back(Pending { position: position.clone(), produced: false, turn });
        self.last_checkpoint = parts.host.uptime();
        (records, position)
    }

    /// The checkpoint is committed: now, and only now, the store may have it.
    fn checkpointed(&mut self, last_offset: i64) -> Result<(), LaneEnd> {
        crash_point!("store:before-write");
        self.parts.engine.overlay.committed(last_offset + 1)?;
        crash_point!("store:written");
        if let Some(Pending { position, .. }) = self.pending.pop_front() {
            self.committed_next.store(position.next_command, Ordering::Relaxed);
            self.committed = position;
        }
        Ok(())
    }

    fn close(self) -> LaneEnd {
        match self.parts.appender.close() {
            Ok(()) => LaneEnd::Stopped,
            Err(end) => end,
        }
    }
}
