//! The fake payment provider as a process. See [`payment_example::fake`].

use anyhow::Context;
use clap::Parser;
use payment_example::fake;
use payment_example::ledger::Writer;
use std::path::PathBuf;

/// A payment provider that fails some calls on purpose and keeps a ledger of what it was asked.
#[derive(Parser)]
struct Args {
    /// Where to listen.
    #[arg(long, env = "PROVIDER_LISTEN", default_value = "127.0.0.1:8080")]
    listen: String,
    /// The file that the ledger is appended to.
    #[arg(long, env = "PROVIDER_LEDGER", default_value = "ledger.jsonl")]
    ledger: PathBuf,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let Args { listen, ledger: path } = Args::parse();
    let ledger = Writer::append_to(&path).with_context(|| format!("the ledger {}", path.display()))?;
    let listener =
        tokio::net::TcpListener::bind(&listen).await.with_context(|| format!("listening on {listen}"))?;
    println!("listening on http://{}, ledger {}", listener.local_addr()?, path.display());
    axum::serve(listener, fake::router(ledger)).await?;
    Ok(())
}
