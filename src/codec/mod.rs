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

/// Version of the rows of instances and of their turns since several turns share a row, of positions since they hold the
/// number of lanes and the callees, and of journal records since the first call of a workflow goes through the log.
const SECOND: u8 = 2;

/// Version of the stored state as a whole, for the identity of a state folder.
pub const FORMAT: u32 = VERSION as u32;

fn pack<T: Serialize>(value: &T) -> Vec<u8> {
    let mut out = Vec::with_capacity(64);
    pack_into(&mut out, value);
    out
}

/// The same behind what is there: a checkpoint has thousands of rows, and an allocation for each would be felt.
fn pack_into<T: Serialize>(out: &mut Vec<u8>, value: &T) {
    pack_version_into(out, VERSION, value);
}

fn pack_version_into<T: Serialize>(out: &mut Vec<u8>, version: u8, value: &T) {
    out.push(version);
    // Serializing plain data into memory fails only for types without a length, of which there are none here.
    let done = postcard::serialize_with_flavor(value, Behind(out));
    debug_assert!(done.is_ok(), "{done:?}");
}

/// Writes behind what a vector holds.
struct Behind<'a>(&'a mut Vec<u8>);

impl postcard::ser_flavors::Flavor for Behind<'_> {
    type Output = ();

    fn try_extend(&mut self, data: &[u8]) -> postcard::Result<()> {
        self.0.extend_from_slice(data);
        Ok(())
    }

    fn try_push(&mut self, data: u8) -> postcard::Result<()> {
        self.0.push(data);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

fn unpack<T: DeserializeOwned>(what: &'static str, bytes: &[u8]) -> Result<T, CodecError> {
    match split_version(what, bytes)? {
        (VERSION, value) => parse(what, value),
        (version, _) => unknown_version(what, version),
    }
}

/// Reads what version 1 wrote as well; `renew` makes that what would be written today.
fn unpack_second<T: DeserializeOwned>(
    what: &'static str,
    bytes: &[u8],
    renew: impl FnOnce(&[u8]) -> Vec<u8>,
) -> Result<T, CodecError> {
    match split_version(what, bytes)? {
        (SECOND, value) => parse(what, value),
        (VERSION, old) => parse(what, &renew(old)),
        (version, _) => unknown_version(what, version),
    }
}

fn split_version<'a>(what: &'static str, bytes: &'a [u8]) -> Result<(u8, &'a [u8]), CodecError> {
    let (version, value) = bytes.split_first().ok_or_else(|| CodecError::new(what, "it is empty"))?;
    Ok((*version, value))
}

fn parse<T: DeserializeOwned>(what: &'static str, value: &[u8]) -> Result<T, CodecError> {
    postcard::from_bytes(value).map_err(|e| CodecError::new(what, e.to_string()))
}

fn unknown_version<T>(what: &'static str, version: u8) -> Result<T, CodecError> {
    let why = "it was written by a newer Sakia, upgrade this process";
    Err(CodecError::new(what, format!("format version {version} is not known; {why}")))
}
