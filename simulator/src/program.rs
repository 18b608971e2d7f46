//! Workflows made of a random program, which is the payload of their start.

use crate::host::SimHost;
use crate::world::Body;
use fastrand::Rng;
use futures::channel::oneshot;
use futures::future::{FutureExt, LocalBoxFuture};
use sakia::workflow::registry::Registry;
use sakia::{Ctx, Error, Result, Retry, Signal, Topic, Workflow};
use serde::{Deserialize, Serialize};
use std::cell::RefCell;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub(crate) const PROGRAM: Workflow<Vec<Op>, Vec<String>> = Workflow::new("program");
pub(crate) const SIGNAL: Signal<String> = Signal::new("go");
pub(crate) const OUT: Topic<String, Vec<String>> = Topic::new("out");

/// What the trace has of a record that the code sent.
pub(crate) const SENT: &str = "sent";
/// What it has of a wait that ended before its time.
pub(crate) const EARLY: &str = "woke early";

/// One operation of a program.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Op {
    /// A step that fails in so many of a hundred attempts, and is tried so often.
    Step {
        fails: u8,
        times: u32,
    },
    Sleep(u64),
    Receive,
    /// With a timeout, in milliseconds.
    ReceiveWithin(u64),
    /// A child of this id with a program of its own.
    Call(String, Vec<Op>),
    Send,
    /// Both, at the same time.
    Join(Vec<Op>, Vec<Op>),
    /// Whichever ends first.
    Race(Vec<Op>, Vec<Op>),
}

/// Makes a program for the instance of an id.
pub(crate) fn random(rng: &mut Rng, id: &str, depth: u32) -> Vec<Op> {
    let len = rng.usize(1..=4);
    (0..len).map(|at| random_op(rng, id, depth, at)).collect()
}

/// Calls, after a while, an instance that a client may start as well, with another program.
pub(crate) fn rival(rng: &mut Rng, id: &str) -> Vec<Op> {
    vec![Op::Sleep(rng.u64(1..=4_000)), Op::Call(id.into(), random(rng, id, 0))]
}

fn random_op(rng: &mut Rng, id: &str, depth: u32, at: usize) -> Op {
    let simple = if depth == 0 { 9 } else { 14 };
    match rng.u32(0..simple) {
        0..=2 => Op::Step { fails: *rng.choice(&[0, 0, 30, 60]).unwrap_or(&0), times: rng.u32(1..=4) },
        3 => Op::Sleep(rng.u64(1..=4_000)),
        4 => Op::Receive,
        5 | 6 => Op::ReceiveWithin(rng.u64(1..=3_000)),
        7 | 8 => Op::Send,
        9 | 10 => {
            let child = format!("{id}{at}");
            let program = random(rng, &child, depth - 1);
            Op::Call(child, program)
        }
        11 => Op::Join(random(rng, &format!("{id}l"), 0), random(rng, &format!("{id}m"), depth - 1)),
        _ => Op::Race(random(rng, &format!("{id}n"), 0), random(rng, &format!("{id}o"), depth - 1)),
    }
}

/// The workflows of a simulated process.
pub(crate) fn registry(host: &Arc<SimHost>) -> Arc<Registry> {
    let mut registry = Registry::default();
    registry.add(host, PROGRAM, program);
    Arc::new(registry)
}

/// What the code has seen so far: results of steps and children, signals, timeouts, and what it sent, in order.
type Trace = RefCell<Vec<String>>;

async fn program(ctx: Ctx<SimHost>, ops: Vec<Op>) -> Result<Vec<String>> {
    // It may tell its steps when it began: that must be the same for all owners.
    let began = ctx.now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let trace = Trace::from(vec![format!("began at {} ms", began.as_millis())]);
    let done = all(&ctx, &ops, &trace).await;
    if let Err(error) = &done
        && error.is_cancelled()
    {
        // Clean-up after a cancel is code like any other.
        trace.borrow_mut().push("cancelled".into());
        one(&ctx, &Op::Step { fails: 0, times: 1 }, &trace).await?;
    }
    done?;
    Ok(trace.take())
}

fn all<'a>(ctx: &'a Ctx<SimHost>, ops: &'a [Op], trace: &'a Trace) -> LocalBoxFuture<'a, Result<()>> {
    async move {
        for op in ops {
            one(ctx, op, trace).await?;
        }
        Ok(())
    }
    .boxed_local()
}

async fn one(ctx: &Ctx<SimHost>, op: &Op, trace: &Trace) -> Result<()> {
    let saw = |what: String| trace.borrow_mut().push(what);
    match op {
        Op::Step { fails, times } => {
            let seen = trace.borrow().clone();
            let body = async || body(ctx, &seen, *fails).await;
            let retry = Retry::times(*times).starting_at(Duration::from_millis(20));
            saw(said("step", ctx.run("step", body).retry(retry).await)?);
        }
        Op::Sleep(ms) => {
            let (since, length) = (ctx.now(), Duration::from_millis(*ms));
            ctx.sleep(length).await?;
            saw(waited(ctx, since, length, "slept"));
        }
        Op::Receive => saw(format!("got {}", ctx.recv(SIGNAL).await?)),
        Op::ReceiveWithin(ms) => {
            let (since, length) = (ctx.now(), Duration::from_millis(*ms));
            match ctx.recv(SIGNAL).timeout(length).await? {
                Some(signal) => saw(format!("got {signal}")),
                None => saw(waited(ctx, since, length, "timed out")),
            };
        }
        Op::Call(child, ops) => {
            let result = ctx.call(PROGRAM, child, ops.clone()).await.map(|all| all.join("+"));
            saw(said(&format!("child {child}"), result)?);
        }
        Op::Send => {
            let seen = trace.borrow().clone();
            ctx.send(OUT, &ctx.id(), seen);
            saw(SENT.into());
        }
        Op::Join(left, right) => {
            let (left, right) = sakia::join!(all(ctx, left, trace), all(ctx, right, trace));
            left.and(right)?;
        }
        Op::Race(left, right) => sakia::select! {
            done = all(ctx, left, trace) => done?,
            done = all(ctx, right, trace) => done?,
        },
    }
    Ok(())
}

/// The end of a wait as the trace has it.
fn waited(ctx: &Ctx<SimHost>, since: SystemTime, length: Duration, end: &str) -> String {
    let passed = ctx.now().duration_since(since).unwrap_or_default();
    if passed < length { EARLY.into() } else { end.into() }
}

/// A result as the trace has it. A cancel ends the program; any other failure is seen and lived with.
fn said(what: &str, result: Result<String>) -> Result<String> {
    match result {
        Ok(value) => Ok(format!("{what} {value}")),
        Err(error) if error.is_cancelled() => Err(error),
        Err(error) => Ok(format!("{what} failed: {error}")),
    }
}

/// A step's body: it tells the world what it knows, waits for the outside, and gives a result that no other attempt
/// gives.
async fn body(ctx: &Ctx<SimHost>, seen: &[String], fails: u8) -> Result<String> {
    let host = ctx.app();
    let key = ctx.idempotency_key();
    let waits = {
        let mut world = host.sim.world();
        world.check_body(host.process, &key, seen);
        let (done, waits) = oneshot::channel();
        let at_once = world.rng.u32(0..3) == 0;
        let process = host.process;
        if !at_once {
            world.bodies.push(Body { process, what: key.clone(), done });
        }
        (!at_once).then_some(waits)
    };
    if let Some(waits) = waits {
        // The sender goes only with the process.
        waits.await.map_err(Error::msg)?;
    }
    let mut world = host.sim.world();
    let nonce = world.next_nonce();
    if world.rng.u8(0..100) < fails {
        world.note(format_args!("{key} fails, number {nonce}"));
        return Err(Error::msg(format!("n{nonce}")));
    }
    world.note(format_args!("{key} gives n{nonce}"));
    Ok(format!("n{nonce}"))
}
