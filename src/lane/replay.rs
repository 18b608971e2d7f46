//! Replay: what the journal holds behind the position is applied again, each record after the commands that it names.

use super::engine::Engine;
use super::{Host, LaneConfig, LaneEnd};
use crate::codec::journal;
use crate::core::mutation::{Mutation, mutated};
use crate::core::state::Position;
use crate::log::{Isolation, Log, LogReader, Record};
use std::time::Duration;

/// How long the log may stay silent before the take-over gives up.
const SILENCE_MAX: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(50);

/// Where the journal ends.
pub(super) struct JournalEnd {
    /// Offset of the first command that no checkpoint covers.
    pub(super) first_command: i64,
    pub(super) epoch: u64,
    pub(super) seq: u64,
    pub(super) offset: i64,
}

/// Replays the journal from the position to its end, read uncommitted: for facts only the fence counts.
pub(super) fn replay(
    engine: &mut Engine,
    log: &dyn Log,
    host: &dyn Host,
    position: Option<&Position>,
) -> Result<JournalEnd, LaneEnd> {
    let config = engine.config.clone();
    let from = position.cloned().unwrap_or_default();
    let isolation =
        if mutated(Mutation::JournalCommitted) { Isolation::Committed } else { Isolation::Uncommitted };
    let range = log.offsets(&config.topics.journal, config.partition, isolation)?;
    if range.start > from.journal_offset {
        return Err(deleted(&config, &config.topics.journal, range.start, from.journal_offset));
    }
    let first_command = first_command(log, &config, position)?;
    engine.next_command = first_command;
    let mut end =
        JournalEnd { first_command, epoch: from.epoch, seq: from.journal_seq, offset: from.journal_offset };
    if from.journal_offset >= range.end {
        return Ok(end);
    }
    let mut commands = Commands { reader: None, next: None };
    let mut reader = log.read(&config.topics.journal, config.partition, from.journal_offset, isolation)?;
    let mut heard = host.uptime();
    while reader.position()? < range.end {
        let Some(record) = reader.next(POLL)? else {
            silent(&config, &config.topics.journal, host, heard)?;
            continue;
        };
        // Of a later owner, which has fenced this one.
        if record.offset >= range.end {
            break;
        }
        heard = host.uptime();
        let value = record.value.as_deref().unwrap_or_default();
        let found = journal::decode(value).map_err(|e| broken(&config, record.offset, &e.to_string()))?;
        if found.seq <= from.journal_seq {
            continue;
        }
        if !journal::is_current(value) && !found.facts.is_empty() {
            return Err(outdated(&config, record.offset));
        }
        let is_older = found.epoch < end.epoch && !mutated(Mutation::FactEpochIgnored);
        if found.seq != end.seq + 1 || is_older {
            let why = format!(
                "record {} of epoch {} follows record {} of epoch {}",
                found.seq, found.epoch, end.seq, end.epoch
            );
            return Err(broken(&config, record.offset, &why));
        }
        end = JournalEnd { first_command, epoch: found.epoch, seq: found.seq, offset: record.offset };
        commands.apply_up_to(engine, log, host, found.next_command)?;
        engine.apply_facts(found, None)?;
    }
    Ok(end)
}

/// The offset of the first command to apply. Never coerced: a lost offset stops the lane.
fn first_command(log: &dyn Log, config: &LaneConfig, position: Option<&Position>) -> Result<i64, LaneEnd> {
    let range = log.offsets(&config.topics.commands, config.partition, Isolation::Committed)?;
    let Some(position) = position else { return Ok(range.start) };
    if range.start > position.next_command {
        return Err(deleted(config, &config.topics.commands, range.start, position.next_command));
    }
    if position.next_command > range.end {
        return Err(LaneEnd::Broken(format!(
            "SAKIA-L04: lane {} has applied {} up to offset {}, but the topic ends at {}: it was deleted and made again, \
             or the changelog is of another cluster",
            config.partition, config.topics.commands, position.next_command, range.end
        )));
    }
    Ok(position.next_command)
}

/// Reads the commands that the journal names.
struct Commands {
    reader: Option<Box<dyn LogReader>>,
    next: Option<Record>,
}

impl Commands {
    fn apply_up_to(
        &mut self,
        engine: &mut Engine,
        log: &dyn Log,
        host: &dyn Host,
        target: i64,
    ) -> Result<(), LaneEnd> {
        let config = engine.config.clone();
        let mut heard = host.uptime();
        while engine.next_command < target {
            if let Some(record) = self.take_below(target) {
                engine.apply_record(&record, None)?;
                continue;
            }
            if self.next.is_some() {
                engine.next_command = target;
                break;
            }
            let from = engine.next_command;
            let reader = match &mut self.reader {
                Some(reader) => reader,
                none => none.insert(log.read(
                    &config.topics.commands,
                    config.partition,
                    from,
                    Isolation::Committed,
                )?),
            };
            self.next = reader.next(POLL)?;
            if self.next.is_some() {
                heard = host.uptime();
            } else if reader.position()? >= target {
                engine.next_command = target;
            } else {
                silent(&config, &config.topics.commands, host, heard)?;
            }
        }
        Ok(())
    }

    fn take_below(&mut self, target: i64) -> Option<Record> {
        if self.next.as_ref().is_some_and(|r| r.offset < target) { self.next.take() } else { None }
    }
}

fn silent(config: &LaneConfig, topic: &str, host: &dyn Host, heard: Duration) -> Result<(), LaneEnd> {
    if host.uptime().saturating_sub(heard) <= SILENCE_MAX {
        return Ok(());
    }
    Err(LaneEnd::Lost(format!(
        "{topic} partition {} gave nothing for {SILENCE_MAX:?}, short of its end",
        config.partition
    )))
}

fn deleted(config: &LaneConfig, topic: &str, start: i64, needed: i64) -> LaneEnd {
    LaneEnd::Broken(format!(
        "SAKIA-L03: {topic} partition {} begins at offset {start}, but this lane has to go on at {needed}: records were \
         deleted that nobody had processed. Raise the topic's retention; to go on without them, see the error's page",
        config.partition
    ))
}

fn outdated(config: &LaneConfig, offset: i64) -> LaneEnd {
    LaneEnd::Broken(format!(
        "SAKIA-L09: the journal {} partition {} holds facts of an earlier version of Sakia at offset {offset}, which no \
         checkpoint covers, and which mean something else by the rules of this one. Start the earlier version once more, \
         and end it cleanly before the upgrade",
        config.topics.journal, config.partition
    ))
}

fn broken(config: &LaneConfig, offset: i64, why: &str) -> LaneEnd {
    LaneEnd::Broken(format!(
        "SAKIA-L05: the journal {} partition {} is not whole at offset {offset}: {why}",
        config.topics.journal, config.partition
    ))
}
