//! The simulated Kafka behind the traits of the log. Every call travels: it may be lost on the way there or back, and
//! others go on meanwhile.

mod checkpoints;
mod journal;
mod reader;

use crate::broker::{Place, Refusal};
use crate::host::SimHost;
use crate::profile::Profile;
use crate::task::Pause;
use crate::world::World;
use checkpoints::SimCheckpoints;
use journal::SimJournal;
use reader::SimReader;
use sakia::core::mutation::{Mutation, mutated};
use sakia::log::{
    Checkpoints, Isolation, JournalAcks, LaneNames, LaneWriter, Log, LogError, LogReader, OffsetRange,
};
use std::sync::Arc;
use std::time::Duration;

/// How long a client waits for an answer.
const ANSWER_WAIT: Duration = Duration::from_millis(700);

/// The log as one process sees it.
pub(crate) struct SimLog {
    pub(crate) host: SimHost,
}

/// Nobody knows what became of a request.
struct Unclear;

/// Sends a request, which the broker performs unless it is lost.
fn ask<T>(host: &SimHost, request: impl FnOnce(&mut World) -> T) -> Result<T, Unclear> {
    host.pause(Pause::Go);
    if !host.is_alive() {
        return Err(Unclear);
    }
    let (lost, silent) = {
        let mut world = host.sim.world();
        let (lost, silent) = (world.profile.request_lost, world.profile.answer_lost);
        (world.fault(lost), world.fault(silent))
    };
    if lost {
        host.sim.world().note(format_args!("a request of process {} is lost", host.process));
        host.sleep(ANSWER_WAIT);
        return Err(Unclear);
    }
    let (answer, generation) = {
        let mut world = host.sim.world();
        (request(&mut world), world.broker.generation)
    };
    host.pause(Pause::Go);
    let silent = silent || host.sim.world().broker.generation != generation;
    if silent {
        host.sim.world().note(format_args!("an answer to process {} is lost", host.process));
        host.sleep(ANSWER_WAIT);
        return Err(Unclear);
    }
    if host.is_alive() { Ok(answer) } else { Err(Unclear) }
}

/// Asks again as long as the last transaction of the id is not finished.
fn ask_until_free<T>(
    host: &SimHost,
    mut request: impl FnMut(&mut World) -> Result<T, Refusal>,
) -> Result<Result<T, Refusal>, Unclear> {
    loop {
        match ask(host, &mut request)? {
            Err(Refusal::Concurrent) => {}
            answer => return Ok(answer),
        }
    }
}

/// Lets a request be under way for up to so many milliseconds, so often per mille.
fn dawdle(host: &SimHost, often: fn(&Profile) -> u32, most_ms: u64) {
    let slow = {
        let mut world = host.sim.world();
        let often = often(&world.profile);
        world.fault(often).then(|| Duration::from_millis(world.rng.u64(1..most_ms)))
    };
    host.sleep(slow.unwrap_or_default());
}

fn unavailable(what: &str) -> LogError {
    LogError::Unavailable(format!("{what}: no answer"))
}

fn lost(what: &str, why: impl std::fmt::Debug) -> LogError {
    LogError::Lost(format!("{what}: {why:?}"))
}

impl Log for SimLog {
    fn open_lane(
        &self,
        names: &LaneNames,
        acks: Arc<dyn JournalAcks>,
        _: Duration,
    ) -> Result<LaneWriter, LogError> {
        let mut epochs = [0; 3];
        let mut order = [0, 1, 2];
        self.host.sim.world().rng.shuffle(&mut order[1..]);
        if mutated(Mutation::FenceJournalLast) {
            order.rotate_left(1);
        }
        let ids = ["journal", "a", "b"]
            .map(|role| Arc::<str>::from(format!("{}-{}-{role}", names.app, names.partition)));
        for at in order {
            dawdle(&self.host, |profile| profile.slow_fence, 3_000);
            let bump = match at {
                0 => !mutated(Mutation::FenceCheckpointsOnly) && !mutated(Mutation::FactEpochIgnored),
                _ => !mutated(Mutation::FenceJournalOnly),
            };
            let fenced = ask_until_free(&self.host, |world| {
                let answer = world.broker.init(&ids[at], bump);
                world.note(format_args!("process {} fences {}: {answer:?}", self.host.process, ids[at]));
                answer
            });
            epochs[at] = match fenced {
                Ok(Ok(epoch)) => epoch,
                Ok(Err(refusal)) => return Err(lost("init", refusal)),
                Err(Unclear) => return Err(unavailable("init")),
            };
        }
        let [journal, a, b] = ids;
        let [journal_epoch, a_epoch, b_epoch] = epochs;
        let place: Place = (names.journal.clone(), names.partition);
        let journal = SimJournal::connect(self.host.clone(), (journal, journal_epoch), place, acks);
        let checkpoints = [(a, a_epoch), (b, b_epoch)]
            .map(|id| -> Box<dyn Checkpoints> { Box::new(SimCheckpoints::new(self.host.clone(), id)) });
        Ok(LaneWriter { journal: Box::new(journal), checkpoints })
    }

    fn offsets(&self, topic: &str, partition: i32, isolation: Isolation) -> Result<OffsetRange, LogError> {
        let place = (Arc::from(topic), partition);
        let range = ask(&self.host, |world| {
            let range = world.broker.range(&place, isolation);
            let (process, OffsetRange { start, end }) = (self.host.process, range);
            world.note(format_args!(
                "process {process} asks for {topic} {partition}, {isolation:?}: {start}..{end}"
            ));
            range
        });
        range.map_err(|Unclear| unavailable("offsets"))
    }

    fn read(
        &self,
        topic: &str,
        partition: i32,
        from: i64,
        isolation: Isolation,
    ) -> Result<Box<dyn LogReader>, LogError> {
        Ok(Box::new(SimReader::new(self.host.clone(), (Arc::from(topic), partition), from, isolation)))
    }

    fn trim(&self, topic: &str, partition: i32, before: i64) -> Result<(), LogError> {
        let place: Place = (Arc::from(topic), partition);
        ask(&self.host, |world| {
            world.note(format_args!("{topic} {partition} is trimmed before {before}"));
            world.broker.delete_before(&place, before);
        })
        .map_err(|Unclear| unavailable("trim"))
    }
}
