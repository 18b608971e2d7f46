//! `dev`: the embedded broker.

use super::args::DevOptions;
use super::{Exit, Failure, output};
use sakia_broker::{Broker, BrokerConfig, BrokerError};
use tokio::signal::unix::{SignalKind, signal};

pub(super) async fn run(options: DevOptions) -> Result<(), Failure> {
    // Before the broker starts, so that no signal is missed.
    let mut terminate = signal(SignalKind::terminate())?;
    let folder = (!options.memory).then_some(options.dir);
    let kept = match &folder {
        Some(folder) => format!("its log is in {}", folder.display()),
        None => "everything is in memory and gone at the end".to_string(),
    };
    let config = BrokerConfig { port: options.port, data_dir: folder, ..BrokerConfig::default() };
    let starting = tokio::task::spawn_blocking(move || Broker::start(config)).await;
    let mut broker = starting.map_err(|e| Failure::new(Exit::Failed, e))?.map_err(refused)?;
    let bootstrap = broker.bootstrap();
    output::line(&format!(
        "A broker for development listens on {bootstrap}; {kept}.\n\
         Next, in another terminal:\n  \
         SAKIA_BROKERS={bootstrap} <your program> topics init\n  \
         SAKIA_BROKERS={bootstrap} <your program>\n\
         Ctrl-C ends it."
    ))?;
    tokio::select! {
        _ = terminate.recv() => {}
        interrupted = tokio::signal::ctrl_c() => interrupted?,
    }
    let stopping = tokio::task::spawn_blocking(move || broker.stop()).await;
    stopping.map_err(|e| Failure::new(Exit::Failed, e))
}

/// The broker's own messages name its fields; here there are options.
fn refused(error: BrokerError) -> Failure {
    let text = match error {
        BrokerError::PortInUse { port } => format!(
            "port {port} on 127.0.0.1 is already in use: stop the program that listens there (another `sakia dev`?), or \
             choose another with --port"
        ),
        BrokerError::DataDirLocked { dir } => format!(
            "folder {} is in use by another broker: stop that one, or choose another with --dir or --memory",
            dir.display()
        ),
        other => other.to_string(),
    };
    Failure::new(Exit::Failed, text)
}
