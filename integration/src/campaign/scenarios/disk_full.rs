//! The disk of the state folder is full: a small tmpfs, filled while the worker runs, and emptied again.

use super::{Scenario, draw_ms, draw_worker};
use crate::campaign::stage::Stage;
use anyhow::{Context, Result};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use std::fs;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

const KIND: &str = "disk full";
const SIZE: &str = "size=48m";
static CHUNK: [u8; 65_536] = [0xa5; 65_536];

pub(super) const SCENARIO: Scenario = Scenario {
    name: "disk-full",
    what: "a worker's state folder is on a tmpfs, which is filled up and later emptied",
    weight: 1,
    kinds: &[KIND],
    missing,
    play,
};

fn missing(stage: &Stage) -> Option<String> {
    let probe = stage.folder.join("mount-probe");
    let tried = fs::create_dir_all(&probe).map_err(anyhow::Error::from).and_then(|()| {
        mount_tmpfs(&probe)?;
        Ok(umount2(&probe, MntFlags::empty())?)
    });
    tried.err().map(|error| format!("a tmpfs cannot be mounted here: {error:#}"))
}

fn mount_tmpfs(at: &Path) -> Result<()> {
    mount(Some("tmpfs"), at, Some("tmpfs"), MsFlags::empty(), Some(SIZE)).context("mount")
}

fn play(stage: &mut Stage) -> Result<()> {
    let victim = draw_worker(stage);
    let state = stage.workers[victim].state.clone();
    stage.workers[victim].kill()?;
    fs::remove_dir_all(&state)?;
    fs::create_dir_all(&state)?;
    mount_tmpfs(&state)?;
    let played = fill_and_empty(stage, victim, &state);
    // Also when the run is cut short: nothing may stay mounted.
    stage.workers[victim].kill()?;
    umount2(&state, MntFlags::MNT_DETACH)?;
    played?;
    stage.workers[victim].start()?;
    let after = draw_ms(stage, 2_000..4_000);
    stage.pass(after)
}

fn fill_and_empty(stage: &mut Stage, victim: usize, state: &Path) -> Result<()> {
    stage.workers[victim].start()?;
    let before = draw_ms(stage, 3_000..4_000);
    stage.pass(before)?;
    let length = draw_ms(stage, 4_000..7_000);
    stage.watch(KIND);
    let filler = state.join("filler");
    let mut file = fs::File::create(&filler)?;
    // What the worker gives up is taken at once, to the last byte; this fails when there is none.
    while file.write_all(&CHUNK).is_ok() {}
    stage.faults.did(KIND, &stage.workers[victim].id, length);
    let began = std::time::Instant::now();
    while began.elapsed() < length {
        while file.write_all(&CHUNK).is_ok() {}
        stage.pass(Duration::from_millis(100))?;
    }
    fs::remove_file(&filler)?;
    let after = draw_ms(stage, 3_000..5_000);
    stage.pass(after)
}
