//! Whose state a folder holds, and which process has it open.

use super::StoreError;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};

const IDENTITY_FILE: &str = "identity.json";
const LOCK_FILE: &str = "lock";

/// What a state folder belongs to. A folder of another identity is refused, never overwritten.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Id of the Kafka cluster.
    pub cluster_id: String,
    /// Name of the app.
    pub app: String,
    /// Number of lanes; a key's lane depends on it.
    pub partitions: i32,
    /// Version of the format of keys and values.
    pub format: u32,
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Identity { cluster_id, app, partitions, format } = self;
        write!(f, "app {app} with {partitions} partitions on cluster {cluster_id} (format {format})")
    }
}

pub(super) fn io(path: &Path, cause: impl fmt::Display) -> StoreError {
    StoreError::Io { path: path.to_owned(), cause: cause.to_string() }
}

/// A locked folder. The kernel gives the lock up when the process ends, however it ends.
#[derive(Debug)]
pub(super) struct Folder {
    pub(super) path: PathBuf,
    _lock: File,
}

impl Folder {
    /// Creates the folder if need be (only its owner may read it: it holds payloads), locks it, checks its identity.
    pub(super) fn claim(path: &Path, identity: &Identity) -> Result<Folder, StoreError> {
        create_private(path).map_err(|e| io(path, e))?;
        let lock = lock(path)?;
        check_identity(path, identity)?;
        Ok(Folder { path: path.to_owned(), _lock: lock })
    }
}

fn create_private(path: &Path) -> std::io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::DirBuilderExt;
        builder.mode(0o700);
    }
    builder.create(path)
}

fn lock(path: &Path) -> Result<File, StoreError> {
    let file = path.join(LOCK_FILE);
    let mut f = OpenOptions::new()
        .create(true)
        .read(true)
        .write(true)
        .truncate(false)
        .open(&file)
        .map_err(|e| io(&file, e))?;
    match f.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            let known = f.read_to_string(&mut pid).is_ok() && !pid.trim().is_empty();
            let detail = if known { format!("pid {}", pid.trim()) } else { "pid unknown".into() };
            return Err(StoreError::InUse { path: path.to_owned(), detail });
        }
        Err(TryLockError::Error(e)) => return Err(io(&file, e)),
    }
    f.set_len(0)
        .and_then(|()| f.rewind())
        .and_then(|()| writeln!(f, "{}", std::process::id()))
        .map_err(|e| io(&file, e))?;
    Ok(f)
}

fn check_identity(path: &Path, expected: &Identity) -> Result<(), StoreError> {
    let file = path.join(IDENTITY_FILE);
    let foreign =
        |found: String| StoreError::Foreign { path: path.to_owned(), found, expected: expected.to_string() };
    match fs::read(&file) {
        Ok(bytes) => match serde_json::from_slice::<Identity>(&bytes) {
            Ok(found) if found == *expected => Ok(()),
            Ok(found) => Err(foreign(found.to_string())),
            Err(e) => Err(foreign(format!("an unreadable {IDENTITY_FILE} ({e})"))),
        },
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            let json = serde_json::to_vec_pretty(expected).map_err(|e| io(&file, e))?;
            // By rename: a crash leaves either no identity or a whole one.
            let new = path.join(format!("{IDENTITY_FILE}.new"));
            File::create(&new)
                .and_then(|mut f| f.write_all(&json).and_then(|()| f.sync_all()))
                .and_then(|()| fs::rename(&new, &file))
                .map_err(|e| io(&file, e))
        }
        Err(e) => Err(io(&file, e)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(crate) fn identity() -> Identity {
        Identity { cluster_id: "c1".into(), app: "payments".into(), partitions: 8, format: 1 }
    }

    #[test]
    fn a_folder_is_claimed_once_and_by_its_own_app_only() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state");
        let first = Folder::claim(&path, &identity()).unwrap();
        let text = Folder::claim(&path, &identity()).unwrap_err().to_string();
        assert!(text.contains(&format!("pid {}", std::process::id())), "{text}");
        drop(first);
        let other = Identity { partitions: 4, ..identity() };
        let text = Folder::claim(&path, &other).unwrap_err().to_string();
        assert!(text.contains("8 partitions") && text.contains("4 partitions"), "{text}");
        Folder::claim(&path, &identity()).unwrap();
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        }
        fs::write(path.join(IDENTITY_FILE), b"{").unwrap();
        assert!(matches!(Folder::claim(&path, &identity()), Err(StoreError::Foreign { .. })));
    }
}
