//! One error type. Inside a step a plain `?` means "try again", [`Permanent::permanent`] means "stop".

use crate::core::error::{Failure, FailureKind};
use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt;

/// What workflows, steps and clients return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failure. Any error converts into one with `?`; in a step that means *retry*.
///
/// ```
/// use sakia::Error;
/// let e: Error = "x".parse::<u8>().unwrap_err().into();
/// assert!(!e.is_permanent());
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Error {
    failure: Failure,
}

impl Error {
    /// An error with a text. In a step it is retried.
    pub fn msg(message: impl fmt::Display) -> Self {
        Error {
            failure: Failure {
                kind: FailureKind::Retryable,
                message: message.to_string(),
                details: Bytes::new(),
            },
        }
    }
    /// An error of yours that no retry would mend. It travels with its fields: see [`Error::details`].
    ///
    /// ```
    /// # use sakia::Error;
    /// #[derive(Debug, serde::Serialize, serde::Deserialize)]
    /// struct Declined { reason: String }
    /// impl std::fmt::Display for Declined {
    ///     fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result { write!(f, "declined: {}", self.reason) }
    /// }
    /// impl std::error::Error for Declined {}
    /// let e = Error::permanent(Declined { reason: "stolen".into() });
    /// assert_eq!(e.details::<Declined>().unwrap().reason, "stolen");
    /// ```
    pub fn permanent<E: std::error::Error + Serialize>(error: E) -> Self {
        let details = serde_json::to_vec(&error).unwrap_or_default();
        let failure = Failure {
            kind: FailureKind::Permanent,
            message: error.to_string(),
            details: Bytes::from(details),
        };
        Error { failure }
    }
    /// The typed error that [`Error::permanent`] was given, if it is an `E`.
    pub fn details<E: DeserializeOwned>(&self) -> Option<E> {
        serde_json::from_slice(&self.failure.details).ok()
    }
    /// Whether a retry would be of no use.
    pub fn is_permanent(&self) -> bool {
        self.failure.kind != FailureKind::Retryable
    }
    /// Whether it says that the instance was cancelled.
    pub fn is_cancelled(&self) -> bool {
        self.failure.kind == FailureKind::Cancelled
    }
    pub(crate) fn into_failure(self) -> Failure {
        self.failure.bounded()
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        Error { failure }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.failure.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.failure.kind, self.failure.message)
    }
}

// `Error` itself is no `std::error::Error`: otherwise this conversion would overlap with `From<T> for T`.
impl<E: std::error::Error> From<E> for Error {
    fn from(error: E) -> Self {
        let mut message = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            message = format!("{message}: {cause}");
            source = cause.source();
        }
        Error::msg(message)
    }
}

/// Turns an error into one that is not retried.
pub trait Permanent<T> {
    /// `Err` becomes permanent.
    ///
    /// ```
    /// use sakia::{Permanent, Result};
    /// fn parse(s: &str) -> Result<u8> { Ok(s.parse::<u8>().permanent()?) }
    /// assert!(parse("x").unwrap_err().is_permanent());
    /// ```
    fn permanent(self) -> Result<T>;
}

impl<T, E: Into<Error>> Permanent<T> for std::result::Result<T, E> {
    fn permanent(self) -> Result<T> {
        self.map_err(|e| {
            let mut failure = e.into().failure;
            if failure.kind == FailureKind::Retryable {
                failure.kind = FailureKind::Permanent;
            }
            Error { failure }
        })
    }
}
