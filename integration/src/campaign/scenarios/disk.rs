//! The state folder is lost, damaged or full. It is a copy of what Kafka has, so none of this may matter.

use super::{Scenario, draw_ms, draw_worker, nothing};
use crate::campaign::stage::Stage;
use anyhow::Result;
use rand::Rng;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

const WIPED: &str = "state folder wiped";
const FLIPPED: &str = "bytes flipped in the state folder";
const FLIPS: usize = 12;

pub(super) const WIPE: Scenario = Scenario {
    name: "state-wipe",
    what: "kill -9, then the state folder is deleted",
    weight: 1,
    kinds: &[WIPED],
    missing: nothing,
    play: wipe,
};

pub(super) const FLIP: Scenario = Scenario {
    name: "state-flip",
    what: "kill -9, then bytes are flipped in files of the store",
    weight: 1,
    kinds: &[FLIPPED],
    missing: nothing,
    play: flip,
};

fn wipe(stage: &mut Stage) -> Result<()> {
    let victim = draw_worker(stage);
    stage.watch(WIPED);
    stage.workers[victim].kill()?;
    fs::remove_dir_all(&stage.workers[victim].state)?;
    stage.faults.did(WIPED, &stage.workers[victim].id, Duration::ZERO);
    stage.workers[victim].start()?;
    let after = draw_ms(stage, 2_000..4_000);
    stage.pass(after)
}

fn flip(stage: &mut Stage) -> Result<()> {
    let victim = draw_worker(stage);
    stage.watch(FLIPPED);
    stage.workers[victim].kill()?;
    let mut files = Vec::new();
    store_files(&stage.workers[victim].state, &mut files)?;
    files.sort();
    let mut flipped = 0;
    for _ in 0..FLIPS.min(files.len()) {
        let path = files[stage.rng.random_range(0..files.len())].clone();
        let mut bytes = fs::read(&path)?;
        if !bytes.is_empty() {
            let at = stage.rng.random_range(0..bytes.len());
            bytes[at] ^= 1 << stage.rng.random_range(0..8);
            fs::write(&path, bytes)?;
            flipped += 1;
        }
    }
    if flipped > 0 {
        stage.workers[victim].was_flipped = true;
        stage.faults.did(FLIPPED, &stage.workers[victim].id, Duration::ZERO);
    }
    stage.workers[victim].start()?;
    let after = draw_ms(stage, 2_000..4_000);
    stage.pass(after)
}

/// The files that a store rests on, not its notes for people: in the folders of lanes, and not the identity beside them,
/// which a person has to mend.
fn store_files(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(
                fs::read_dir(&path)?.filter_map(|e| e.ok().map(|e| e.path())).filter(|p| is_state(p)),
            );
        }
    }
    Ok(())
}

fn is_state(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.ends_with(".sst") || name.starts_with("MANIFEST") || name == "CURRENT"
}
