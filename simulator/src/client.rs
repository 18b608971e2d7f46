//! What clients send: starts, signals, cancels and questions, in an order that the seed chooses.

use crate::lanes::{APP, partition_for};
use crate::profile::Profile;
use crate::program::{self, PROGRAM};
use crate::world::Sim;
use bytes::Bytes;
use fastrand::Rng;
use sakia::codec::command;
use sakia::core::ids::InstanceKey;
use sakia::core::input::{Command, CommandAsk, ReplyTo, Waiter};
use sakia::lane::Topics;
use sakia::log::NewRecord;

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
        if let Some(command) = self.waiting.pop() {
            produce(sim, &command);
        }
    }

    pub(crate) fn cancel(&self, sim: &Sim, key: &InstanceKey) {
        produce(sim, &Command { to: key.clone(), ask: CommandAsk::Cancel { by: None, reply: None } });
    }
}

fn reply_to(rng: &mut Rng) -> ReplyTo {
    ReplyTo { partition: 0, correlation: Bytes::from(format!("c{}", rng.u32(..))) }
}

fn produce(sim: &Sim, command: &Command) {
    let mut world = sim.world();
    let lane = partition_for(command.to.id.as_bytes(), world.profile.lanes);
    let topic = Topics::of(APP).commands;
    let encoded = command::encode(command);
    let record = NewRecord {
        topic: topic.clone(),
        partition: Some(lane),
        key: Some(encoded.key),
        value: encoded.value,
        headers: encoded.headers,
    };
    let now_ms = world.now_ms();
    let offset = world.broker.produce_plain(&(topic, lane), &record, now_ms);
    let what = match &command.ask {
        CommandAsk::Start { input, .. } => format!("start {}", String::from_utf8_lossy(input)),
        other => format!("{other:?}"),
    };
    world.note(format_args!("a client sends command {offset} of lane {lane} to {}: {what}", command.to));
}
