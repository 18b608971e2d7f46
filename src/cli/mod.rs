//! The command line: of the program `sakia`, and of every program that consists of an app.
//!
//! | exit code | meaning |
//! |---|---|
//! | 0 | done |
//! | 1 | what was asked for failed: the workflow failed, topics have findings, the app cannot run |
//! | 2 | bad usage, input or configuration |
//! | 3 | Kafka cannot be reached |
//! | 4 | there is no such instance |
//! | 5 | nobody answered in time |

mod args;
mod cancel;
mod dev;
mod dlq_list;
mod exit;
mod list;
mod output;
mod payload;
mod render;
mod result;
mod retry;
mod show;
mod signal;
mod start;
mod times;
mod topics_check;
mod topics_init;

pub use exit::{Exit, Failure};

use crate::App;
use crate::client::Client;
use crate::config::Config;
use args::{Args, DlqCommand, TopicsCommand, Verb};
use clap::{CommandFactory, FromArgMatches};
use std::ffi::OsString;
use std::io::IsTerminal;
use std::process::ExitCode;

/// What is left to do after the arguments are dealt with.
#[derive(Debug)]
pub enum Outcome {
    /// Run the app with this configuration.
    Serve(Box<Config>),
    /// Nothing: this is the exit code.
    Done(Exit),
}

/// What the command line knows of the program that it belongs to.
#[derive(Debug, Clone, Default)]
pub struct Program {
    /// The app, if the program consists of one.
    pub app: Option<String>,
    /// Its workflows, if known.
    pub workflows: Vec<&'static str>,
}

/// The command line of a program that consists of one app; `serve` if there are no arguments.
pub(crate) async fn main_of<S: Send + Sync + 'static>(app: App<S>) -> ExitCode {
    let program = Program { app: Some(app.name().to_string()), workflows: app.workflows() };
    let exit = match run(program, std::env::args_os()).await {
        Outcome::Done(exit) => exit,
        Outcome::Serve(config) => match app.serve(*config).await {
            Ok(()) => Exit::Ok,
            Err(error) => Failure::new(Exit::Failed, error).report(),
        },
    };
    exit.into()
}

/// The command line of the program `sakia`.
pub async fn main() -> ExitCode {
    match run(Program::default(), std::env::args_os()).await {
        Outcome::Done(exit) => exit.into(),
        // Only for a program that has an app.
        Outcome::Serve(_) => Exit::Usage.into(),
    }
}

/// Does what the arguments say. Messages go to stderr, results to stdout.
pub async fn run(program: Program, arguments: impl IntoIterator<Item = OsString>) -> Outcome {
    let args = match parse(&program, arguments) {
        Ok(args) => args,
        Err(error) => {
            // Help and version are "errors" too, with an exit code of 0. A closed stdout is no reason to fail.
            drop(error.print());
            return Outcome::Done(if error.exit_code() == 0 { Exit::Ok } else { Exit::Usage });
        }
    };
    start_log(&args);
    match perform(&program, args).await {
        Ok(outcome) => outcome,
        Err(failure) => Outcome::Done(failure.report()),
    }
}

fn parse(program: &Program, arguments: impl IntoIterator<Item = OsString>) -> Result<Args, clap::Error> {
    let mut command = Args::command();
    if let Some(app) = &program.app {
        command = command
            .display_name(app.clone())
            .about(format!("The app {app}, on Sakia"))
            .mut_arg("app", |a| a.hide(true))
            .mut_subcommand("dev", |c| c.hide(true));
    } else {
        command = command.subcommand_required(true).arg_required_else_help(true);
        command = command.mut_subcommand("serve", |c| c.hide(true));
    }
    Args::from_arg_matches(&command.try_get_matches_from(arguments)?)
}

/// Logs go to stderr: stdout is for results.
fn start_log(args: &Args) {
    let serving = matches!(args.verb, None | Some(Verb::Serve | Verb::Dev(_)));
    let default = if serving { "info" } else { "warn" };
    let filter =
        args.log.clone().or_else(|| std::env::var("RUST_LOG").ok()).unwrap_or_else(|| default.into());
    let filter = tracing_subscriber::EnvFilter::new(filter);
    let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let log =
        tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colour).with_writer(std::io::stderr);
    // A program may have set up a log of its own, which then stays.
    drop(log.try_init());
}

async fn perform(program: &Program, args: Args) -> Result<Outcome, Failure> {
    let verb = args.verb.clone().unwrap_or(Verb::Serve);
    if let Verb::Dev(options) = verb {
        return dev::run(options).await.map(|()| Outcome::Done(Exit::Ok));
    }
    let config = configuration(&args)?;
    let app = app_name(program, &args, &verb)?;
    if let Verb::Serve = verb {
        let probe = config.clone();
        topics_init::blocking(move || Ok(probe.reach()?)).await?;
        return Ok(Outcome::Serve(Box::new(config)));
    }
    let command = Command { app, config, json: args.json, workflows: program.workflows.clone() };
    let done = match verb {
        Verb::Start(options) => start::run(&command, options).await,
        Verb::Signal(options) => signal::run(&command, options).await,
        Verb::Result(options) => result::run(&command, options).await,
        Verb::Cancel(options) => cancel::run(&command, options).await,
        Verb::Retry(options) => retry::run(&command, options).await,
        Verb::List(options) => list::run(&command, options).await,
        Verb::Show(options) => show::run(&command, options).await,
        Verb::Topics(TopicsCommand::Init(options)) => topics_init::run(&command, options).await,
        Verb::Topics(TopicsCommand::Check) => topics_check::run(&command).await,
        Verb::Dlq(DlqCommand::List(options)) => dlq_list::run(&command, options).await,
        Verb::Serve | Verb::Dev(_) => Ok(()),
    };
    done.map(|()| Outcome::Done(Exit::Ok))
}

fn configuration(args: &Args) -> Result<Config, Failure> {
    let read = match &args.config {
        Some(path) => Config::load(path),
        None => Config::from_env(),
    };
    let mut config = read.map_err(|e| Failure::new(Exit::Usage, e))?;
    if let Some(brokers) = &args.brokers {
        config.brokers.clone_from(brokers);
        config.check().map_err(|e| Failure::new(Exit::Usage, e))?;
    }
    Ok(config)
}

fn app_name(program: &Program, args: &Args, verb: &Verb) -> Result<String, Failure> {
    let name = program.app.clone().or_else(|| args.app.clone());
    if let (Verb::Serve, None) = (verb, &program.app) {
        let text = "`sakia` has no workflows to serve: start the program that your app is";
        return Err(Failure::new(Exit::Usage, text));
    }
    name.filter(|n| !n.is_empty()).ok_or_else(|| {
        Failure::new(
            Exit::Usage,
            "which app? give its name with --app, before or behind the command, or set SAKIA_APP",
        )
    })
}

/// What every command needs.
struct Command {
    app: String,
    config: Config,
    json: bool,
    workflows: Vec<&'static str>,
}

impl Command {
    async fn client(&self) -> Result<Client, Failure> {
        Ok(Client::connect(&self.app, &self.config).await?)
    }

    /// A program that knows its workflows need not ask Kafka about a name that is none.
    fn check_workflow(&self, name: &str) -> Result<(), Failure> {
        if self.workflows.is_empty() || self.workflows.contains(&name) {
            return Ok(());
        }
        let known = self.workflows.join(", ");
        Err(Failure::new(
            Exit::Usage,
            format!("app {} has no workflow \"{name}\"; it has: {known}", self.app),
        ))
    }
}

#[cfg(test)]
mod tests;
