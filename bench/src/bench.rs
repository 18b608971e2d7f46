//! The course of a run: what is started when, and what is measured in turn.

use crate::Options;
use crate::client::Work;
use crate::cluster::{self, Broker, Kafka, Shape, start_embedded};
use crate::floor::{Floor, Measured};
use crate::peer::Installed;
use crate::plan::{self, CLOSED, Closed, STEPS};
use crate::results::Results;
use crate::sides::{Side, Stage};
use crate::subject::{Make, Places, Subject};
use crate::workloads::{self, Curves};
use anyhow::Result;
use std::time::{Duration, Instant};

/// Rounds that may be added for those in which the machine changed its speed.
const EXTRA_ROUNDS: usize = 5;
const WARM_UP: Duration = Duration::from_secs(3);

/// Ports of the things that run at the same time, counted from the first.
mod port {
    pub(super) const KAFKA: u16 = 0;
    pub(super) const FLUSHED: u16 = 30;
    pub(super) const EMBEDDED: u16 = 60;
    pub(super) const PEERS: u16 = 100;
    pub(super) const PER_PEER: u16 = 20;
}

/// All that a run has found out.
pub(crate) struct Outcome {
    /// Everything that has a workload's name.
    pub(crate) results: Results,
    /// For drawings.
    pub(crate) curves: Curves,
    /// Beside bare Kafka.
    pub(crate) floor: Option<Measured>,
    /// Versions and settings, line by line.
    pub(crate) about: Vec<String>,
}

/// Measures all that is wanted. What fails is noted, and the rest goes on.
pub(crate) fn run(options: &Options) -> Result<Outcome> {
    let places = options.places();
    let (results, curves, floor) = (Results::default(), Curves::default(), None);
    let mut outcome = Outcome { results, curves, floor, about: options.about.clone() };
    outcome.results.log = Some(options.folder.join("samples.jsonl"));
    let cells: Vec<&Closed> = CLOSED.iter().filter(|cell| options.wants(cell.name)).collect();
    if (!cells.is_empty() || options.wants("step"))
        && let Err(why) = in_turn(options, &places, &cells, &mut outcome)
    {
        outcome.results.fail("what is measured in turn", &why);
    }
    workloads::run(options, &mut outcome)?;
    Ok(outcome)
}

/// Everything that is measured in turn, on all sides.
fn in_turn(options: &Options, places: &Places, cells: &[&Closed], outcome: &mut Outcome) -> Result<()> {
    let mut main = stage(places, plan::SAKIA)?;
    let mut floor = if options.wants("step") { Some(Floor::connect(&mut main)?) } else { None };
    let mut sides = vec![Side::Sakia(Box::new(main))];
    others(options, places, cells, &mut sides, outcome);
    warm_up(options, &mut sides, floor.as_mut(), cells)?;
    for round in 0..options.rounds + EXTRA_ROUNDS {
        if round < options.rounds
            && let (Some(floor), Some(Side::Sakia(main))) = (&mut floor, sides.first_mut())
        {
            floor.round(main)?;
        }
        for cell in cells {
            if round < options.rounds || lacks_rounds(options, cell, &outcome.results) {
                one_round(cell, round, &mut sides, outcome);
            }
        }
    }
    if let (Some(floor), Some(Side::Sakia(main))) = (floor, sides.first_mut()) {
        outcome.floor = Some(floor.finish(main)?);
    }
    // The broker of the first side is that of peers too.
    while sides.pop().is_some() {}
    Ok(())
}

/// Whether too few rounds of a workload met one and the same machine.
fn lacks_rounds(options: &Options, cell: &Closed, results: &Results) -> bool {
    results.doubtful(cell.name) || results.rounds(cell.name).0.len() < options.rounds
}

/// A workload on all sides, one right after the other. Each round begins with another side.
fn one_round(cell: &Closed, round: usize, sides: &mut [Side], outcome: &mut Outcome) {
    let count = sides.len();
    for turn in 0..count {
        let side = &mut sides[(round + turn) % count];
        if !plan::runs(side.name(), cell.name) {
            continue;
        }
        let measured = thawed(side, |side| side.measure(cell, round));
        match measured {
            Ok(sample) => outcome.results.add(sample),
            Err(why) => outcome.results.fail(&format!("{} on {}", cell.name, side.name()), &why),
        }
    }
}

/// Peers whose idle processes do much wait frozen; Restate's do not, and it would think that a node was lost.
fn freezes(side: &Side) -> bool {
    matches!(side, Side::Peer(peer) if peer.name() != plan::RESTATE)
}

fn thawed<T>(side: &mut Side, work: impl FnOnce(&mut Side) -> Result<T>) -> Result<T> {
    let freeze = |side: &Side, frozen: bool| match side {
        Side::Peer(peer) if freezes(side) => peer.freeze(frozen),
        _ => Ok(()),
    };
    freeze(side, false)?;
    let done = work(side);
    freeze(side, true)?;
    done
}

/// The app on a broker of its own kind.
fn stage(places: &Places, name: &'static str) -> Result<Stage> {
    let kafka = |offset: u16, settings: &[&str]| -> Result<Broker> {
        let shape = Shape { port: places.port + offset, brokers: 1, settings };
        Ok(Broker::Kafka(Kafka::start(&places.kafka, shape)?))
    };
    let broker = match name {
        plan::FLUSHED => kafka(port::FLUSHED, &["log.flush.interval.messages=1"])?,
        plan::EMBEDDED => start_embedded(&places.sakia, places.port + port::EMBEDDED, &places.folder)?,
        _ => kafka(port::KAFKA, cluster::SETTINGS)?,
    };
    let subject = Subject::start(places, &broker, Make::of(name))?;
    Ok(Stage { name, client: subject.client()?, subject, broker })
}

/// Adds the other brokers and the peers. What cannot be had is noted.
fn others(
    options: &Options,
    places: &Places,
    cells: &[&Closed],
    sides: &mut Vec<Side>,
    outcome: &mut Outcome,
) {
    let needed = |name: &str| cells.iter().any(|cell| plan::runs(name, cell.name));
    let (kafka, broker) = match sides.first() {
        Some(Side::Sakia(main)) => (main.broker.bootstrap().to_owned(), main.broker.watched()),
        _ => return,
    };
    for (number, name) in plan::PEERS.iter().enumerate() {
        if !needed(name) || !options.peers.iter().any(|peer| peer == name) {
            continue;
        }
        let port = places.port + port::PEERS + port::PER_PEER * number as u16;
        let started =
            Installed::get(name, &places.peers, &places.cache, port, &kafka).and_then(|installed| {
                outcome.about.extend(installed.about()?);
                let peer = installed.start()?;
                Ok(if *name == plan::STREAMS { peer.shares(broker.clone()) } else { peer })
            });
        match started {
            Ok(peer) => sides.push(Side::Peer(Box::new(peer))),
            Err(why) => outcome.results.fail(name, &why),
        }
    }
    for name in [plan::FLUSHED, plan::EMBEDDED] {
        if needed(name) {
            match stage(places, name) {
                Ok(stage) => sides.push(Side::Sakia(Box::new(stage))),
                Err(why) => outcome.results.fail(name, &why),
            }
        }
    }
}

fn warm_up(
    options: &Options,
    sides: &mut [Side],
    mut floor: Option<&mut Floor>,
    cells: &[&Closed],
) -> Result<()> {
    eprintln!("bench: warming up");
    for side in sides.iter_mut() {
        // The peers need less: only the brokers and Kafka Streams are JVMs, and the peers' rounds have ramps.
        let share = if side.name() == plan::SAKIA { 1.0 } else { 0.3 };
        let end = Instant::now() + Duration::from_secs_f64(options.warm_up_s as f64 * share);
        let name = side.name().to_owned();
        let mut cells = cells.iter().filter(|cell| plan::runs(&name, cell.name)).copied().cycle();
        thawed(side, |side| {
            while Instant::now() < end {
                match side {
                    Side::Sakia(stage) => {
                        stage.client.closed_loop(Work::Chain(STEPS), 64, Duration::ZERO, WARM_UP)?;
                        if let Some(floor) = floor.as_deref_mut().filter(|_| stage.name == plan::SAKIA) {
                            floor.warm_up(stage)?;
                        }
                    }
                    Side::Peer(peer) => {
                        let Some(cell) = cells.next() else { break };
                        peer.load(cell.peer_work, cell.in_flight as u64, 0.0, WARM_UP.as_secs_f64())?;
                    }
                }
            }
            Ok(())
        })?;
    }
    Ok(())
}
