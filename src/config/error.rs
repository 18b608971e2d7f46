//! What is wrong with a configuration.

use std::fmt;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The key.
    pub key: String,
    /// What is wrong with its value and what to do.
    pub what: String,
}

impl Problem {
    pub(super) fn new(key: &str, what: impl Into<String>) -> Self {
        Problem { key: key.to_string(), what: what.into() }
    }
}

/// Everything that is wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// At least one.
    pub problems: Vec<Problem>,
}

impl ConfigError {
    pub(super) fn unless_empty(problems: Vec<Problem>) -> Result<(), Self> {
        if problems.is_empty() { Ok(()) } else { Err(ConfigError { problems }) }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the configuration is not usable:")?;
        for Problem { key, what } in &self.problems {
            write!(f, "\n  {key}: {what}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}
