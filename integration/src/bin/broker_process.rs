//! The embedded broker in a process of its own, for tests that kill it: `broker_process PORT FOLDER`.
//!
//! Prints its port when it answers (port 0 picks a free one), and ends when its standard input is closed.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, Result};
use sakia_broker::{Broker, BrokerConfig};
use sakia_integration::target::embedded_config;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let port = arguments.next().context("usage: broker_process PORT FOLDER")?.parse()?;
    let folder = PathBuf::from(arguments.next().context("usage: broker_process PORT FOLDER")?);
    let mut broker = Broker::start(BrokerConfig { port, data_dir: Some(folder), ..embedded_config() })?;
    println!("{}", broker.port());
    std::io::stdout().flush()?;
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink())?;
    broker.stop();
    Ok(())
}
