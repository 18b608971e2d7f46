//! The arguments.

use clap::{Parser, Subcommand};
use std::path::PathBuf;

/// Durable workflows on Kafka.
#[derive(Debug, Clone, Parser)]
#[command(
    name = "sakia",
    version,
    after_help = "Exit codes: 0 done · 1 what was asked for failed · 2 bad usage or configuration · 3 Kafka cannot be \
                  reached · 4 no such instance · 5 nobody answered in time"
)]
pub(super) struct Args {
    /// The app: the name that its program gives to App::new
    #[arg(long, global = true, env = "SAKIA_APP", value_name = "NAME")]
    pub(super) app: Option<String>,
    /// Kafka: host:port, several separated by commas
    #[arg(long, global = true, value_name = "HOST:PORT")]
    pub(super) brokers: Option<String>,
    /// Configuration file; without it sakia.toml, if there is one
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// JSON on stdout, for scripts
    #[arg(long, global = true)]
    pub(super) json: bool,
    /// What is logged to stderr, as in RUST_LOG: warn, debug, sakia=debug
    #[arg(long, global = true, env = "SAKIA_LOG", value_name = "FILTER")]
    pub(super) log: Option<String>,
    #[command(subcommand)]
    pub(super) verb: Option<Verb>,
}

#[derive(Debug, Clone, Subcommand)]
pub(super) enum Verb {
    /// Run the app, until SIGTERM or Ctrl-C (this is what happens without arguments)
    Serve,
    /// Run an embedded broker, for development
    Dev(DevOptions),
    /// Make or check the app's topics
    #[command(subcommand)]
    Topics(TopicsCommand),
    /// Start an instance; with an id that was started before, nothing happens
    Start(StartOptions),
    /// Send a signal to an instance
    Signal(SignalOptions),
    /// Print the result of an instance; waits for it
    Result(ResultOptions),
    /// Cancel an instance: its code sees an error where it waits, and can clean up
    Cancel(Instance),
    /// Take a parked instance up again
    Retry(Instance),
    /// List instances
    List(ListOptions),
    /// Show what an instance did, when, how long it took, and what it waits for
    Show(Instance),
    /// Records that could not be used
    #[command(subcommand)]
    Dlq(DlqCommand),
}

#[derive(Debug, Clone, Subcommand)]
pub(super) enum TopicsCommand {
    /// Create the topics that are missing, with as many lanes as the setting `partitions` says (SAKIA_PARTITIONS)
    Init(TopicsInitOptions),
    /// Check that the topics are as the app needs them
    Check,
}

#[derive(Debug, Clone, clap::Args)]
pub(super) struct TopicsInitOptions {
    /// Also create this topic of yours if it is missing, with as many partitions and the broker's settings; may repeat
    #[arg(long, value_name = "TOPIC")]
    pub(super) with: Vec<String>,
}

#[derive(Debug, Clone, Subcommand)]
pub(super) enum DlqCommand {
    /// List dead letters: where the record was and what is wrong with it
    List(DlqListOptions),
}

#[derive(Debug, Clone, clap::Args)]
pub(super) struct DevOptions {
    /// TCP port on 127.0.0.1
    #[arg(long, default_value_t = 9092)]
    pub(super) port: u16,
    /// Folder for the log
    #[arg(long, default_value = ".sakia/dev-broker", conflicts_with = "memory")]
    pub(super) dir: PathBuf,
    /// Keep everything in memory; it is gone at the end
    #[arg(long)]
    pub(super) memory: bool,
}

/// Workflow and id name an instance.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Instance {
    /// Name of the workflow
    pub(super) workflow: String,
    /// The instance's id
    pub(super) id: String,
}

#[derive(Debug, Clone, clap::Args)]
pub(super) struct StartOptions {
    #[command(flatten)]
    pub(super) instance: Instance,
    /// The input as JSON; @FILE reads a file, - reads stdin
    #[arg(default_value = "null")]
    pub(super) input: String,
    /// Wait for the result and print it
    #[arg(long)]
    pub(super) wait: bool,
}

#[derive(Debug, Clone, clap::Args)]
pub(super) struct SignalOptions {
    #[command(flatten)]
    pub(super) instance: Instance,
    /// Name of the signal
    pub(super) signal: String,
    /// The payload as JSON; @FILE reads a file, - reads stdin
    #[arg(default_value = "null")]
    pub(super) payload: String,
}

#[derive(Debug, Clone, clap::Args)]
pub(super) struct ResultOptions {
    #[command(flatten)]
    pub(super) instance: Instance,
    /// Give up after so many seconds (exit code 5); without it, wait as long as it takes
    #[arg(long, value_name = "SECONDS")]
    pub(super) timeout: Option<u64>,
}

#[derive(Debug, Clone, clap::Args)]
pub(super) struct ListOptions {
    /// Only instances of this workflow
    #[arg(long, value_name = "NAME")]
    pub(super) workflow: Option<String>,
    /// Only instances of this status
    #[arg(long, value_parser = ["running", "parked", "completed", "failed", "cancelled"])]
    pub(super) status: Option<String>,
}

#[derive(Debug, Clone, clap::Args)]
pub(super) struct DlqListOptions {
    /// At most so many, the newest
    #[arg(long, default_value_t = 100, value_name = "N")]
    pub(super) limit: usize,
}
