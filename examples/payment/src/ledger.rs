//! The provider's ledger: one JSON line per request, in the order in which they came.

use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;

/// One request and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// When, in milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// What was asked.
    pub operation: Operation,
    /// For which order.
    pub order: String,
    /// How the caller named the call.
    pub key: String,
    /// How often this key had been seen, this time included.
    pub attempt: u32,
    /// What became of it.
    pub outcome: Outcome,
}

/// What a provider can be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// Hold the money.
    Authorize,
    /// Take it.
    Capture,
    /// Let it go.
    Void,
}

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Done, for the first time. Money moved.
    Done {
        /// The provider's name for it.
        id: String,
    },
    /// Done before under the same key: the old answer was given again. No money moved.
    Repeated {
        /// The provider's name for it.
        id: String,
    },
    /// Refused for good.
    Declined,
    /// The provider was not in the mood (HTTP 503). No money moved.
    Unavailable,
}

/// Writes a ledger, line by line.
#[derive(Debug)]
pub struct Writer {
    file: File,
}

impl Writer {
    /// Opens the ledger, behind what is in it.
    ///
    /// # Errors
    /// If the file cannot be opened.
    pub fn append_to(path: &Path) -> io::Result<Self> {
        Ok(Writer { file: File::options().create(true).append(true).open(path)? })
    }

    /// Adds a line, in one write, so that a reader never sees half of two.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn append(&mut self, entry: &Entry) -> io::Result<()> {
        let mut line = serde_json::to_vec(entry)?;
        line.push(b'\n');
        self.file.write_all(&line)
    }
}

/// Follows a ledger while it is written.
#[derive(Debug)]
pub struct Reader {
    lines: BufReader<File>,
    partial: String,
}

impl Reader {
    /// Opens the ledger at its beginning.
    ///
    /// # Errors
    /// If there is none.
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Reader { lines: BufReader::new(File::open(path)?), partial: String::new() })
    }

    /// The lines that came since the last call.
    ///
    /// # Errors
    /// If the file cannot be read, or a line is no entry.
    pub fn read_new(&mut self) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        // A line whose end has not been written yet is kept for the next call.
        while self.lines.read_line(&mut self.partial)? > 0 {
            if !self.partial.ends_with('\n') {
                break;
            }
            entries.push(serde_json::from_str(&self.partial)?);
            self.partial.clear();
        }
        Ok(entries)
    }
}
