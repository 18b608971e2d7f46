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

/// Appends of a lane in flight, and as long as each carries so many facts: as Sakia has.
const APPENDS: usize = 2;
const LARGE_APPENDS: usize = 4;
const LARGE_FACTS: usize = 64;
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
    flight: Flight,
}

/// How the facts of a lane's workflows are spread over the appends in flight.
struct Flight {
    appends: usize,
    /// Facts in one append, at most: as much in each. All of them in one would leave none for the next.
    facts: usize,
}

impl Flight {
    fn of(workflows: usize) -> Self {
        let is_large = workflows >= LARGE_APPENDS * LARGE_FACTS;
        let appends = if is_large { LARGE_APPENDS } else { APPENDS };
        Flight { appends, facts: workflows.div_ceil(appends) }
    }
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
        let work = Work { journal, topic, flight: Flight::of(workflows) };
        Ok(Lane { work, checkpoints, workflows })
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
        let mut ready = VecDeque::from([Group { workflows, steps: 0 }]);
        let (mut appended, mut done, mut committing) = (VecDeque::new(), 0, 0);
        loop {
            if end.load(Ordering::Relaxed) {
                ready.clear();
                done = 0;
            }
            while !ready.is_empty() && appended.len() < self.flight.appends {
                let group = take(&mut ready, self.flight.facts);
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
                        steps => ready.push_back(Group { workflows, steps }),
                    }
                }
            } else if committing == 0 {
                return self.journal.commit();
            }
            if let Some(workflows) = next(committed, !appended.is_empty() || !ready.is_empty())? {
                committing = 0;
                ready.push_back(Group { workflows, steps: 0 });
            }
        }
    }
}

/// Groups of so many workflows in all, at most; the rest stays.
fn take(ready: &mut VecDeque<Group>, most: usize) -> Vec<Group> {
    let (mut taken, mut room) = (Vec::new(), most);
    while room > 0
        && let Some(mut group) = ready.pop_front()
    {
        let workflows = group.workflows.min(room);
        room -= workflows;
        taken.push(Group { workflows, steps: group.steps });
        group.workflows -= workflows;
        if group.workflows > 0 {
            ready.push_front(group);
        }
    }
    taken
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_has_two_appends_in_flight_or_four_large_ones() {
        let of = |workflows| Flight::of(workflows);
        assert_eq!((of(64).appends, of(64).facts), (2, 32));
        assert_eq!((of(255).appends, of(256).appends, of(512).facts), (2, 4, 128));
    }

    #[test]
    fn a_group_that_does_not_fit_is_divided() {
        let mut ready = VecDeque::from([Group { workflows: 3, steps: 1 }, Group { workflows: 5, steps: 2 }]);
        let sizes = |groups: &[Group]| groups.iter().map(|g| (g.workflows, g.steps)).collect::<Vec<_>>();
        assert_eq!(sizes(&take(&mut ready, 4)), [(3, 1), (1, 2)]);
        assert_eq!(sizes(&take(&mut ready, 9)), [(4, 2)]);
        assert!(ready.is_empty() && take(&mut ready, 9).is_empty());
    }
}
