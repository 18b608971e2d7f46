//! `make demo`: orders become payments while a process is killed in the middle of it.
//!
//! Starts a broker, a payment provider and two processes of the app; plays the shop and the people who approve; kills
//! one process with -9 and brings it back. What happened is then read independently of the app, from the output topic
//! and from the provider's ledger, and every order is checked. Exit code 0 only if all of it holds.

mod kafka;
mod orders;
mod processes;
mod story;
mod summary;

use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main]
async fn main() -> ExitCode {
    let (mut interrupt, mut terminate) =
        match (signal(SignalKind::interrupt()), signal(SignalKind::terminate())) {
            (Ok(interrupt), Ok(terminate)) => (interrupt, terminate),
            (Err(error), _) | (_, Err(error)) => {
                eprintln!("demo: signals cannot be handled: {error}");
                return ExitCode::FAILURE;
            }
        };
    // Whichever ends first: dropping the story ends its processes.
    let ended = tokio::select! {
        ended = story::tell() => ended,
        _ = interrupt.recv() => Err(anyhow::anyhow!("interrupted")),
        _ = terminate.recv() => Err(anyhow::anyhow!("told to end")),
    };
    match ended {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("demo: {error:#}");
            ExitCode::FAILURE
        }
    }
}
