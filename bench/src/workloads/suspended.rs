//! M: a million instances that wait for a signal. What do they cost, and how soon is the app there again?

use super::{Curves, Ground};
use crate::client::{Client, Work};
use crate::figures::{ms, quantile};
use crate::peer::Values;
use crate::plan::SAKIA;
use crate::results::Results;
use crate::sides::measured;
use crate::subject::{Make, Subject, folder_mb};
use crate::usage::{proportional_mb, resident_mb};
use anyhow::{Result, ensure};
use std::time::{Duration, Instant};

const COUNT: u64 = 1_000_000;
const WAKES: u64 = 500;
/// Starts that may be unacknowledged.
const UNACKNOWLEDGED: usize = 20_000;
/// For all of them to be started, or restored.
const LIMIT: Duration = Duration::from_secs(600);
const LOOK: Duration = Duration::from_millis(20);

pub(super) fn run(ground: &Ground<'_>, results: &mut Results, _curves: &mut Curves) -> Result<()> {
    let mut subject = Subject::start(&ground.places, &ground.broker, Make::of("suspended"))?;
    let mut client = subject.client()?;
    let empty_mb = resident_mb(subject.process(0)?);
    let watched = subject.watched();
    results.add(measured("M", SAKIA, 0, &watched, || {
        let began = Instant::now();
        let first = fill(&mut client)?;
        let filled_s = began.elapsed().as_secs_f64();
        let process = subject.process(0)?;
        let (filled_mb, filled_pss_mb) = (resident_mb(process), proportional_mb(process));
        let disk_mb = folder_mb(&subject.state(0));
        let took = wakes(&client, first)?;
        // A clean end, then the same after a kill: one has everything on disk, the other restores what it lacks.
        let clean_ms = restart(&mut subject, &mut client, false)?;
        let restarted_mb = resident_mb(subject.process(0)?);
        let killed_ms = restart(&mut subject, &mut client, true)?;
        let after = wakes(&client, first + COUNT / 2)?;
        Ok(Values::from([
            ("completed".into(), COUNT as f64),
            ("filled_s".into(), filled_s),
            ("empty_rss_mb".into(), empty_mb),
            ("rss_mb".into(), filled_mb),
            ("pss_mb".into(), filled_pss_mb),
            ("disk_mb".into(), disk_mb),
            ("wake_p50_ms".into(), quantile(&took, 0.5)),
            ("wake_p99_ms".into(), quantile(&took, 0.99)),
            ("clean_start_s".into(), clean_ms / 1e3),
            ("killed_start_s".into(), killed_ms / 1e3),
            ("restarted_rss_mb".into(), restarted_mb),
            ("wake_after_restart_p50_ms".into(), quantile(&after, 0.5)),
        ]))
    })?);
    Ok(())
}

/// Starts them all, waits until all are applied, and returns the first one's number.
fn fill(client: &mut Client) -> Result<u64> {
    let first = client.start_unheard(Work::Waiting)?;
    for n in 1..COUNT {
        client.start_unheard(Work::Waiting)?;
        if n % 1000 == 0 {
            client.check()?;
            client.room(UNACKNOWLEDGED)?;
        }
    }
    client.acknowledged()?;
    client.start(Work::Empty)?;
    client.result(LIMIT)?;
    Ok(first)
}

/// Signals some, far from each other, one at a time; most of them have left the cache.
fn wakes(client: &Client, first: u64) -> Result<Vec<Duration>> {
    let mut took = Vec::new();
    for n in 0..WAKES {
        let number = first + n * (COUNT / 2 / WAKES);
        let began = Instant::now();
        client.signal(number)?;
        client.await_result(number)?;
        ensure!(client.result(LIMIT)? == number, "a reply to something else");
        took.push(began.elapsed());
        client.check()?;
    }
    Ok(took)
}

/// From the start of the process to the first command's result, in milliseconds. The fence of a killed one waits for
/// its session to end, which is not what is measured: it is given that time first.
fn restart(subject: &mut Subject, client: &mut Client, at_once: bool) -> Result<f64> {
    const SESSION: Duration = Duration::from_secs(7);
    subject.end(0, at_once)?;
    if at_once {
        std::thread::sleep(SESSION);
    }
    let number = client.start(Work::Empty)?;
    client.acknowledged()?;
    let began = Instant::now();
    subject.revive(0)?;
    loop {
        subject.check()?;
        if let Some((ended, _)) = client.next_result(LOOK)?
            && ended == number
        {
            return Ok(ms(began.elapsed()));
        }
        ensure!(began.elapsed() < LIMIT, "it does not come back");
    }
}
