//! The app under test, in a process of its own: configured as any app by `SAKIA_…`, its name is `BENCH_APP`.
//! If `BENCH_PIPE` is set, it also moves records from the topic `bench-in` to `bench-out`.

use sakia::{App, Config, Ctx, Result, Signal, Topic, Workflow};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// For the libraries in C as well.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const EMPTY: Workflow<u32, u32> = Workflow::new("empty");
const CHAIN: Workflow<u32, u32> = Workflow::new("chain");
const FAN: Workflow<u32, u32> = Workflow::new("fan");
const SIGNAL: Workflow<u32, u32> = Workflow::new("signal");
const TIMER: Workflow<u64, i64> = Workflow::new("timer");
const HISTORY: Workflow<u32, Vec<u32>> = Workflow::new("history");
const PIPE: Workflow<u64, ()> = Workflow::new("pipe");
const GO: Signal<u32> = Signal::new("go");
const IN: Topic<String, u64> = Topic::new("bench-in");
const OUT: Topic<String, u64> = Topic::new("bench-out");

fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

async fn empty(_ctx: Ctx<()>, n: u32) -> Result<u32> {
    Ok(n)
}

/// So many steps, one after the other, that do nothing: all that is left is what it costs to make them durable.
async fn chain(ctx: Ctx<()>, steps: u32) -> Result<u32> {
    let mut sum = 0;
    for n in 0..steps {
        sum += ctx.run("nothing", async || Ok(n)).await?;
    }
    Ok(sum)
}

/// So many empty children at once.
async fn fan(ctx: Ctx<()>, children: u32) -> Result<u32> {
    let own = ctx.id();
    let calls = (0..children).map(|n| ctx.call(EMPTY, format!("{own}-{n}"), n));
    Ok(sakia::futures::future::try_join_all(calls).await?.into_iter().sum())
}

async fn signal(ctx: Ctx<()>, n: u32) -> Result<u32> {
    Ok(n + ctx.recv(GO).await?)
}

/// Sleeps until a moment, in milliseconds since 1970, and returns how many microseconds later its code went on. The
/// clock is read outside of a step because a step would add its own time; the result is recorded once all the same.
async fn timer(ctx: Ctx<()>, due_ms: u64) -> Result<i64> {
    let now = ctx.now().duration_since(UNIX_EPOCH).unwrap_or_default();
    ctx.sleep(Duration::from_millis(due_ms).saturating_sub(now)).await?;
    Ok(since_1970().as_micros() as i64 - due_ms as i64 * 1000)
}

/// So many steps, and the microseconds between the moments at which they ran.
async fn history(ctx: Ctx<()>, steps: u32) -> Result<Vec<u32>> {
    let (mut took, mut before) = (Vec::new(), None);
    for _ in 0..steps {
        let at_us = ctx.run("clock", async || Ok(since_1970().as_micros() as u64)).await?;
        took.extend(before.map(|before: u64| at_us.saturating_sub(before) as u32));
        before = Some(at_us);
    }
    Ok(took)
}

/// Three steps between a record of one topic and a record of another.
async fn pipe(ctx: Ctx<()>, sent_us: u64) -> Result<()> {
    for step in ["check", "enrich", "book"] {
        ctx.run(step, async || Ok(())).await?;
    }
    ctx.send(OUT, &ctx.id(), sent_us);
    Ok(())
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_env_filter("warn,sakia=info").init();
    let name = std::env::var("BENCH_APP")?;
    let mut app = App::new(&name, ());
    app.workflow(EMPTY, empty);
    app.workflow(CHAIN, chain);
    app.workflow(FAN, fan);
    app.workflow(SIGNAL, signal);
    app.workflow(TIMER, timer);
    app.workflow(HISTORY, history);
    if std::env::var_os("BENCH_PIPE").is_some() {
        app.workflow(PIPE, pipe);
        app.stream(IN).start(PIPE, |key, sent_us| (key.clone(), sent_us));
    }
    let config = Config::from_env().map_err(|e| anyhow::anyhow!("{e}"))?;
    app.serve(config).await.map_err(|e| anyhow::anyhow!("{e}"))
}
