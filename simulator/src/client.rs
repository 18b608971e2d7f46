//! What clients send: starts, signals, cancels and questions, in an order that the seed chooses; some of it to a lane that
//! is not the right one, as another partitioner would, and now and then a record that is no command.

use crate::lanes::{APP, partition_for};
use crate::profile::Profile;
use crate::program::{self, PROGRAM};
use crate::world::Sim;
use bytes::Bytes;
use fastrand::Rng;
use sakia::codec::command::{self, CommandRecord};
use sakia::codec::headers;
use sakia::core::ids::InstanceKey;
use sakia::core::input::{Command, CommandAsk, ReplyTo, Waiter};
use sakia::lane::Topics;
use sakia::log::NewRecord;

/// What the value of a record begins with that is no command.
pub(crate) const NONSENSE: &str = "nonsense ";

pub(crate) struct Client {
    /// The last one comes first.
    waiting: Vec<Command>,
}

impl Client {
    pub(crate) fn new(profile: &Profile, rng: &mut Rng) -> Self {
        let mut waiting = Vec::new();
        for number in 0..profile.instances {
            let id = format!("i{number}");
            let key = InstanceKey::new(PROGRAM.name(), id.clone());
            let program = match rng.u32(0..5) {
                // Of a later one, so that nobody waits for itself.
                0 => program::rival(rng, &format!("i{}", number + 1)),
                _ => program::random(rng, &id, 2),
            };
            let input = Bytes::from(serde_json::to_vec(&program).unwrap_or_default());
            let mut send = |rng: &mut Rng, ask: CommandAsk| {
                // Anything may come before its start, but mostly does not.
                let at = rng.usize(0..=waiting.len());
                waiting.insert(at, Command { to: key.clone(), ask });
            };
            for _ in 0..rng.usize(1..=2) {
                let waiter = rng.bool().then(|| Waiter::Client(reply_to(rng)));
                send(rng, CommandAsk::Start { input: input.clone(), waiter });
            }
            for _ in 0..rng.usize(0..=3) {
                let payload = Bytes::from(format!("\"s{}\"", rng.u32(0..1_000)));
                send(rng, CommandAsk::Signal { name: "go".into(), payload });
            }
            if rng.u32(0..4) == 0 {
                let reply = Some(reply_to(rng));
                send(rng, CommandAsk::Cancel { by: None, reply });
            }
            if rng.u32(0..3) == 0 {
                let waiter = Waiter::Client(reply_to(rng));
                send(rng, CommandAsk::Await(waiter));
            }
        }
        Client { waiting }
    }

    pub(crate) fn is_done(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Sends the next command.
    pub(crate) fn send(&mut self, sim: &Sim) {
        let Some(command) = self.waiting.pop() else { return };
        let mut rng = sim.world().rng.fork();
        if rng.u32(0..6) == 0 {
            produce_nonsense(sim, &command, &mut rng);
        }
        let lanes = sim.world().profile.lanes;
        let right = lane_of(&command, lanes);
        let lane = if rng.u32(0..6) == 0 { rng.i32(0..lanes) } else { right };
        produce_command(sim, &command, lane, if lane == right { "" } else { " by a wrong partitioner" });
    }

    pub(crate) fn cancel(&self, sim: &Sim, key: &InstanceKey) {
        let command = Command { to: key.clone(), ask: CommandAsk::Cancel { by: None, reply: None } };
        let lane = lane_of(&command, sim.world().profile.lanes);
        produce_command(sim, &command, lane, "");
    }
}

fn reply_to(rng: &mut Rng) -> ReplyTo {
    ReplyTo { partition: 0, correlation: Bytes::from(format!("c{}", rng.u32(..))) }
}

fn lane_of(command: &Command, lanes: i32) -> i32 {
    partition_for(command.to.id.as_bytes(), lanes)
}

fn produce_command(sim: &Sim, command: &Command, lane: i32, how: &str) {
    let what = match &command.ask {
        CommandAsk::Start { input, .. } => format!("start {}", String::from_utf8_lossy(input)),
        other => format!("{other:?}"),
    };
    produce(sim, command::encode(command), lane, &format!("to {}{how}: {what}", command.to));
}

/// A record that is almost this command.
fn produce_nonsense(sim: &Sim, command: &Command, rng: &mut Rng) {
    let mut record = command::encode(command);
    record.value = Some(Bytes::from(format!("{NONSENSE}{:x}", rng.u64(..))));
    spoil(&mut record, rng);
    if command::decode(Some(&record.key), record.value.as_ref(), &record.headers).is_err() {
        let lane = rng.i32(0..sim.world().profile.lanes);
        let what = format!("that is none: {:?} {:?}", record.key, record.headers);
        produce(sim, record, lane, &what);
    }
}

fn spoil(record: &mut CommandRecord, rng: &mut Rng) {
    let at = rng.usize(0..record.headers.len());
    let (name, value) = &mut record.headers[at];
    let mut bytes = value.to_vec();
    match rng.u32(0..5) {
        0 => drop(record.headers.remove(at)),
        1 => record.key = Bytes::from_static(b"\xff"),
        2 => *name = headers::PARENT.into(),
        3 => {
            bytes.truncate(rng.usize(0..=bytes.len()));
            *value = Bytes::from(bytes);
        }
        _ => {
            if let Some(byte) = rng.choice(&mut bytes) {
                *byte = rng.u8(..);
            }
            *value = Bytes::from(bytes);
        }
    }
}

fn produce(sim: &Sim, record: CommandRecord, lane: i32, what: &str) {
    let mut world = sim.world();
    let topic = Topics::of(APP).commands;
    let record = NewRecord {
        topic: topic.clone(),
        partition: Some(lane),
        key: Some(record.key),
        value: record.value,
        headers: record.headers,
    };
    let now_ms = world.now_ms();
    let offset = world.broker.produce_plain(&(topic, lane), &record, now_ms);
    world.note(format_args!("a client sends command {offset} of lane {lane} {what}"));
}
