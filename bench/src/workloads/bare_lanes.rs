//! The floor of X: lanes without a store, without workflows and without commands. Each writes what ten-step workflows write:
//! facts in groups, each group acknowledged before the next step of those in it, and then their rows and replies in a
//! transaction. What more lanes cost here, they cost by Kafka.

use super::Ground;
use super::lanes::note_cpu;
use crate::bare::Topics;
use crate::kafka::{Producer, Record};
use crate::peer::Values;
use crate::plan::STEPS;
use crate::results::Results;
use crate::sides::measured;
use anyhow::{Context as _, Result, anyhow};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

/// Appends of a lane in flight, as Sakia has.
const APPENDS: usize = 2;
/// Bytes of a fact, of an instance's row, of the position and of a reply, about.
const FACT: usize = 32;
const ROW: usize = 100;
const POSITION: usize = 48;
const REPLY: usize = 25;

/// What the report calls it.
fn side(lanes: usize, in_flight: usize) -> String {
    let s = if lanes == 1 { "" } else { "s" };
    format!("{lanes} bare lane{s}, {in_flight} in flight")
}

/// One measurement.
pub(super) fn run(
    ground: &Ground<'_>,
    (lanes, in_flight, round): (usize, usize, usize),
    (ramp, length): (Duration, Duration),
    results: &mut Results,
) -> Result<()> {
    let all = (0..lanes)
        .map(|lane| {
            let name = format!("bare-{lanes}-{in_flight}-{round}-{lane}");
            Lane::connect(ground.broker.bootstrap(), &name, in_flight / lanes)
        })
        .collect::<Result<Vec<Lane>>>()?;
    let mut sample = measured("X", &side(lanes, in_flight), round, &ground.broker.watched(), || {
        let (end, steps) = (AtomicBool::new(false), AtomicU64::new(0));
        thread::scope(|scope| {
            let lanes: Vec<_> = all.into_iter().map(|lane| scope.spawn(|| lane.run(&steps, &end))).collect();
            // The measurement lasts so long; nothing is waited for.
            thread::sleep(ramp);
            let before = steps.load(Ordering::Relaxed);
            thread::sleep(length);
            let per_second = (steps.load(Ordering::Relaxed) - before) as f64 / length.as_secs_f64();
            end.store(true, Ordering::Relaxed);
            for lane in lanes {
                lane.join().map_err(|_| anyhow!("a bare lane panicked"))??;
            }
            Ok(Values::from([
                ("steps_per_second".into(), per_second),
                ("completed".into(), steps.load(Ordering::Relaxed) as f64),
            ]))
        })
    })?;
    // The lanes run in this process, and count steps.
    note_cpu(&mut sample, "load", 1.0);
    results.add(sample);
    Ok(())
}

/// So many workflows that have come equally far.
struct Group {
    workflows: usize,
    steps: u32,
}

struct Lane {
    work: Work,
    checkpoints: Checkpoints,
    workflows: usize,
}

struct Work {
    journal: Producer,
    topic: String,
}

struct Checkpoints {
    /// Used in turn.
    pair: [Producer; 2],
    changelog: String,
    replies: String,
}

impl Lane {
    fn connect(brokers: &str, name: &str, workflows: usize) -> Result<Self> {
        let Topics { journal: topic, changelog, replies } = Topics::make(brokers, name)?;
        let id = |part: &str| Producer::open(brokers, Some(&format!("{name}-{part}")));
        let journal = id("journal")?;
        journal.begin()?;
        let checkpoints = Checkpoints { pair: [id("a")?, id("b")?], changelog, replies };
        Ok(Lane { work: Work { journal, topic }, checkpoints, workflows })
    }

    /// Goes on until told to end, and until nothing is in flight then.
    fn run(self, steps: &AtomicU64, end: &AtomicBool) -> Result<()> {
        let (to_commit, requests) = channel();
        let (answers, committed) = channel();
        let checkpoints = self.checkpoints;
        let writer = thread::spawn(move || checkpoints.run(&requests, &answers));
        let worked = self.work.run(self.workflows, (to_commit, &committed), (steps, end));
        // Why it failed, before what followed from that.
        writer.join().map_err(|_| anyhow!("a checkpoint panicked"))??;
        worked
    }
}

impl Work {
    fn run(
        self,
        workflows: usize,
        (to_commit, committed): (Sender<usize>, &Receiver<usize>),
        (steps, end): (&AtomicU64, &AtomicBool),
    ) -> Result<()> {
        let mut ready = vec![Group { workflows, steps: 0 }];
        let (mut appended, mut done, mut committing) = (VecDeque::new(), 0, 0);
        loop {
            if end.load(Ordering::Relaxed) {
                ready.clear();
                done = 0;
            }
            if !ready.is_empty() && appended.len() < APPENDS {
                let group = std::mem::take(&mut ready);
                let facts: usize = group.iter().map(|g| g.workflows).sum();
                self.journal.send(&self.topic, &record(None, facts * FACT))?;
                appended.push_back(group);
            }
            if done > 0 && committing == 0 {
                committing = std::mem::take(&mut done);
                to_commit.send(committing)?;
            }
            if !appended.is_empty() {
                self.journal.room(appended.len() - 1)?;
                for Group { workflows, steps: before } in appended.pop_front().into_iter().flatten() {
                    steps.fetch_add(workflows as u64, Ordering::Relaxed);
                    match before + 1 {
                        STEPS => done += workflows,
                        steps => ready.push(Group { workflows, steps }),
                    }
                }
            } else if committing == 0 {
                return self.journal.commit();
            }
            if let Some(workflows) = next(committed, !appended.is_empty() || !ready.is_empty())? {
                committing = 0;
                ready.push(Group { workflows, steps: 0 });
            }
        }
    }
}

/// What was committed, if anything was; waits for it if there is nothing else to do.
fn next(committed: &Receiver<usize>, busy: bool) -> Result<Option<usize>> {
    let wait = if busy { Duration::ZERO } else { Duration::from_millis(100) };
    match committed.recv_timeout(wait) {
        Ok(workflows) => Ok(Some(workflows)),
        Err(RecvTimeoutError::Timeout) => Ok(None),
        Err(RecvTimeoutError::Disconnected) => Err(anyhow!("a checkpoint failed")),
    }
}

impl Checkpoints {
    fn run(self, work: &Receiver<usize>, answers: &Sender<usize>) -> Result<()> {
        for (number, workflows) in work.iter().enumerate() {
            let id = &self.pair[number % 2];
            id.begin()?;
            for _ in 0..workflows {
                id.send(&self.changelog, &record(Some("instance"), ROW))?;
                id.send(&self.replies, &record(Some("reply"), REPLY))?;
            }
            id.send(&self.changelog, &record(Some("position"), POSITION))?;
            id.acknowledged()?;
            id.commit()?;
            answers.send(workflows).context("the lane has ended")?;
        }
        Ok(())
    }
}

fn record(key: Option<&str>, bytes: usize) -> Record {
    Record { key: key.map(|k| k.as_bytes().to_vec()), value: Some(vec![b'.'; bytes]), headers: Vec::new() }
}
