//! An app for the tests of the engine, in a process of its own so that it can be killed: `worker`, configured as any
//! app by `SAKIA_…`, and by `WORKER_APP` (its name), `WORKER_OUT` (the topic that it writes) and, if it is to read one,
//! `WORKER_IN`.
//!
//! Each job does everything that a workflow can do, and writes what it saw, so that a reader can tell whether anything
//! was lost, done twice or changed.

use rand::Rng;
use sakia::{App, Config, Ctx, Error, Result, Retry, Topic};
use sakia_integration::campaign::effects::Effects;
use sakia_integration::campaign::workflows::{self, Deps};
use sakia_integration::jobs::{Done, GO, JOB, LEAF, POST, RANT, Seen, out_topic};
use std::time::Duration;

/// One of so many attempts of the flaky step fails.
const FLAKY: u32 = 3;
/// Between its attempts: without a bound one job in some ten thousand would be at it for longer than tests wait.
const LONGEST_WAIT: Duration = Duration::from_millis(500);
/// Makes the process end when its standard input does.
const LEASH: &str = "WORKER_LEASH";

async fn job(ctx: Ctx<Deps>, n: u64) -> Result<Done> {
    let out = out_topic(ctx.app().out);
    // Not derived from anything: if the step's result were not recorded once and for all, it would differ.
    let token: u64 = ctx
        .run("token", async || {
            ctx.app().effects.tell(&ctx.idempotency_key(), n).await?;
            Ok(rand::rng().random())
        })
        .await?;
    ctx.send(out, &ctx.id(), Seen { n, token, ..Seen::stage("began") });
    let before = ctx.now();
    let asked_ms = 20 + n % 200;
    ctx.sleep(Duration::from_millis(asked_ms)).await?;
    let slept_ms = u64::try_from(ctx.now().duration_since(before)?.as_millis())?;
    let (go, leaf) = sakia::join!(ctx.recv(GO), ctx.call(LEAF, format!("leaf-{n}"), n));
    let (go, leaf) = (go?, leaf?);
    ctx.run("flaky", async || {
        ctx.app().effects.tell(&ctx.idempotency_key(), token).await?;
        tokio::time::sleep(Duration::from_millis(2)).await;
        if rand::rng().random_ratio(1, FLAKY) { Err(Error::msg("try again")) } else { Ok(()) }
    })
    .retry(Retry::forever().starting_at(Duration::from_millis(20)).at_most(LONGEST_WAIT))
    .await?;
    ctx.send(out, &ctx.id(), Seen { n, token, asked_ms, slept_ms, go, leaf, ..Seen::stage("ended") });
    Ok(Done { token, leaf })
}

/// A worker whose parent was killed must not live on: its standard input closes then.
fn end_with_the_parent() {
    let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
    std::process::exit(1);
}

async fn leaf(ctx: Ctx<Deps>, n: u64) -> Result<u64> {
    ctx.run("double", async || {
        ctx.app().effects.tell(&ctx.idempotency_key(), n).await?;
        Ok(n * 2)
    })
    .await
}

async fn post(ctx: Ctx<Deps>, (name, bytes): (String, usize)) -> Result<()> {
    // A topic is a constant in a real app.
    let topic: Topic<String, String> = Topic::new(Box::leak(name.into_boxed_str()));
    ctx.send(topic, &ctx.id(), "x".repeat(bytes));
    Ok(())
}

async fn rant(ctx: Ctx<Deps>, bytes: usize) -> Result<()> {
    let body = async || Err::<(), _>(Error::msg("x".repeat(bytes)));
    let said = ctx.run("rant", body).retry(Retry::times(1)).await;
    said.map_err(|error| Error::msg(format!("{error}{}", "y".repeat(bytes))))
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_env_filter("warn,sakia=info").init();
    let _points = fail::FailScenario::setup();
    let name = std::env::var("WORKER_APP")?;
    let out = Box::leak(std::env::var("WORKER_OUT")?.into_boxed_str());
    let mut app = App::new(&name, Deps { out, effects: Effects::from_env() });
    app.workflow(JOB, job);
    app.workflow(LEAF, leaf);
    app.workflow(POST, post);
    app.workflow(RANT, rant);
    workflows::register(&mut app);
    if let Ok(input) = std::env::var("WORKER_IN") {
        let topic: Topic<String, u64> = Topic::new(Box::leak(input.into_boxed_str()));
        app.stream(topic).start(LEAF, |key, n| (key.clone(), n));
    }
    if std::env::var_os(LEASH).is_some() {
        std::thread::spawn(end_with_the_parent);
    }
    let config = Config::from_env().map_err(|e| anyhow::anyhow!("{e}"))?;
    app.serve(config).await.map_err(|e| anyhow::anyhow!("{e}"))
}
