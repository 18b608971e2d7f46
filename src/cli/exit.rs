//! Exit codes, and failures that know theirs.

use crate::client::ClientError;
use crate::config::Unreachable;
use crate::config::topics::TopicsError;
use crate::log::LogError;
use std::fmt;
use std::process::ExitCode;

/// How a command ends. The numbers are documented and never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Ok = 0,
    /// What was asked for failed.
    Failed = 1,
    /// Bad usage, input or configuration.
    Usage = 2,
    /// Kafka cannot be reached.
    Unreachable = 3,
    /// There is no such instance.
    Unknown = 4,
    /// Nobody answered in time.
    Timeout = 5,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
    }
}

/// Why a command failed.
#[derive(Debug)]
pub struct Failure {
    /// The exit code.
    pub exit: Exit,
    /// What happened, to which thing, and what to do.
    pub text: String,
}

impl Failure {
    pub(super) fn new(exit: Exit, text: impl fmt::Display) -> Self {
        Failure { exit, text: text.to_string() }
    }

    /// Prints it to stderr.
    pub(super) fn report(self) -> Exit {
        eprintln!("error: {}", self.text);
        self.exit
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let exit = match &error {
            ClientError::Config(_) | ClientError::Refused(_) => Exit::Usage,
            ClientError::Unreachable(_) => Exit::Unreachable,
            ClientError::Unknown(_) => Exit::Unknown,
            ClientError::NoAnswer { .. } => Exit::Timeout,
            _ => Exit::Failed,
        };
        Failure::new(exit, error)
    }
}

impl From<Unreachable> for Failure {
    fn from(error: Unreachable) -> Self {
        Failure::new(Exit::Unreachable, error)
    }
}

impl From<LogError> for Failure {
    fn from(error: LogError) -> Self {
        Failure::new(Exit::Failed, error)
    }
}

impl From<TopicsError> for Failure {
    fn from(error: TopicsError) -> Self {
        Failure::new(Exit::Failed, error)
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Failure::new(Exit::Failed, error)
    }
}
