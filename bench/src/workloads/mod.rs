//! What is not a closed loop: each file is one workload, on an app and often a cluster of its own.

mod bare_lanes;
mod history;
pub(crate) mod lanes;
mod pipeline;
pub(crate) mod pipeline_killed;
pub(crate) mod recovery;
pub(crate) mod restore;
mod soak;
mod suspended;
mod timers;

use crate::Options;
use crate::bench::Outcome;
use crate::client::{Client, Work};
use crate::cluster::{self, Broker, Kafka, Shape};
use crate::kafka;
use crate::peer::Installed;
use crate::plan::{self, STEPS};
use crate::results::Results;
use crate::subject::{Make, Places, Subject};
use anyhow::Result;
use std::collections::BTreeMap;
use std::time::Duration;

/// Points of a drawing, by the name of the line.
pub(crate) type Curves = BTreeMap<String, Vec<(f64, f64)>>;

/// Time for a new broker's JVM to compile what it does often: after 15 s it still took three times the CPU time for a step.
/// Three of them on two cores need longer.
const JVM_WARM_UP: Duration = Duration::from_secs(60);
const JVMS_WARM_UP: Duration = Duration::from_secs(90);
/// Time for a new app.
const WARM_UP: Duration = Duration::from_secs(3);

/// What all of them stand on.
pub(crate) struct Ground<'a> {
    options: &'a Options,
    places: Places,
    broker: Broker,
    restate: Option<Installed>,
    temporal: Option<Installed>,
    streams: Option<Installed>,
}

/// Runs those that are wanted, one after the other. What fails is noted.
pub(crate) fn run(options: &Options, outcome: &mut Outcome) -> Result<()> {
    type Workload = fn(&Ground<'_>, &mut Results, &mut Curves) -> Result<()>;
    let all: [(&str, Workload); 9] = [
        ("L", history::run),
        ("K", pipeline::run),
        ("R", recovery::run),
        ("X", lanes::run),
        ("T", timers::ten_thousand),
        ("T1M", timers::a_million),
        ("M", suspended::run),
        ("D", restore::run),
        ("Z", soak::run),
    ];
    let wanted: Vec<_> = all.into_iter().filter(|(name, _)| options.wants(name)).collect();
    if wanted.is_empty() {
        return Ok(());
    }
    let places = options.places();
    let shape = Shape { port: places.port, brokers: 1, settings: cluster::SETTINGS };
    let broker = Broker::Kafka(Kafka::start(&places.kafka, shape)?);
    let peer = |name: &str, number: u16| -> Option<Installed> {
        if !options.peers.iter().any(|peer| peer == name) {
            return None;
        }
        let port = places.port + 100 + 20 * number;
        Installed::get(name, &places.peers, &places.cache, port, broker.bootstrap()).ok()
    };
    let (restate, streams) = (peer(plan::RESTATE, 0), peer(plan::STREAMS, 2));
    // Needed only by K, and large.
    let temporal = options.wants("K").then(|| peer(plan::TEMPORAL, 1)).flatten();
    let ground = Ground { options, places, broker, restate, temporal, streams };
    warm_brokers(&ground, &ground.broker, 1, JVM_WARM_UP)?;
    for (name, workload) in wanted {
        if let Err(why) = workload(&ground, &mut outcome.results, &mut outcome.curves) {
            outcome.results.fail(name, &why);
        }
        // Half an hour of load needs room on the disk.
        kafka::delete_topics(ground.broker.bootstrap())?;
    }
    Ok(())
}

fn warm_brokers(ground: &Ground<'_>, broker: &Broker, copies: i32, length: Duration) -> Result<()> {
    eprintln!("bench: warming up");
    // A state folder belongs to one cluster.
    let make = Make { copies, ..Make::of(&format!("warm-up-{copies}")) };
    let subject = Subject::start(&ground.places, broker, make)?;
    subject.client()?.closed_loop(Work::Chain(STEPS), 64, Duration::ZERO, length).map(drop)
}

fn warm_up(client: &mut Client) -> Result<()> {
    client.closed_loop(Work::Chain(STEPS), 64, Duration::ZERO, WARM_UP).map(drop)
}
