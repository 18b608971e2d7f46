//! Bytes: rows, journal records, commands, replies. Every format begins with a version, and an unknown version, tag or
//! kind is an error, never skipped.

pub mod command;
pub mod group;
pub mod headers;
pub mod journal;
pub mod key;
pub mod letter;
pub mod reply;
pub mod row;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Bytes that are not what they should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {why}")]
pub struct CodecError {
    /// What was being read.
    pub what: &'static str,
    /// What is wrong with it.
    pub why: String,
}

impl CodecError {
    pub(crate) fn new(what: &'static str, why: impl Into<String>) -> Self {
        CodecError { what, why: why.into() }
    }
}

/// Version of the internal formats. Raised when one changes; the old ones stay readable, with fixtures.
const VERSION: u8 = 1;

/// Version of the stored state as a whole, for the identity of a state folder.
pub const FORMAT: u32 = VERSION as u32;

fn pack<T: Serialize>(value: &T) -> Vec<u8> {
    // Serializing plain data into memory fails only for types without a length, of which there are none here.
    postcard::to_extend(value, vec![VERSION]).unwrap_or_default()
}

fn unpack<T: DeserializeOwned>(what: &'static str, bytes: &[u8]) -> Result<T, CodecError> {
    match bytes.split_first() {
        Some((&VERSION, rest)) => {
            postcard::from_bytes(rest).map_err(|e| CodecError::new(what, e.to_string()))
        }
        Some((version, _)) => Err(CodecError::new(
            what,
            format!(
                "format version {version} is not known; it was written by a newer Sakia, upgrade this process"
            ),
        )),
        None => Err(CodecError::new(what, "it is empty")),
    }
}
