//! Take-over, in this order: the fence, then the state, then the facts behind it. Reading an end before the fence could
//! miss a transaction that is just committing.

use super::acks::Acks;
use super::agenda::{Agenda, Attempt};
use super::append::Appender;
use super::checkpoint::{Checkpointer, Trim, Writer};
use super::engine::Engine;
use super::fault::crash_point;
use super::overlay::Overlay;
use super::perform::Outbox;
use super::replay::{self, JournalEnd};
use super::run::{Lane, Parts};
use super::turnstile::Turnstile;
use super::{Event, Host, LaneConfig, LaneEnd, restore};
use crate::codec::key::{STEP, TIMER};
use crate::core::machine::Machine;
use crate::core::mutation::{Mutation, mutated};
use crate::core::state::{Key, Position, Row, Status};
use crate::core::tables::Tables;
use crate::log::{LaneNames, Log, OffsetRange};
use crate::store::{Store, StoreError};
use crate::workflow::ReadyQueue;
use crate::workflow::executor::LaneExecutor;
use crate::workflow::registry::Registry;
use crossbeam_channel::Sender;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

/// What a take-over needs.
pub struct Takeover {
    /// The lane.
    pub config: LaneConfig,
    /// Where it is written and read.
    pub log: Arc<dyn Log>,
    /// Its state on disk, however old.
    pub store: Box<dyn Store>,
    /// The workflows of this program.
    pub registry: Arc<Registry>,
    /// Under which step bodies are polled.
    pub runtime: tokio::runtime::Handle,
    /// Under which clocks and on which threads.
    pub host: Arc<dyn Host>,
    /// Whose turn it is to write a checkpoint.
    pub turnstile: Arc<Turnstile>,
    /// The group's committed offset of the lane's commands, if there is one.
    pub group_offset: Option<i64>,
}

/// Takes a lane over. When it returns, no earlier owner can write, and the state is that of the last acknowledged
/// append. Blocks.
pub fn take_over(takeover: Takeover) -> Result<Lane, LaneEnd> {
    let Takeover { config, log, store, registry, runtime, host, turnstile, group_offset } = takeover;
    let began = host.uptime();
    let (sender, events) = crossbeam_channel::unbounded();
    let acks = Arc::new(Acks::new(sender.clone()));
    let names = LaneNames {
        app: config.app.clone(),
        partition: config.partition,
        journal: config.topics.journal.clone(),
        changelog: config.topics.changelog.clone(),
    };
    crash_point!("takeover:before-fence");
    let early = mutated(Mutation::EndBeforeFence).then(|| restore::changelog(&config, &*log));
    let writer = log.open_lane(&names, acks.clone(), config.fence_timeout)?;
    let fenced = host.uptime();
    crash_point!("takeover:fenced");
    let changelog = early.unwrap_or_else(|| restore::changelog(&config, &*log))?;
    let executor = executor(&config, registry, runtime, &sender);
    let read = read_state(&config, &*log, &*host, (store, changelog), executor, group_offset);
    let State { position, mut engine, end, restored } =
        restore::unless_lost(read, &config, &*log, changelog.end)?;
    crash_point!("takeover:replayed");
    fill_agenda(&mut engine)?;
    acks.begin(end.seq, end.offset);
    let position = position.unwrap_or(Position { next_command: end.first_command, ..Position::default() });
    let epoch = end.epoch.max(position.epoch) + u64::from(!mutated(Mutation::SameEpoch));
    let appender = Appender::new(writer.journal, acks.clone(), host.clone(), epoch, end.seq, &config);
    let checkpointer = Checkpointer::start(
        &Writer {
            config: config.clone(),
            acks: acks.clone(),
            events: sender.clone(),
            trim: trim(&config, log),
            next_command: position.next_command,
            host: host.clone(),
            wants_more: Arc::default(),
        },
        writer.checkpoints,
        position.checkpoint,
    )
    .map_err(|e| {
        LaneEnd::Lost(format!("no threads for the checkpoints of lane {}: {e}", config.partition))
    })?;
    tracing::info!(
        app = %config.app,
        lane = config.partition,
        epoch,
        replayed = end.seq - position.journal_seq,
        fence_ms = fenced.saturating_sub(began).as_millis(),
        restore_ms = restored.saturating_sub(fenced).as_millis(),
        "lane taken over in {} ms",
        host.uptime().saturating_sub(began).as_millis()
    );
    Ok(Lane::new(Parts { engine, appender, checkpointer, acks, host, turnstile, position, sender, events }))
}

/// What the changelog and the journal say.
struct State {
    position: Option<Position>,
    engine: Engine,
    end: JournalEnd,
    /// When the changelog was read, as [`Host::uptime`].
    restored: Duration,
}

/// Reads the state behind the fence. All that can be broken about it is found here, so that the caller asks once whether
/// it was a later owner.
fn read_state(
    config: &LaneConfig,
    log: &dyn Log,
    host: &dyn Host,
    (mut store, changelog): (Box<dyn Store>, OffsetRange),
    executor: LaneExecutor,
    group_offset: Option<i64>,
) -> Result<State, LaneEnd> {
    let position = restore::restore(config, log, &mut *store, host, changelog)?;
    let restored = host.uptime();
    crash_point!("takeover:restored");
    restore::compare_with_group(config, position.as_ref(), group_offset)?;
    restore::compare_with_layout(config, position.as_ref())?;
    let mut engine = engine(config, executor, store, position.as_ref());
    let end = replay::replay(&mut engine, log, host, position.as_ref())?;
    Ok(State { position, engine, end, restored })
}

fn executor(
    config: &LaneConfig,
    registry: Arc<Registry>,
    runtime: tokio::runtime::Handle,
    events: &Sender<Event>,
) -> LaneExecutor {
    let events = events.clone();
    // The lane may have ended; a step that wakes then has nobody to go on for.
    let ready = Arc::new(ReadyQueue::new(move || drop(events.send(Event::Wake))));
    let (payload_bytes, cache_bytes) = (config.limits.payload_bytes, config.cache_bytes);
    LaneExecutor::new(config.app.clone(), registry, Some(runtime), ready, payload_bytes, cache_bytes)
}

fn engine(
    config: &LaneConfig,
    executor: LaneExecutor,
    store: Box<dyn Store>,
    position: Option<&Position>,
) -> Engine {
    let Position { now, callees, .. } = position.cloned().unwrap_or_default();
    let owns = {
        let config = config.clone();
        Arc::new(move |id: &str| config.lane_of(id) == config.partition)
    };
    Engine {
        machine: Machine::new(config.limits, owns, now, callees),
        overlay: Overlay::new(store),
        executor,
        outbox: Outbox::default(),
        agenda: Agenda::default(),
        next_command: 0,
        config: config.clone(),
    }
}

/// Trims what a checkpoint has made useless: facts at once, commands when others have had time to read them.
fn trim(config: &LaneConfig, log: Arc<dyn Log>) -> Trim {
    let (topics, partition) = (config.topics.clone(), config.partition);
    Arc::new(move |position, commands| {
        let facts = if mutated(Mutation::TrimToEnd) { i64::MAX } else { position.journal_offset };
        for (topic, before) in [(&topics.journal, facts), (&topics.commands, commands)] {
            if let Err(error) = log.trim(topic, partition, before) {
                tracing::warn!(
                    "{topic} partition {partition} could not be trimmed, tried again later: {error}"
                );
            }
        }
    })
}

/// Every open timer and every open step of the state goes on the agenda.
fn fill_agenda(engine: &mut Engine) -> Result<(), LaneEnd> {
    let unreadable = |partition: i32, cause: String| {
        LaneEnd::Store(StoreError::Io { path: format!("lane {partition}").into(), cause })
    };
    let partition = engine.config.partition;
    let agenda = &mut engine.agenda;
    engine
        .overlay
        .scan(TIMER, |key, row| {
            if let (Key::Timer(due, key, op), Row::Timer(timer)) = (key, row)
                && !mutated(Mutation::TimersForgotten)
            {
                agenda.arm(due, key, timer.run, op);
            }
            ControlFlow::Continue(())
        })
        .map_err(|e| unreadable(partition, e))?;
    let mut steps = Vec::new();
    engine
        .overlay
        .scan(STEP, |key, row| {
            if let (Key::Step(key, op), Row::Step(step)) = (key, row) {
                steps.push((key, op, step));
            }
            ControlFlow::Continue(())
        })
        .map_err(|e| unreadable(partition, e))?;
    for (key, op, step) in steps {
        let running = matches!(
            engine.overlay.get(&Key::Instance(key.clone())),
            Some(Row::Instance(instance)) if instance.status == Status::Running
        );
        if running {
            let failed = if mutated(Mutation::AttemptsForgotten) { 0 } else { step.failed_attempts };
            let attempt = Attempt { key, run: step.run, op, attempt: failed + 1 };
            engine.agenda.retry_at(step.retry_at, attempt);
        }
    }
    engine.check_readable()
}
