//! Z: a long time at 80 % of the maximum. Does anything grow or slow down?

use super::{Curves, Ground};
use crate::client::{Client, Work};
use crate::figures::{median, quantile};
use crate::kafka::PATIENCE;
use crate::peer::Values;
use crate::plan::{SAKIA, STEPS};
use crate::results::Results;
use crate::sides::measured;
use crate::subject::{Make, Subject, folder_mb};
use crate::usage::resident_mb;
use anyhow::{Context as _, Result};
use std::collections::HashMap;
use std::time::{Duration, Instant};

const CHAIN: Work = Work::Chain(STEPS);
const SHARE: f64 = 0.8;
/// The maximum is the best of these, each kept in flight for a slice.
const MAXIMA: [usize; 2] = [64, 512];
/// One look at throughput and memory.
const SLICE: Duration = Duration::from_secs(10);
/// Memory goes up and down within a minute, as tables fill and files are merged: a slice has the mean of many looks.
const LOOK: Duration = Duration::from_millis(200);
/// What may be under way; more means that the app does not keep up.
const BOUND: usize = 20_000;

/// One slice.
struct Slice {
    per_second: f64,
    p99_ms: f64,
    rss_mb: f64,
    /// The least of its looks: what waits for its turn is memory too, and for moments there is nothing that waits.
    least_rss_mb: f64,
}

pub(super) fn run(ground: &Ground<'_>, results: &mut Results, curves: &mut Curves) -> Result<()> {
    let subject = Subject::start(&ground.places, &ground.broker, Make::of("soak"))?;
    let mut client = subject.client()?;
    super::warm_up(&mut client)?;
    let (max, in_flight) = maximum(&mut client)?;
    eprintln!("bench: Z: at most {max:.0} a second, with {in_flight} in flight");
    let length = Duration::from_secs(ground.options.soak_minutes * 60);
    let process = subject.process(0)?;
    let watched = subject.watched();
    results.add(measured("Z", SAKIA, 0, &watched, || {
        let Soaked { slices, started } = open_loop(&mut client, max * SHARE, length, process)?;
        let part = (slices.len() / 10).max(1);
        let first = |value: fn(&Slice) -> f64| median(slices.iter().take(part).map(value));
        let last = |value: fn(&Slice) -> f64| median(slices.iter().rev().take(part).map(value));
        let memory =
            slices.iter().enumerate().map(|(n, s)| (n as f64 * SLICE.as_secs_f64() / 60.0, s.rss_mb));
        curves.insert("soak: memory".into(), memory.collect());
        Ok(Values::from([
            ("minutes".into(), length.as_secs_f64() / 60.0),
            ("completed".into(), slices.iter().map(|s| s.per_second).sum::<f64>() * SLICE.as_secs_f64()),
            ("max_per_second".into(), max),
            ("max_in_flight".into(), in_flight as f64),
            ("due_per_second".into(), max * SHARE),
            ("started_per_second".into(), started as f64 / length.as_secs_f64()),
            ("first_per_second".into(), first(|s| s.per_second)),
            ("last_per_second".into(), last(|s| s.per_second)),
            ("first_p99_ms".into(), first(|s| s.p99_ms)),
            ("last_p99_ms".into(), last(|s| s.p99_ms)),
            ("first_rss_mb".into(), first(|s| s.rss_mb)),
            ("last_rss_mb".into(), last(|s| s.rss_mb)),
            ("first_least_mb".into(), first(|s| s.least_rss_mb)),
            ("last_least_mb".into(), last(|s| s.least_rss_mb)),
            ("state_mb".into(), folder_mb(&subject.state(0))),
        ]))
    })?);
    Ok(())
}

/// The most that completes in a second, and with how many in flight.
fn maximum(client: &mut Client) -> Result<(f64, usize)> {
    let mut best = (0.0, 0);
    for in_flight in MAXIMA {
        let per_second = client.closed_loop(CHAIN, in_flight, Duration::from_secs(2), SLICE)?.per_second;
        if per_second > best.0 {
            best = (per_second, in_flight);
        }
    }
    Ok(best)
}

/// What came of the long time.
struct Soaked {
    slices: Vec<Slice>,
    /// Workflows that were started, of those that were due.
    started: u64,
}

/// Starts at a steady rate by the clock, whatever completes: what is due is started in each turn, and a turn takes one result
/// at most, as a closed loop does at its maximum. A latency begins when the start was due, so that a load generator that is
/// late does not flatter.
fn open_loop(client: &mut Client, per_second: f64, length: Duration, process: u32) -> Result<Soaked> {
    let (began, mut started) = (Instant::now(), 0_u64);
    let (mut open, mut slices, mut took, mut memory) = (HashMap::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut slice_began, mut looked) = (began, began);
    while began.elapsed() < length {
        let due = (began.elapsed().as_secs_f64() * per_second) as u64;
        while started < due && open.len() < BOUND {
            let was_due = began + Duration::from_secs_f64(started as f64 / per_second);
            open.insert(client.start(CHAIN)?, was_due);
            started += 1;
        }
        if let Some((number, _)) = client.next_result(Duration::from_millis(1))? {
            let start: Instant = open.remove(&number).context("a reply to something else")?;
            took.push(start.elapsed());
        }
        client.check()?;
        if looked.elapsed() >= LOOK {
            memory.push(resident_mb(process));
            looked = Instant::now();
        }
        if slice_began.elapsed() >= SLICE {
            let per_second = took.len() as f64 / slice_began.elapsed().as_secs_f64();
            let rss_mb = memory.iter().sum::<f64>() / memory.len() as f64;
            let least_rss_mb = memory.iter().copied().fold(f64::INFINITY, f64::min);
            slices.push(Slice { per_second, p99_ms: quantile(&took, 0.99), rss_mb, least_rss_mb });
            took.clear();
            memory.clear();
            slice_began = Instant::now();
        }
    }
    for _ in 0..open.len() {
        client.result(PATIENCE)?;
    }
    Ok(Soaked { slices, started })
}
