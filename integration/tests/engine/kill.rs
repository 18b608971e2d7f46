//! Processes are killed at random, and the broker as well.

use crate::{WORKER, number};
use anyhow::{Context, Result, ensure};
use rand::Rng;
use sakia_integration::app::{App, Worker};
use sakia_integration::kit::{Isolation, Reading, Record, until};
use sakia_integration::process::KillableBroker;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const PROCESSES: usize = 3;
const LANES: i32 = 8;
const STATIC_IDS: [&str; PROCESSES] = ["one", "two", "three"];
const RECOVERY: Duration = Duration::from_secs(180);

/// `SAKIA_TEST_JOBS` jobs, a process killed every one to three seconds, `SAKIA_TEST_KILLS` times, and the broker twice.
#[test]
fn nothing_is_lost_done_twice_or_changed_when_processes_and_the_broker_are_killed() -> Result<()> {
    let (jobs, kills) = (number("SAKIA_TEST_JOBS", 600), number("SAKIA_TEST_KILLS", 8));
    let mut broker = KillableBroker::start(Path::new(env!("CARGO_BIN_EXE_broker_process")))?;
    let mut app = App::new(broker.cluster(), WORKER, LANES)?;
    let mut workers: Vec<Worker> = STATIC_IDS.iter().map(|id| app.worker(id, &[])).collect::<Result<_>>()?;
    let done = AtomicBool::new(false);
    let watcher = Watcher::new(&app, broker.cluster())?;
    let concurrent = std::thread::scope(|scope| -> Result<Vec<Record>> {
        let reading = scope.spawn(|| watcher.read_until(&done));
        let run = run(&mut app, &mut workers, &mut broker, jobs, kills);
        done.store(true, Ordering::SeqCst);
        let records = reading.join().map_err(|_| anyhow::anyhow!("the concurrent reader panicked"))??;
        run?;
        Ok(records)
    })?;
    for mut worker in workers {
        worker.ask_to_stop()?;
        let ended = until("a worker ends", Duration::from_secs(30), || worker.ended())?;
        ensure!(ended.success(), "a worker did not end well ({ended}):\n{}", worker.log());
    }
    let after = app.read(app.out())?;
    app.check_output(&after)?;
    let sorted = |records: &[Record]| {
        let mut all: Vec<_> = records.iter().map(|r| (r.partition, r.offset, r.value.clone())).collect();
        all.sort();
        all
    };
    ensure!(
        sorted(&concurrent) == sorted(&after.records),
        "a reader during the run saw something else than one after it"
    );
    let open = app.open_transactions()?;
    ensure!(open.is_empty(), "transactions are open: {open:?}");
    Ok(())
}

fn run(
    app: &mut App,
    workers: &mut [Worker],
    broker: &mut KillableBroker,
    jobs: u64,
    kills: u64,
) -> Result<()> {
    for kill in 0..kills {
        app.start_jobs(jobs / kills)?;
        // The schedule of the faults, not a wait for anything.
        std::thread::sleep(Duration::from_millis(rand::rng().random_range(1_000..3_000)));
        let victim = rand::rng().random_range(0..PROCESSES);
        let worker = workers.get_mut(victim).context("no such worker")?;
        worker.kill_now()?;
        // Before the new process: one that finds no Kafka at its start ends, which is another test.
        if kill == kills / 3 || kill == 2 * kills / 3 {
            broker.kill_and_restart()?;
        }
        *worker = app.worker(STATIC_IDS[victim], &[])?;
    }
    app.start_jobs(jobs - app.started())?;
    app.until_all_ended(RECOVERY)?;
    app.check_results()?;
    app.until_quiet()
}

/// Reads the output while the run goes on.
struct Watcher {
    consumer: rdkafka::consumer::BaseConsumer,
}

impl Watcher {
    fn new(app: &App, cluster: &sakia_integration::kit::Cluster) -> Result<Self> {
        Ok(Watcher { consumer: cluster.reader(app.out(), &app.partitions(), Isolation::Committed)? })
    }

    fn read_until(&self, done: &AtomicBool) -> Result<Vec<Record>> {
        let mut reading = Reading::default();
        let mut quiet_since = None;
        loop {
            match self.consumer.poll(Duration::from_millis(100)) {
                Some(Ok(message)) => {
                    reading.records.push(Record::of(&message));
                    quiet_since = None;
                }
                // The broker is killed twice; the consumer comes back by itself.
                Some(Err(_)) | None if !done.load(Ordering::SeqCst) => {}
                _ => {
                    let since = *quiet_since.get_or_insert_with(Instant::now);
                    if since.elapsed() > Duration::from_secs(3) {
                        return Ok(reading.records);
                    }
                }
            }
        }
    }
}
