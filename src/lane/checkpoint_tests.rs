//! The threads of checkpoints, on ids that take everything.

use super::Event;
use super::acks::Acks;
use super::checkpoint::{Checkpointer, Writer};
use super::host::At;
use super::restore_tests::config;
use crate::core::state::Position;
use crate::log::{Appended, Checkpoints, Committed, JournalAcks, LogError, NewRecord};
use crossbeam_channel::{Receiver, unbounded};
use std::sync::Arc;

/// A transactional id of which each record takes an offset, and each commit ends as it is told.
struct Id(Committed);

impl Checkpoints for Id {
    fn produce(&mut self, records: &[NewRecord]) -> Result<i64, LogError> {
        Ok(i64::try_from(records.len()).unwrap())
    }
    fn commit(&mut self) -> Result<Committed, LogError> {
        Ok(self.0)
    }
    fn abort(&mut self) -> Result<(), LogError> {
        Ok(())
    }
}

/// A transactional id whose thread meets a mistake of ours.
struct Mistaken;

impl Checkpoints for Mistaken {
    fn produce(&mut self, _: &[NewRecord]) -> Result<i64, LogError> {
        panic!("on purpose");
    }
    fn commit(&mut self) -> Result<Committed, LogError> {
        Ok(Committed::Once)
    }
    fn abort(&mut self) -> Result<(), LogError> {
        Ok(())
    }
}

fn start(commits: Committed) -> (Checkpointer, Arc<Acks>, Receiver<Event>) {
    start_with([commits; 2].map(|ends| -> Box<dyn Checkpoints> { Box::new(Id(ends)) }))
}

fn start_with(ids: [Box<dyn Checkpoints>; 2]) -> (Checkpointer, Arc<Acks>, Receiver<Event>) {
    let (events, heard) = unbounded();
    let acks = Arc::new(Acks::new(events.clone()));
    let writer = Writer {
        config: config(),
        acks: acks.clone(),
        events,
        trim: Arc::new(|_, _| {}),
        next_command: 0,
        host: Arc::new(At::new(0)),
        wants_more: Arc::default(),
    };
    (Checkpointer::start(&writer, ids, 0).unwrap(), acks, heard)
}

fn at(checkpoint: u64, journal_seq: u64) -> Position {
    Position { checkpoint, journal_seq, ..Position::default() }
}

/// Seed 2008159 of the simulator.
#[test]
fn a_lane_that_ends_keeps_no_checkpoint_waiting_for_the_journal() {
    let (mut checkpointer, _, heard) = start(Committed::Once);
    checkpointer.begin(Vec::new(), at(1, 5));
    assert!(matches!(heard.recv().unwrap(), Event::Produced));
    drop(checkpointer);
    let ended = heard.iter().find_map(|event| match event {
        Event::Checkpointed(ended) => Some(ended),
        _ => None,
    });
    let why = ended.unwrap().unwrap_err().to_string();
    assert!(why.contains("the lane has ended"), "{why}");
}

#[test]
fn an_id_whose_commit_may_come_again_ends_its_lane_behind_the_checkpoint() {
    let (mut checkpointer, acks, heard) = start(Committed::MayComeAgain);
    acks.appended(Appended::Durable { seq: 1, offset: 0 });
    checkpointer.begin(Vec::new(), at(1, 1));
    let mut ended = heard.iter().filter_map(|event| match event {
        Event::Checkpointed(ended) => Some(ended),
        _ => None,
    });
    assert_eq!(ended.next().unwrap().unwrap(), 0);
    let why = ended.next().unwrap().unwrap_err();
    assert!(matches!(&why, LogError::Lost(text) if text.contains("KAFKA-17754")), "{why}");
}

#[test]
fn a_checkpoint_thread_that_panics_ends_its_lane() {
    let (mut checkpointer, _, heard) = start_with([Box::new(Mistaken), Box::new(Mistaken)]);
    checkpointer.begin(Vec::new(), at(1, 0));
    let Event::Checkpointed(Err(why)) = heard.recv().unwrap() else { panic!("another event") };
    assert!(matches!(&why, LogError::Lost(text) if text.contains("panicked")), "{why}");
    // Its drop would join the thread, and the host of these tests passes panics on.
    std::mem::forget(checkpointer);
}
