//! R: ten-step workflows go on while processes are killed and rolled. How long is each lane silent, and how long a
//! client, which reads only what is committed?

use super::{Curves, Ground};
use crate::client::{Client, Work};
use crate::kafka::{Isolation, Reader};
use crate::peer::{Values, finished};
use crate::plan::{RESTATE, STEPS};
use crate::results::Results;
use crate::sides::measured;
use crate::subject::{Make, Subject};
use anyhow::{Context as _, Result, anyhow};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const LANES: i32 = 6;
const IN_FLIGHT: usize = 64;
/// Load before the first fault.
const BEFORE: Duration = Duration::from_secs(4);
/// Load after the last fault; longer than a session timeout and a take-over.
const AFTER: Duration = Duration::from_secs(14);
/// Between two processes of a roll.
const BETWEEN: Duration = Duration::from_secs(6);
/// Points of the drawing.
const BUCKET: Duration = Duration::from_millis(200);
const LOOK: Duration = Duration::from_millis(20);
const PATIENCE: Duration = Duration::from_secs(60);

/// What the report calls the faults.
pub(crate) const KILLED: &str = "sakia: kill -9 of one of two processes";
/// The second.
pub(crate) const RESTARTED: &str = "sakia: kill -9 of a static member, started again at once";
/// The third.
pub(crate) const ROLLED: &str = "sakia: clean roll of three processes";

/// The last.
pub(crate) const ROLLED_STATIC: &str = "sakia: clean roll of three static members";

/// What happens to the processes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// One of two is killed and stays away.
    Killed,
    /// One of two, which is a static member, is killed and comes back at once.
    Restarted,
    /// Each of three ends cleanly and comes back, one after the other.
    Rolled,
    /// The same with three that the group knows by name: no lane moves.
    RolledStatic,
}

impl Fault {
    fn name(self) -> &'static str {
        match self {
            Fault::Killed => KILLED,
            Fault::Restarted => RESTARTED,
            Fault::Rolled => ROLLED,
            Fault::RolledStatic => ROLLED_STATIC,
        }
    }

    fn make(self) -> Make {
        let variables = match self {
            Fault::Restarted | Fault::RolledStatic => {
                vec![("SAKIA_INSTANCE_ID".into(), "process-{process}".into())]
            }
            _ => Vec::new(),
        };
        let (name, processes) = match self {
            Fault::Killed => ("killed", 2),
            Fault::Restarted => ("restarted", 2),
            Fault::Rolled => ("rolled", 3),
            Fault::RolledStatic => ("rolled-static", 3),
        };
        Make { lanes: LANES, processes, variables, ..Make::of(name) }
    }

    /// Does it, by a schedule: the sleeps are it, and wait for nothing. Returns after the last load.
    fn happen(self, subject: &mut Subject) -> Result<()> {
        std::thread::sleep(BEFORE);
        match self {
            Fault::Killed => subject.end(0, true)?,
            Fault::Restarted => {
                subject.end(0, true)?;
                subject.revive(0)?;
            }
            Fault::Rolled | Fault::RolledStatic => {
                for number in 0..3 {
                    subject.end(number, false)?;
                    subject.revive(number)?;
                    std::thread::sleep(BETWEEN);
                }
            }
        }
        std::thread::sleep(AFTER);
        Ok(())
    }
}

pub(super) fn run(ground: &Ground<'_>, results: &mut Results, curves: &mut Curves) -> Result<()> {
    for fault in [Fault::Killed, Fault::Restarted, Fault::Rolled, Fault::RolledStatic] {
        let mut subject = Subject::start(&ground.places, &ground.broker, fault.make())?;
        let mut client = subject.client_that_reads(Isolation::Uncommitted)?;
        super::warm_up(&mut client)?;
        let watched = subject.watched();
        let sample =
            measured("R", fault.name(), 0, &watched, || faced(fault, &mut subject, &mut client, curves))?;
        results.add(sample);
    }
    if let Some(restate) = &ground.restate {
        let peer = restate.start()?;
        peer.load("chain", IN_FLIGHT as u64, 0.0, 5.0)?;
        let side = format!("{RESTATE}: kill -9 of the server, started again at once");
        let watched = peer.watched();
        results.add(measured("R", &side, 0, &watched, || {
            let load = peer.begin("kill", IN_FLIGHT as u64, 0.0, (BEFORE + AFTER).as_secs_f64())?;
            // The schedule of the fault, as for the other side.
            std::thread::sleep(BEFORE);
            let _peer = peer.kill_and_restart("server")?;
            let mut values = finished(load)?;
            let gap = values.get("longest_gap_ms").copied().context("no gap")?;
            values.insert("longest_pause_ms".into(), gap);
            Ok(values)
        })?);
    }
    Ok(())
}

/// Completions by lane, from the begin of the load.
struct Silence {
    done: Vec<Vec<Duration>>,
    /// Replies whose transaction was aborted and that came again, as nothing committed comes twice.
    aborted: u64,
    /// Lanes of those that never came.
    lost: Vec<i32>,
    /// When it was over.
    end: Duration,
}

fn faced(fault: Fault, subject: &mut Subject, client: &mut Client, curves: &mut Curves) -> Result<Values> {
    let replies = format!("{}.replies", subject.name());
    let reader = Reader::at_end(subject.brokers(), &replies, Isolation::Committed)?;
    let (began, over) = (Instant::now(), AtomicBool::new(false));
    let (silence, heard) = std::thread::scope(|scope| {
        let heard = scope.spawn(|| listen(&reader, began, &over));
        let faults = scope.spawn(|| fault.happen(subject));
        let silence = load(client, began, || faults.is_finished());
        over.store(true, Ordering::Relaxed);
        faults.join().map_err(|_| anyhow!("the faults panicked"))??;
        let heard = heard.join().map_err(|_| anyhow!("the listener panicked"))??;
        Ok::<_, anyhow::Error>((silence?, heard))
    })?;
    // A lane that never came back was silent until the end.
    let until = |lane: usize| silence.lost.contains(&(lane as i32)).then_some(silence.end);
    let pauses: Vec<f64> =
        silence.done.iter().enumerate().map(|(lane, times)| longest(times, until(lane))).collect();
    let all: usize = silence.done.iter().map(Vec::len).sum();
    let mut curve = vec![0_u32; 1];
    for at in &heard {
        let bucket = (at.as_secs_f64() / BUCKET.as_secs_f64()) as usize;
        if curve.len() <= bucket {
            curve.resize(bucket + 1, 0);
        }
        curve[bucket] += 1;
    }
    let per_second =
        |(n, count): (usize, u32)| (n as f64 * BUCKET.as_secs_f64(), f64::from(count) / BUCKET.as_secs_f64());
    curves.insert(
        format!("recovery: {}", fault.name()),
        curve.into_iter().enumerate().map(per_second).collect(),
    );
    Ok(Values::from([
        ("completed".into(), all as f64),
        ("longest_pause_ms".into(), pauses.iter().copied().fold(0.0, f64::max)),
        ("shortest_pause_ms".into(), pauses.iter().copied().fold(f64::INFINITY, f64::min)),
        ("client_pause_ms".into(), longest(&heard, (!silence.lost.is_empty()).then_some(silence.end))),
        ("lost".into(), silence.lost.len() as f64),
        ("aborted_replies".into(), silence.aborted as f64),
        ("repeated".into(), heard.len() as f64 + silence.lost.len() as f64 - all as f64),
    ]))
}

/// The longest time without a completion, in milliseconds, around the fault.
fn longest(times: &[Duration], until: Option<Duration>) -> f64 {
    let after: Vec<Duration> = times.iter().copied().chain(until).filter(|at| *at > BEFORE / 2).collect();
    after.windows(2).map(|pair| (pair[1] - pair[0]).as_secs_f64() * 1e3).fold(0.0, f64::max)
}

/// When a client had each result.
fn listen(reader: &Reader, began: Instant, over: &AtomicBool) -> Result<Vec<Duration>> {
    let mut heard = Vec::new();
    loop {
        match reader.next(LOOK)? {
            Some(_) => heard.push(began.elapsed()),
            None if over.load(Ordering::Relaxed) => return Ok(heard),
            None => {}
        }
    }
}

/// As many in flight on each lane: one that is silent must not take the load away from the others.
fn load(client: &mut Client, began: Instant, over: impl Fn() -> bool) -> Result<Silence> {
    let mut open = HashMap::new();
    for n in 0..IN_FLIGHT {
        let lane = n as i32 % LANES;
        open.insert(client.start_on(lane, Work::Chain(STEPS))?, lane);
    }
    let mut silence =
        Silence { done: vec![Vec::new(); LANES as usize], aborted: 0, lost: Vec::new(), end: Duration::ZERO };
    let (mut ended, mut last) = (false, Instant::now());
    while !open.is_empty() && last.elapsed() < PATIENCE {
        ended = ended || over();
        let Some((number, _)) = client.next_result(LOOK)? else { continue };
        last = Instant::now();
        match open.remove(&number) {
            Some(lane) => {
                if let Some(done) = silence.done.get_mut(lane as usize) {
                    done.push(last - began);
                }
                if !ended {
                    open.insert(client.start_on(lane, Work::Chain(STEPS))?, lane);
                }
            }
            None => silence.aborted += 1,
        }
        client.check()?;
    }
    silence.lost = open.into_values().collect();
    silence.end = began.elapsed();
    Ok(silence)
}
