//! JSON from an argument, a file or stdin.

use super::{Exit, Failure};
use bytes::Bytes;
use std::io::Read;

/// The bytes, checked to be JSON, so that a mistake is told here and not by a dead letter.
pub(super) fn read(argument: &str, what: &str) -> Result<Bytes, Failure> {
    let text = match argument.strip_prefix('@') {
        Some(path) => std::fs::read(path)
            .map_err(|e| Failure::new(Exit::Usage, format!("{what}: file {path} cannot be read: {e}")))?,
        None if argument == "-" => {
            let mut all = Vec::new();
            std::io::stdin()
                .read_to_end(&mut all)
                .map_err(|e| Failure::new(Exit::Usage, format!("{what}: stdin cannot be read: {e}")))?;
            all
        }
        None => argument.as_bytes().to_vec(),
    };
    match serde_json::from_slice::<serde::de::IgnoredAny>(&text) {
        Ok(_) => Ok(Bytes::from(text)),
        Err(error) => Err(Failure::new(
            Exit::Usage,
            format!("{what} is not JSON: {error}; a text needs quotes of its own, as in '\"hello\"'"),
        )),
    }
}
