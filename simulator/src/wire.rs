//! What is under way between journals and the broker: appends, their answers, and EndTxn requests that come late.

use crate::broker::{Place, Refusal, TxnNumber};
use crate::world::{Sim, World};
use bytes::Bytes;
use sakia::core::mutation::{Mutation, mutated};
use sakia::log::{Appended, JournalAcks, NewRecord};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// One journal's connection.
pub(crate) struct Writer {
    pub(crate) process: usize,
    pub(crate) life: u32,
    pub(crate) id: Arc<str>,
    pub(crate) epoch: u32,
    pub(crate) place: Place,
    /// Whether the open transaction has the journal's partition, as far as the client knows.
    pub(crate) added: bool,
    requests: VecDeque<(u64, Bytes)>,
    answers: VecDeque<Appended>,
    /// Gone when the journal was dropped, or after the first bad answer.
    listener: Option<Arc<dyn JournalAcks>>,
    /// A request was lost: by its sequence numbers the broker accepts none that follows.
    broken: bool,
}

/// An EndTxn that was lost on the way, and is not lost after all (KAFKA-17754).
pub(crate) struct LateEnd {
    pub(crate) id: Arc<str>,
    pub(crate) epoch: u32,
    /// The transaction that it was meant for.
    pub(crate) of: Option<TxnNumber>,
}

#[derive(Default)]
pub(crate) struct Wire {
    writers: BTreeMap<u64, Writer>,
    next: u64,
    pub(crate) late: Vec<LateEnd>,
}

impl Wire {
    pub(crate) fn connect(
        &mut self,
        (process, life): (usize, u32),
        (id, epoch): (Arc<str>, u32),
        place: Place,
        listener: Arc<dyn JournalAcks>,
    ) -> u64 {
        self.next += 1;
        let (requests, answers) = (VecDeque::new(), VecDeque::new());
        let listener = Some(listener);
        let writer = Writer {
            process,
            life,
            id,
            epoch,
            place,
            added: false,
            requests,
            answers,
            listener,
            broken: false,
        };
        self.writers.insert(self.next, writer);
        self.next
    }

    pub(crate) fn writer(&mut self, number: u64) -> Option<&mut Writer> {
        self.writers.get_mut(&number)
    }

    /// Writers with requests under way.
    pub(crate) fn sending(&self) -> Vec<u64> {
        self.writers.iter().filter(|(_, w)| !w.requests.is_empty()).map(|(n, _)| *n).collect()
    }

    /// Writers with answers under way, and where to.
    pub(crate) fn answering(&self) -> Vec<(u64, usize)> {
        self.writers.iter().filter(|(_, w)| !w.answers.is_empty()).map(|(n, w)| (*n, w.process)).collect()
    }
}

impl Writer {
    pub(crate) fn send(&mut self, seq: u64, record: Bytes) {
        self.requests.push_back((seq, record));
    }

    pub(crate) fn unanswered(&self) -> usize {
        self.requests.len() + self.answers.len()
    }

    pub(crate) fn is_lost(&self) -> bool {
        self.listener.is_none()
    }

    /// The journal is gone. What is under way may still arrive.
    pub(crate) fn hang_up(&mut self) {
        self.listener = None;
        self.answers.clear();
    }

    fn fail(&mut self, why: &str) {
        self.broken = true;
        self.answer(Appended::Lost(why.to_string()));
    }

    fn answer(&mut self, what: Appended) {
        if self.listener.is_some() {
            self.answers.push_back(what);
        }
    }
}

impl World {
    /// The next request of a writer reaches the broker, or does not.
    pub(crate) fn deliver_append(&mut self, number: u64) {
        let (lost, late) = (self.fault(self.profile.append_lost), self.rng.bool());
        let now_ms = self.now_ms();
        let Some(writer) = self.wire.writers.get_mut(&number) else { return };
        let Some((seq, record)) = writer.requests.pop_front() else { return };
        let (id, epoch, place) = (writer.id.clone(), writer.epoch, writer.place.clone());
        if writer.broken || (lost && !late) {
            writer.fail("the request was lost");
            return self.note(format_args!("append {seq} of {id} is lost"));
        }
        if !writer.added {
            match self.broker.add(&id, epoch, &place, now_ms) {
                Ok(()) => writer.added = true,
                Err(Refusal::Concurrent) => return writer.requests.push_front((seq, record)),
                Err(refusal) => {
                    writer.fail(&format!("{refusal:?}"));
                    return self.note(format_args!("append {seq} of {id} is refused: {refusal:?}"));
                }
            }
        }
        let new = NewRecord {
            topic: place.0.clone(),
            partition: Some(place.1),
            key: None,
            value: Some(record.clone()),
            headers: Vec::new(),
        };
        match self.broker.produce(&id, epoch, &place, &new, now_ms) {
            Err(refusal) => {
                writer.fail(&format!("{refusal:?}"));
                self.note(format_args!("append {seq} of {id} is refused: {refusal:?}"));
            }
            Ok(offset) => {
                if lost {
                    writer.fail("the acknowledgement was lost");
                } else {
                    writer.answer(Appended::Durable { seq, offset });
                }
                let how = if lost { ", but its acknowledgement is lost" } else { "" };
                self.note(format_args!("append {seq} of {id}, epoch {epoch}, is durable at {offset}{how}"));
                self.check_append(place.1, epoch, &record);
            }
        }
    }

    /// A late EndTxn arrives.
    pub(crate) fn deliver_late_end(&mut self, which: usize) {
        let LateEnd { id, epoch, of } = self.wire.late.swap_remove(which);
        let hits = self.broker.has_written(&id, epoch) && self.broker.open_number(&id, epoch) != of;
        let said = self.broker.end(&id, epoch, true);
        self.note(format_args!("late EndTxn(commit) of {id}, epoch {epoch}: {said:?}, hits: {hits}"));
        if hits && said.is_ok() && self.seen.torn(&id) && !mutated(Mutation::TornIsWhole) {
            self.violated(format!("a late EndTxn committed the half of a checkpoint of {id}"));
        }
    }
}

/// The next answer of a writer reaches its process.
pub(crate) fn deliver_answer(sim: &Sim, number: u64) {
    let (listener, answer, process) = {
        let mut world = sim.world();
        let Some(writer) = world.wire.writers.get_mut(&number) else { return };
        let Some(answer) = writer.answers.pop_front() else { return };
        let listener = match &answer {
            Appended::Durable { .. } => writer.listener.clone(),
            Appended::Lost(_) => writer.listener.take(),
        };
        let (process, life, id) = (writer.process, writer.life, writer.id.clone());
        if !world.is_alive(process, life) {
            return;
        }
        world.note(format_args!("process {process} hears of {id}: {answer:?}"));
        world.touch(process);
        (listener, answer, process)
    };
    if let Some(listener) = listener {
        listener.appended(answer);
    }
    sim.world().touch(process);
}
