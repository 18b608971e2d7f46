//! The disk of a lane. A crash may bring back an older state, as RocksDB without a write-ahead log does.

use crate::host::SimHost;
use crate::task::Pause;
use bytes::Bytes;
use sakia::store::{Store, StoreError, Write};
use std::collections::BTreeMap;

/// Older states that are kept for a crash.
const SNAPSHOTS: usize = 3;

#[derive(Clone, Default)]
pub(crate) struct Content {
    pub(crate) entries: BTreeMap<Bytes, Bytes>,
    pub(crate) next_offset: i64,
}

#[derive(Default)]
pub(crate) struct Disk {
    pub(crate) content: Content,
    flushed: Vec<Content>,
    poisoned: bool,
}

impl Disk {
    /// What a crash leaves: the last state, an older one, or nothing.
    pub(crate) fn crash(&mut self, luck: usize) -> &'static str {
        self.poisoned = false;
        let (content, what) = match luck {
            0 => (Content::default(), "is empty"),
            1 | 2 if !self.flushed.is_empty() => {
                (self.flushed[luck % self.flushed.len()].clone(), "is stale")
            }
            _ => return "is whole",
        };
        self.content = content;
        self.flushed.clear();
        what
    }

    pub(crate) fn wipe(&mut self) {
        *self = Disk::default();
    }
}

/// A lane's store in one process.
pub(crate) struct SimStore {
    pub(crate) host: SimHost,
    pub(crate) lane: i32,
}

impl SimStore {
    fn with<T>(&self, f: impl FnOnce(&mut Disk) -> T) -> Result<T, StoreError> {
        let mut world = self.host.sim.world();
        let disk = world.disks.entry((self.host.process, self.lane)).or_default();
        if disk.poisoned {
            return Err(self.error("poisoned"));
        }
        Ok(f(disk))
    }

    /// The same, if the disk can be read now.
    fn read<T>(&self, f: impl FnOnce(&Content) -> T) -> Result<T, StoreError> {
        let fails = {
            let mut world = self.host.sim.world();
            let rate = world.profile.disk_unreadable;
            let fails = rate > 0 && world.fault(rate);
            if fails {
                world.note(format_args!("disk {} of process {} is unreadable", self.lane, self.host.process));
            }
            fails
        };
        if fails { Err(self.error("input/output error")) } else { self.with(|disk| f(&disk.content)) }
    }

    fn error(&self, cause: &str) -> StoreError {
        StoreError::Io {
            path: format!("disk {} of process {}", self.lane, self.host.process).into(),
            cause: cause.into(),
        }
    }
}

impl Store for SimStore {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.read(|content| content.entries.get(key).cloned())
    }

    fn scan(&self, prefix: &[u8], from: &[u8], limit: usize) -> Result<Vec<(Bytes, Bytes)>, StoreError> {
        let start = Bytes::copy_from_slice(prefix.max(from));
        self.read(|content| {
            let found = content.entries.range(start..).take_while(|(k, _)| k.starts_with(prefix));
            found.take(limit).map(|(k, v)| (k.clone(), v.clone())).collect()
        })
    }

    fn apply(&mut self, writes: &[Write], next_changelog_offset: i64) -> Result<(), StoreError> {
        self.host.pause(Pause::Go);
        if !self.host.is_alive() {
            return Err(self.error("the process is dead"));
        }
        let full = {
            let mut world = self.host.sim.world();
            let full = world.profile.disk_full;
            world.fault(full)
        };
        if full {
            self.with(|disk| disk.poisoned = true)?;
            self.host
                .sim
                .world()
                .note(format_args!("disk {} of process {} is full", self.lane, self.host.process));
            return Err(self.error("no space left on device"));
        }
        let keep = self.host.sim.world().rng.u32(0..3) == 0;
        self.with(|disk| {
            if keep {
                disk.flushed.push(disk.content.clone());
                let len = disk.flushed.len();
                disk.flushed.drain(..len.saturating_sub(SNAPSHOTS));
            }
            for (key, value) in writes {
                match value {
                    Some(value) => disk.content.entries.insert(key.clone(), value.clone()),
                    None => disk.content.entries.remove(key),
                };
            }
            disk.content.next_offset = next_changelog_offset;
        })?;
        self.host.sim.world().check_store(self.host.process, self.lane);
        self.host.pause(Pause::Go);
        Ok(())
    }

    fn next_changelog_offset(&self) -> Result<i64, StoreError> {
        self.read(|content| content.next_offset)
    }

    fn wipe(&mut self) -> Result<(), StoreError> {
        self.with(Disk::wipe)
    }
}
