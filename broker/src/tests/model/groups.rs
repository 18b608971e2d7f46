//! Consumer groups: random members that join, work, pause, die, leave and come back, as processes that follow the
//! protocol do. What they are told is compared with what they were told before; nobody looks inside the broker.
use super::requests::{self, text};
use crate::api::Call;
use crate::config::BrokerConfig;
use crate::group::{JoinReply, JoinRequest, JoinStep, SyncReply, SyncStep};
use crate::node::Node;
use crate::state::TopicPartition;
use crate::store::{Changes, Store};
use crate::time::Time;
use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::{GroupId, HeartbeatRequest, LeaveGroupRequest};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

const GROUP: &str = "g";
const SESSION_MS: i64 = 6_000;
const REBALANCE_MS: i64 = 9_000;
const TICK_MS: i64 = 500;
const STEPS: usize = 250;
const SLOTS: usize = 4;

/// Where a process stands.
#[derive(Clone, Debug, PartialEq)]
enum Stage {
    Out,
    Joining,
    Joined(JoinReply),
    Syncing,
    Working,
    Dead,
}

#[derive(Clone, Debug)]
struct Process {
    name: String,
    instance: Option<String>,
    /// Empty until the broker gave one.
    member: String,
    generation: i32,
    stage: Stage,
    /// Has asked to be in the next generation and was not answered yet. Who dies then is still counted once.
    asked: bool,
    /// A newer process of the same name has joined.
    replaced: bool,
}

/// What was said of one generation.
#[derive(Default, Debug)]
struct Generation {
    leader: Option<String>,
    listed: BTreeSet<String>,
    /// Listed, and not waiting for it.
    strangers: BTreeSet<String>,
    /// Assignments that the leader sent; none until then.
    assigned: Option<BTreeMap<String, Bytes>>,
}

struct World {
    dice: StdRng,
    node: Node,
    time: Time,
    processes: Vec<Process>,
    generations: BTreeMap<i32, Generation>,
    offset: i64,
    trace: Vec<String>,
    born: usize,
}

fn tp() -> TopicPartition {
    ("t".to_owned(), 0)
}

impl World {
    fn new(seed: u64) -> Self {
        let config = BrokerConfig::default();
        let time = Time::standing(10_000_000);
        let store = Arc::new(Store::open(&config).unwrap());
        let node = Node::over(store, config, 0, time.clone()).unwrap();
        let mut changes = Changes::default();
        node.state().grow_topic("t", 1, None, &mut changes);
        node.store.commit(changes).unwrap();
        let dice = StdRng::seed_from_u64(seed);
        let (processes, generations) = (Vec::new(), BTreeMap::new());
        Self { dice, node, time, processes, generations, offset: -1, trace: Vec::new(), born: 0 }
    }

    fn coin(&mut self, chance: f64) -> bool {
        self.dice.random_bool(chance)
    }

    fn note(&mut self, at: usize, what: &str) {
        let p = &self.processes[at];
        self.trace.push(format!("{} ({}, generation {}) {what}", p.name, p.member, p.generation));
    }

    fn is_live(p: &Process) -> bool {
        p.stage != Stage::Dead && !p.replaced
    }

    fn step(&mut self) {
        let live = self.processes.iter().filter(|p| Self::is_live(p)).count();
        if live < SLOTS && self.coin(0.2) {
            return self.start();
        }
        if self.coin(0.3) {
            let ms = self.dice.random_range(50..TICK_MS);
            return self.pass(ms);
        }
        if self.processes.is_empty() {
            return;
        }
        let at = self.dice.random_range(0..self.processes.len());
        match self.dice.random_range(0..100) {
            0..2 => self.die(at),
            2..5 => self.leave(at),
            5..20 => self.commit(at),
            _ => self.go_on(at),
        }
    }

    /// A new process: a dynamic member, or the next one of a static name whose last process may still be there.
    fn start(&mut self) {
        self.born += 1;
        let name = format!("c{:03}", self.born);
        let instance = self.coin(0.5).then(|| format!("i{}", self.dice.random_range(0..2)));
        let stage = Stage::Out;
        let (member, generation) = (String::new(), -1);
        self.processes.push(Process {
            name,
            instance,
            member,
            generation,
            stage,
            asked: false,
            replaced: false,
        });
    }

    fn pass(&mut self, ms: i64) {
        self.time.pass(ms);
        self.node.groups.tick(self.time.instant());
    }

    fn die(&mut self, at: usize) {
        self.note(at, "dies");
        self.processes[at].stage = Stage::Dead;
    }

    /// One step of the protocol.
    fn go_on(&mut self, at: usize) {
        match self.processes[at].stage.clone() {
            Stage::Dead => {}
            Stage::Out => self.join(at),
            Stage::Joining => self.await_join(at),
            Stage::Joined(reply) => self.sync(at, &reply),
            Stage::Syncing => self.await_sync(at),
            Stage::Working => self.beat(at),
        }
    }

    fn join(&mut self, at: usize) {
        let p = self.processes[at].clone();
        let request = JoinRequest {
            member_id: p.member.clone(),
            instance: p.instance.clone(),
            client_id: p.name.clone(),
            protocol_type: "consumer".to_owned(),
            protocols: vec![("range".to_owned(), Bytes::from(p.name.clone()))],
            session: Duration::from_millis(SESSION_MS.unsigned_abs()),
            rebalance: Duration::from_millis(REBALANCE_MS.unsigned_abs()),
            id_required: true,
            initial_delay: Duration::from_millis(100),
        };
        let step = {
            let mut groups = self.node.groups.lock();
            groups.entry(GROUP.to_owned()).or_default().join(&request, self.time.instant())
        };
        self.note(at, &format!("joins -> {step:?}"));
        if p.member.is_empty() && !matches!(step, JoinStep::Done(Err(_))) {
            // as a new one: perhaps it had been replaced, and the other one has left since
            self.processes[at].replaced = false;
        }
        match step {
            JoinStep::Wait(id) => {
                self.processes[at].member = id;
                self.processes[at].stage = Stage::Joining;
                self.processes[at].asked = true;
                self.replace_older(at);
            }
            JoinStep::Done(Ok(reply)) => {
                self.replace_older(at);
                self.joined(at, reply);
            }
            JoinStep::Done(Err(refused)) => self.refused(at, refused.error, &refused.member_id),
        }
    }

    /// From now on only this process may act under its static name.
    fn replace_older(&mut self, at: usize) {
        let (instance, member) = (self.processes[at].instance.clone(), self.processes[at].member.clone());
        let Some(instance) = instance else { return };
        for p in &mut self.processes {
            p.replaced |=
                p.instance.as_ref() == Some(&instance) && p.member != member && !p.member.is_empty();
        }
    }

    fn refused(&mut self, at: usize, error: ResponseError, member: &str) {
        let p = &mut self.processes[at];
        p.asked = false;
        match error {
            ResponseError::MemberIdRequired => {
                assert!(p.member.is_empty() && p.instance.is_none(), "told an id twice");
                p.member = member.to_owned();
            }
            ResponseError::UnknownMemberId => p.member.clear(),
            ResponseError::RebalanceInProgress | ResponseError::IllegalGeneration => {}
            ResponseError::FencedInstanceId => {
                assert!(p.instance.is_some(), "a dynamic member was fenced by name");
                assert!(p.replaced, "the newest process of a static name was fenced");
                p.stage = Stage::Dead;
                return;
            }
            other => panic!("{} was refused with {other:?}", p.name),
        }
        p.stage = Stage::Out;
    }

    fn await_join(&mut self, at: usize) {
        let p = self.processes[at].clone();
        let result = {
            let groups = self.node.groups.lock();
            groups.get(GROUP).and_then(|g| g.joined(&p.member, p.instance.as_deref()))
        };
        match result {
            None => {}
            Some(Ok(reply)) => self.joined(at, reply),
            Some(Err(refused)) => self.refused(at, refused.error, ""),
        }
    }

    fn joined(&mut self, at: usize, reply: JoinReply) {
        self.note(at, &format!("is in generation {} led by {}", reply.generation, reply.leader));
        let kept_place = self.processes[at].stage == Stage::Out && self.processes[at].instance.is_some();
        let newest = self.generations.keys().last().copied().unwrap_or(0);
        assert!(reply.generation >= newest, "generation {} after {newest}", reply.generation);
        assert!(!self.processes[at].replaced, "a replaced process is let in");
        let waiting: BTreeSet<String> = self
            .processes
            .iter()
            .filter(|p| p.asked || p.generation == reply.generation || p.instance.is_some())
            .map(|p| p.member.clone())
            .collect();
        let own = self.generations.entry(reply.generation).or_default();
        if reply.leader == reply.member_id {
            let listed: BTreeSet<String> = reply.members.iter().map(|(id, _, _)| id.clone()).collect();
            assert!(
                own.leader.is_none() || kept_place || own.leader.as_ref() == Some(&reply.leader),
                "two leaders"
            );
            assert!(listed.contains(&reply.member_id), "a leader that is no member");
            // A leader that is answered late may hear of members of the next generation; then its own is over.
            if own.leader.is_none() {
                own.strangers =
                    listed.difference(&waiting).filter(|id| **id != reply.member_id).cloned().collect();
            }
            own.leader = Some(reply.leader.clone());
            own.listed.extend(listed);
        }
        own.listed.insert(reply.member_id.clone());
        let p = &mut self.processes[at];
        p.member.clone_from(&reply.member_id);
        p.generation = reply.generation;
        p.asked = false;
        p.stage = Stage::Joined(reply);
        self.replace_older(at);
    }

    fn sync(&mut self, at: usize, reply: &JoinReply) {
        let p = self.processes[at].clone();
        let assignments: Vec<(String, Bytes)> = if reply.leader == p.member {
            // a leader with fewer partitions than members has nothing for some
            let all: Vec<String> = reply.members.iter().map(|(id, _, _)| id.clone()).collect();
            all.into_iter()
                .filter(|_| self.dice.random_bool(0.8))
                .map(|id| (id.clone(), Bytes::from(format!("{} of {}", id, p.generation))))
                .collect()
        } else {
            Vec::new()
        };
        let step = {
            let (mut groups, now) = (self.node.groups.lock(), self.time.instant());
            let group = groups.entry(GROUP.to_owned()).or_default();
            group.sync(&p.member, p.instance.as_deref(), p.generation, &assignments, now)
        };
        self.note(at, &format!("syncs -> {step:?}"));
        match step {
            SyncStep::Wait => self.processes[at].stage = Stage::Syncing,
            SyncStep::Done(Ok(found)) => {
                let own = self.generations.entry(p.generation).or_default();
                if reply.leader == p.member && own.assigned.is_none() {
                    assert!(own.strangers.is_empty(), "members that did not come back: {:?}", own.strangers);
                    own.assigned = Some(assignments.into_iter().collect());
                }
                self.assigned(at, &found);
            }
            SyncStep::Done(Err(error)) => self.refused(at, error, ""),
        }
    }

    fn await_sync(&mut self, at: usize) {
        let p = self.processes[at].clone();
        let result = {
            let groups = self.node.groups.lock();
            groups.get(GROUP).and_then(|g| g.synced(&p.member, p.instance.as_deref(), p.generation))
        };
        match result {
            None => {}
            Some(Ok(found)) => self.assigned(at, &found),
            Some(Err(error)) => self.refused(at, error, ""),
        }
    }

    fn assigned(&mut self, at: usize, found: &SyncReply) {
        self.note(at, &format!("is assigned {:?}", found.assignment));
        let p = &mut self.processes[at];
        assert!(!p.replaced, "a replaced process is assigned something");
        p.stage = Stage::Working;
        let assigned = self.generations.get(&p.generation).and_then(|g| g.assigned.as_ref());
        let assigned = assigned.unwrap_or_else(|| panic!("assigned before the leader did"));
        let is_static = p.instance.is_some();
        let expected = assigned.get(&p.member).cloned().unwrap_or_default();
        // a static member that came back has the place of the one before it, under another id
        let inherited = is_static && assigned.values().any(|a| *a == found.assignment);
        assert!(found.assignment == expected || inherited, "not what the leader assigned: {expected:?}");
    }

    fn beat(&mut self, at: usize) {
        let p = self.processes[at].clone();
        let request = HeartbeatRequest::default()
            .with_group_id(GroupId(text(GROUP)))
            .with_generation_id(p.generation)
            .with_member_id(text(&p.member))
            .with_group_instance_id(p.instance.as_deref().map(text));
        let call = Call { node: &self.node, version: 4, client_id: "model", refusal: None };
        let code = call.heartbeat(request).error_code;
        match ResponseError::try_from_code(code) {
            None => self.assert_current(at, "a heartbeat"),
            Some(error) => {
                self.note(at, &format!("beats -> {error:?}"));
                self.refused(at, error, "");
            }
        }
    }

    /// Whoever the broker takes something from must be in the newest generation and not replaced.
    fn assert_current(&self, at: usize, what: &str) {
        let p = &self.processes[at];
        let newest = self.generations.keys().last().copied().unwrap_or(0);
        assert_eq!(p.generation, newest, "{what} of an old generation is taken, from {}", p.name);
        assert!(!p.replaced, "{what} of a replaced process is taken, from {}", p.name);
    }

    fn commit(&mut self, at: usize) {
        let p = self.processes[at].clone();
        if p.member.is_empty() || p.generation < 0 {
            return;
        }
        let offset = self.dice.random_range(0..1000);
        let member = (p.member.as_str(), p.instance.as_deref(), p.generation);
        let result = requests::remember(&self.node, GROUP, member, &tp(), offset);
        self.note(at, &format!("commits {offset} -> {result:?}"));
        match result {
            Ok(()) => {
                self.assert_current(at, "an offset");
                self.offset = offset;
            }
            Err(error) if p.stage == Stage::Working => {
                assert!(
                    error != ResponseError::FencedInstanceId || p.replaced,
                    "the newest process of a static name was fenced"
                );
            }
            Err(_) => {}
        }
        let stored = requests::remembered(&self.node, GROUP, &tp(), true);
        assert_eq!(stored, Ok(self.offset), "offset of the group");
    }

    fn leave(&mut self, at: usize) {
        let p = self.processes[at].clone();
        if p.stage != Stage::Working || p.replaced {
            return;
        }
        let member = MemberIdentity::default()
            .with_member_id(text(&p.member))
            .with_group_instance_id(p.instance.as_deref().map(text));
        let request =
            LeaveGroupRequest::default().with_group_id(GroupId(text(GROUP))).with_members(vec![member]);
        let call = Call { node: &self.node, version: 4, client_id: "model", refusal: None };
        let code = call.leave_group(request).members.first().map_or(0, |m| m.error_code);
        self.note(at, &format!("leaves -> {code}"));
        let p = &mut self.processes[at];
        p.stage = Stage::Dead;
        p.replaced |= p.instance.is_some();
    }

    /// With nobody dying any more, the group comes to rest with everybody who is alive and nobody else.
    fn come_to_rest(&mut self) {
        self.trace.push("nobody dies any more".into());
        let rounds = 4 * (SESSION_MS + REBALANCE_MS) / TICK_MS;
        for _ in 0..rounds {
            self.pass(TICK_MS);
            for at in 0..self.processes.len() {
                if Self::is_live(&self.processes[at]) {
                    self.go_on(at);
                }
            }
        }
        let live: Vec<&Process> = self.processes.iter().filter(|p| Self::is_live(p)).collect();
        let newest = self.generations.keys().last().copied().unwrap_or(0);
        for p in &live {
            assert_eq!(p.stage, Stage::Working, "{} does not work again", p.name);
            assert_eq!(p.generation, newest, "{} is not in the newest generation", p.name);
        }
        let expected: BTreeSet<String> = live.iter().map(|p| p.member.clone()).collect();
        let groups = self.node.groups.lock();
        let found: BTreeSet<String> =
            groups.get(GROUP).into_iter().flat_map(|g| g.members.keys().cloned()).collect();
        assert_eq!(found, expected, "members when all is at rest");
    }

    /// A static member that comes back in time finds its place, and nobody else notices.
    fn come_back(&mut self) {
        let is_static = |p: &Process| Self::is_live(p) && p.instance.is_some();
        let Some(at) = self.processes.iter().position(is_static) else { return };
        let (instance, generation) = (self.processes[at].instance.clone(), self.processes[at].generation);
        self.die(at);
        self.born += 1;
        let name = format!("c{:03}", self.born);
        let (member, stage) = (String::new(), Stage::Out);
        self.processes.push(Process {
            name,
            instance,
            member,
            generation: -1,
            stage,
            asked: false,
            replaced: false,
        });
        let new = self.processes.len() - 1;
        (0..2).for_each(|_| self.go_on(new));
        let p = &self.processes[new];
        assert_eq!((p.generation, &p.stage), (generation, &Stage::Working), "a static member lost its place");
        self.come_to_rest();
        assert_eq!(self.processes[new].generation, generation, "others noticed");
    }
}

/// Runs the seed; gives what is wrong.
pub(super) fn run(seed: u64) -> Result<(), String> {
    let mut world = World::new(seed);
    let ran = catch_unwind(AssertUnwindSafe(|| {
        (0..STEPS).for_each(|_| world.step());
        world.come_to_rest();
        world.come_back();
    }));
    ran.map_err(|panic| format!("{}\n{}", world.trace.join("\n"), super::reason(panic.as_ref())))
}

#[test]
fn members_of_a_group_agree_on_its_generations_and_come_to_rest() {
    for seed in super::seeds(1000) {
        if let Err(what) = run(seed) {
            super::fail(seed, None, &what);
        }
    }
}
