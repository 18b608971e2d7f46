//! Where the time goes, as seen from outside: when other readers see each record of a workflow.

use crate::client::{Client, Work};
use crate::figures::{median, ms};
use crate::kafka::{Isolation, PATIENCE, Reader};
use anyhow::{Result, anyhow};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How often an observer looks whether it is to stop.
const LOOK: Duration = Duration::from_millis(100);

type Seen = Arc<Mutex<Vec<(&'static str, Instant)>>>;

/// Moments after the start, in milliseconds: medians over many workflows.
pub(crate) struct Timeline {
    /// What was seen, in order.
    pub(crate) moments: Vec<(String, f64)>,
}

struct Observer {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<()>>,
}

fn observe(brokers: &str, app: &str, part: &'static str, seen: &Seen) -> Result<Observer> {
    let reader = Reader::at_end(brokers, &format!("{app}.{part}"), Isolation::Uncommitted)?;
    let stop = Arc::new(AtomicBool::new(false));
    let (told, seen) = (stop.clone(), seen.clone());
    let thread = std::thread::Builder::new().name(format!("observer-{part}")).spawn(move || {
        while !told.load(Ordering::Relaxed) {
            if reader.next(LOOK)?.is_some() {
                let now = Instant::now();
                seen.lock().unwrap_or_else(PoisonError::into_inner).push((part, now));
            }
        }
        Ok(())
    })?;
    Ok(Observer { stop, thread })
}

/// Runs workflows one at a time while readers watch the topics. They cost time themselves.
pub(crate) fn watch(
    brokers: &str,
    app: &str,
    client: &mut Client,
    work: Work,
    length: Duration,
) -> Result<Timeline> {
    let seen = Seen::default();
    let parts = ["commands", "journal", "changelog", "replies"];
    let observers =
        parts.iter().map(|part| observe(brokers, app, part, &seen)).collect::<Result<Vec<_>>>()?;
    let mut all: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    let end = Instant::now() + length;
    while Instant::now() < end {
        let began = Instant::now();
        client.start(work)?;
        client.acknowledged()?;
        let acknowledged = began.elapsed();
        client.result(PATIENCE)?;
        let done = began.elapsed();
        // A pause between two runs, for what other readers see a moment later than the client. Nothing depends on it:
        // medians bear a record that comes later still.
        std::thread::sleep(Duration::from_millis(5));
        note(&mut all, "the start is acknowledged to the client".into(), acknowledged);
        note(&mut all, "the client has the result (read committed)".into(), done);
        let mut count = BTreeMap::new();
        for (part, at) in seen.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            let n: &mut u32 = count.entry(part).or_default();
            *n += 1;
            if at >= began {
                note(&mut all, format!("{part}: record {n} can be read"), at - began);
            }
        }
    }
    for observer in observers {
        observer.stop.store(true, Ordering::Relaxed);
        observer.thread.join().map_err(|_| anyhow!("an observer panicked"))??;
    }
    let runs = all.values().map(Vec::len).max().unwrap_or(0);
    let mut moments: Vec<(String, f64)> = all
        .into_iter()
        // What only some runs did (a periodic checkpoint) belongs to none.
        .filter(|(_, times)| times.len() * 2 > runs)
        .map(|(what, times)| (what, median(times)))
        .collect();
    moments.sort_by(|a, b| a.1.total_cmp(&b.1));
    Ok(Timeline { moments })
}

fn note(all: &mut BTreeMap<String, Vec<f64>>, what: String, after: Duration) {
    all.entry(what).or_default().push(ms(after));
}
