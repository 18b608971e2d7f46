//! The fake payment provider as a process. See [`payment_example::fake`].

use anyhow::Context;
use payment_example::fake;
use payment_example::ledger::Writer;
use std::path::PathBuf;

/// Takes `PROVIDER_LISTEN` (default `127.0.0.1:8080`) and `PROVIDER_LEDGER` (default `ledger.jsonl`).
#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let listen = std::env::var("PROVIDER_LISTEN").unwrap_or_else(|_| "127.0.0.1:8080".into());
    let path = std::env::var("PROVIDER_LEDGER").map_or_else(|_| PathBuf::from("ledger.jsonl"), PathBuf::from);
    let ledger = Writer::append_to(&path).with_context(|| format!("the ledger {}", path.display()))?;
    let listener =
        tokio::net::TcpListener::bind(&listen).await.with_context(|| format!("listening on {listen}"))?;
    println!("listening on http://{}, ledger {}", listener.local_addr()?, path.display());
    axum::serve(listener, fake::router(ledger)).await?;
    Ok(())
}
