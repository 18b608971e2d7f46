//! Why a broker did not start.
use std::path::PathBuf;

/// Reasons for [`Broker::start`](crate::Broker::start) to fail.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BrokerError {
    /// Somebody else listens on the port.
    #[error(
        "port {port} on 127.0.0.1 is already in use: stop the program that listens there, or choose another with BrokerConfig::port (0 takes any free port)"
    )]
    PortInUse {
        /// The port that was asked for.
        port: u16,
    },
    /// The port cannot be had for another reason.
    #[error("cannot listen on 127.0.0.1:{port}: {source}")]
    Listen {
        /// The port that was asked for.
        port: u16,
        /// What the system said.
        source: std::io::Error,
    },
    /// Another broker uses the data folder.
    #[error(
        "data folder {dir} is in use by another broker: stop that one, or choose another folder with BrokerConfig::data_dir"
    )]
    DataDirLocked {
        /// The folder.
        dir: PathBuf,
    },
    /// The data folder cannot be made or written.
    #[error("data folder {dir} cannot be written: {reason}")]
    DataDirNotWritable {
        /// The folder.
        dir: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// The data folder was written by a broker of another format.
    #[error(
        "data folder {dir} has format {found}, this broker reads and writes format {expected}: choose another folder, or delete this one"
    )]
    FormatVersion {
        /// The folder.
        dir: PathBuf,
        /// Version found on disk.
        found: u32,
        /// Version of this program.
        expected: u32,
    },
    /// Something else went wrong with the storage engine.
    #[error("storage: {0}")]
    Storage(String),
    /// A stored value does not decode.
    #[error(
        "data folder holds a value that cannot be read ({what}); it may be damaged: delete the folder to start afresh"
    )]
    Corrupt {
        /// Which value.
        what: String,
    },
    /// The system gave no thread.
    #[error("cannot start a thread: {0}")]
    Thread(std::io::Error),
}
