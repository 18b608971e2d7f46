//! K killed: the same way from topic to topic on every side, under load, while the process that runs the steps is
//! killed again and again and started by its supervisor. What does a committed reader find on the way out?

use super::Ground;
use crate::kafka::{self, Isolation, NewOne, Producer, Reader, Record};
use crate::peer::{Installed, Peer, Values};
use crate::plan::{RESTATE, SAKIA, STREAMS, TEMPORAL};
use crate::results::Results;
use crate::sides::measured;
use crate::subject::Subject;
use anyhow::{Context as _, Result, anyhow, ensure};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Its name in the results.
pub(crate) const WORKLOAD: &str = "K killed";
/// How it was built, for the report.
pub(crate) const ABOUT: &str = "\
Under load, `kill -9` of the process that runs the steps, each time when it works again: a drawn while later, as soon as a \
record comes out. Its supervisor starts it at once. Then everything is drained, and the topic on the way out is read \
`read_committed`: a duplicate is a record whose input is out already. \
Restate's server reads the topic by a subscription of its own and is not killed; the handler has three `ctx.run`, and a \
fourth produces with an ordinary idempotent producer and waits for the acknowledgement. \
On Temporal a plain consumer, in a process that is not killed either, starts a workflow by an id of topic, partition and \
offset before it commits; three activities, and a fourth that produces in the same way. \
There the record on the topic and the note that it was written are two writes to two systems: a kill between them lets the \
step run again, as both document (steps run at least once), and the record is there twice. A consumer that dedupes by id \
would hide them. Sakia's and Kafka Streams' record is in the transaction that moves on; Kafka Streams \
(exactly_once_v2, a static member) has no durable steps: each is a record through a topic. Code within a step of Sakia's \
runs at least once too: a record that is produced there by hand would be repeated just so. \
Duplicates are comparable at one rate only: Temporal is given fewer records a second, as it keeps up with no more here, so \
each kill finds fewer under way.";
/// The same number on every side, each under load.
pub(crate) const KILLS: u32 = 24;
/// From the moment at which the process works again until the next kill, which waits for a record to come out, in
/// milliseconds; drawn, the same draws for every side.
const BETWEEN_MS: std::ops::Range<u64> = 200..800;
const SEED: u64 = 20_261_121;
/// For a process to work again, and for the last record to come out.
const PATIENCE: Duration = Duration::from_secs(90);
/// Nothing comes for so long: then all that was going to be repeated has been. Longer than any retry of any side.
const QUIET: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(20);

/// A side, and how it is loaded: Temporal reaches no more on this machine.
struct Plan {
    side: &'static str,
    role: &'static str,
    per_second: u64,
    partitions: i32,
}

const PEERS: [Plan; 3] = [
    Plan { side: RESTATE, role: "service", per_second: 500, partitions: 1 },
    Plan { side: TEMPORAL, role: "worker", per_second: 10, partitions: 1 },
    Plan { side: STREAMS, role: "app", per_second: 500, partitions: 8 },
];
const SAKIA_PER_SECOND: u64 = 500;

/// Whose steps are killed.
trait Victim {
    fn kill_and_start(&mut self) -> Result<()>;
}

impl Victim for Subject {
    fn kill_and_start(&mut self) -> Result<()> {
        self.end(0, true)?;
        self.revive(0)
    }
}

impl Victim for (Peer, &'static str) {
    fn kill_and_start(&mut self) -> Result<()> {
        self.0.kill(self.1)
    }
}

/// Sakia's turn, on the topics of K, and then that of each peer.
pub(super) fn run(
    ground: &Ground<'_>,
    results: &mut Results,
    sakia: &mut Subject,
    topics: [&str; 2],
) -> Result<()> {
    let brokers = ground.broker.bootstrap();
    let watched = sakia.watched();
    results.add(measured(WORKLOAD, SAKIA, 0, &watched, || faced(sakia, brokers, topics, SAKIA_PER_SECOND))?);
    for plan in PEERS {
        let installed = [&ground.restate, &ground.temporal, &ground.streams];
        let Some(peer) = installed.into_iter().flatten().find(|peer| peer.name == plan.side) else {
            continue;
        };
        if let Err(why) = beside(ground, results, &plan, peer) {
            results.fail(&format!("{WORKLOAD} on {}", plan.side), &why);
        }
    }
    Ok(())
}

fn beside(ground: &Ground<'_>, results: &mut Results, plan: &Plan, peer: &Installed) -> Result<()> {
    let brokers = ground.broker.bootstrap();
    let topics = ["in", "out"].map(|end| format!("{}-{end}", plan.side));
    let new = |name: &String| NewOne {
        name: name.clone(),
        partitions: plan.partitions,
        copies: 1,
        settings: kafka::PLAIN,
    };
    kafka::make_topics(brokers, &topics.each_ref().map(new))?;
    let [input, output] = topics.each_ref().map(String::as_str);
    let mut victim = (peer.start_pipe([input, output])?, plan.role);
    let watched = victim.0.watched();
    results.add(measured(WORKLOAD, plan.side, 0, &watched, || {
        faced(&mut victim, brokers, [input, output], plan.per_second)
    })?);
    Ok(())
}

/// What writer, reader and executioner know of each other.
#[derive(Default)]
struct Flow {
    /// Records that were sent.
    sent: AtomicU64,
    /// Records that came out.
    out: AtomicU64,
    /// One more than the number of the latest record that came out.
    reached: AtomicU64,
    /// Nothing more is to be sent.
    over: AtomicBool,
    /// How many there are, once that is known.
    total: AtomicU64,
}

fn faced(victim: &mut dyn Victim, brokers: &str, topics: [&str; 2], per_second: u64) -> Result<Values> {
    let reader = Reader::at_end(brokers, topics[1], Isolation::Committed)?;
    let flow = Flow { total: AtomicU64::new(u64::MAX), ..Flow::default() };
    let panicked = |_| anyhow!("a part of it panicked");
    let counts = std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let written = write(brokers, topics[0], per_second, &flow);
            flow.total.store(flow.sent.load(Ordering::SeqCst), Ordering::SeqCst);
            written
        });
        let reading = scope.spawn(|| read(&reader, &flow));
        let killed = kill_often(victim, &flow);
        flow.over.store(true, Ordering::SeqCst);
        writer.join().map_err(panicked)??;
        let counts = reading.join().map_err(panicked)??;
        killed.map(|()| counts)
    })?;
    let total = flow.total.load(Ordering::SeqCst);
    let out: u64 = counts.values().sum();
    let distinct = counts.len() as u64;
    ensure!(counts.keys().all(|number| *number < total), "something came out that nobody put in");
    Ok(Values::from([
        ("per_second".into(), per_second as f64),
        ("kills".into(), f64::from(KILLS)),
        ("in".into(), total as f64),
        ("completed".into(), out as f64),
        ("repeated".into(), (out - distinct) as f64),
        ("lost".into(), (total - distinct) as f64),
    ]))
}

/// Each kill meets a process that works: a record that was sent after its start has come out.
fn kill_often(victim: &mut dyn Victim, flow: &Flow) -> Result<()> {
    let mut draw = fastrand::Rng::with_seed(SEED);
    for _ in 0..KILLS {
        works(flow)?;
        // The schedule of the fault, not a wait for anything.
        std::thread::sleep(Duration::from_millis(draw.u64(BETWEEN_MS)));
        next_out(flow)?;
        victim.kill_and_start()?;
    }
    works(flow)
}

fn works(flow: &Flow) -> Result<()> {
    let (from, began) = (flow.sent.load(Ordering::SeqCst), Instant::now());
    while flow.reached.load(Ordering::SeqCst) <= from {
        ensure!(began.elapsed() < PATIENCE, "what was sent after a start does not come out");
        // Between two looks at a counter of another thread, within a patience.
        std::thread::sleep(LOOK);
    }
    Ok(())
}

/// Until one more record has come out: what was written with it is not noted yet, if it is not one with the note.
fn next_out(flow: &Flow) -> Result<()> {
    let (from, began) = (flow.out.load(Ordering::SeqCst), Instant::now());
    while flow.out.load(Ordering::SeqCst) == from {
        ensure!(began.elapsed() < PATIENCE, "nothing comes out");
        // Spins: a sleep would be longer than the moment that is to be met.
        std::thread::yield_now();
    }
    Ok(())
}

/// Writes numbers at the rate, whatever comes out.
fn write(brokers: &str, topic: &str, per_second: u64, flow: &Flow) -> Result<()> {
    let producer = Producer::open(brokers, None)?;
    let (begin, mut sent) = (Instant::now(), 0);
    while !flow.over.load(Ordering::SeqCst) {
        let due = (begin.elapsed().as_secs_f64() * per_second as f64) as u64;
        while sent < due {
            let record = Record {
                key: Some(format!("k-{sent}").into_bytes()),
                // The leading words are for a side that wants to know how many steps there are.
                value: Some(value(topic, sent).into_bytes()),
                headers: Vec::new(),
            };
            producer.send(topic, &record)?;
            sent += 1;
            flow.sent.store(sent, Ordering::SeqCst);
        }
        producer.check()?;
        // The rate of the load: what is owed by now is sent in the next turn.
        std::thread::sleep(Duration::from_millis(1));
    }
    producer.acknowledged()
}

/// The number of a record. The twin on Kafka Streams counts its steps by itself, and wants to know how many there are.
fn value(topic: &str, number: u64) -> String {
    if topic.starts_with(STREAMS) { format!("3 {number}") } else { number.to_string() }
}

/// How often each number came out, until all have and nothing more comes.
fn read(reader: &Reader, flow: &Flow) -> Result<HashMap<u64, u64>> {
    let (mut counts, mut last) = (HashMap::new(), Instant::now());
    loop {
        match reader.next(LOOK)? {
            Some(record) => {
                let text = record.value.context("no value")?;
                let number = std::str::from_utf8(&text)?.split(' ').next_back().context("no number")?;
                let number: u64 = number.parse()?;
                *counts.entry(number).or_insert(0) += 1;
                flow.out.fetch_add(1, Ordering::SeqCst);
                flow.reached.fetch_max(number + 1, Ordering::SeqCst);
                last = Instant::now();
            }
            None => {
                let all = counts.len() as u64 >= flow.total.load(Ordering::SeqCst);
                let over = flow.over.load(Ordering::SeqCst);
                if over && last.elapsed() > if all { QUIET } else { PATIENCE } {
                    return Ok(counts);
                }
            }
        }
    }
}
