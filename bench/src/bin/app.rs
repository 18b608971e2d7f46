//! The app under test, in a process of its own: configured as any app by `SAKIA_…`, its name is `BENCH_APP`.

use sakia::{App, Config, Ctx, Result, Workflow};

const EMPTY: Workflow<u32, u32> = Workflow::new("empty");
const CHAIN: Workflow<u32, u32> = Workflow::new("chain");

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

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_env_filter("warn,sakia=info").init();
    let name = std::env::var("BENCH_APP")?;
    let mut app = App::new(&name, ());
    app.workflow(EMPTY, empty);
    app.workflow(CHAIN, chain);
    let config = Config::from_env().map_err(|e| anyhow::anyhow!("{e}"))?;
    app.serve(config).await.map_err(|e| anyhow::anyhow!("{e}"))
}
