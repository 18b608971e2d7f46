//! A worker starts on an old copy of its state folder, as after a restore from a backup, when the changelog behind it has
//! been compacted. (Its tombstones are still there: Kafka keeps them for a day. What happens when they are gone, the
//! simulator shows.)

use super::{Scenario, draw_ms, draw_worker, nothing};
use crate::campaign::stage::Stage;
use anyhow::{Context, Result, ensure};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const KIND: &str = "stale state folder";
/// Longer than the campaign's changelog keeps records from compaction, roll of a segment included.
const AGE: std::ops::Range<u64> = 40_000..50_000;
const SESSION: Duration = Duration::from_secs(7);

pub(super) const SCENARIO: Scenario = Scenario {
    name: "stale-store",
    what: "a worker comes back with the state folder of a minute ago, behind which the changelog was compacted",
    weight: 1,
    kinds: &[KIND],
    missing: nothing,
    play,
};

fn play(stage: &mut Stage) -> Result<()> {
    let victim = draw_worker(stage);
    stage.workers[victim].kill()?;
    let (state, copy) = (stage.workers[victim].state.clone(), stage.folder.join("stale-copy"));
    replace(&state, &copy)?;
    // Its lanes go to others, as nobody starts it again.
    stage.pass(SESSION)?;
    stage.workers[victim].start()?;
    let age = draw_ms(stage, AGE);
    stage.pass(age)?;
    stage.watch(KIND);
    stage.workers[victim].kill()?;
    replace(&copy, &state)?;
    stage.faults.did(KIND, &stage.workers[victim].id, age + SESSION);
    stage.workers[victim].start()?;
    let after = draw_ms(stage, 3_000..5_000);
    stage.pass(after)
}

fn replace(from: &Path, to: &PathBuf) -> Result<()> {
    if to.exists() {
        std::fs::remove_dir_all(to)?;
    }
    let status = Command::new("cp").arg("-a").arg(from).arg(to).status().context("cp")?;
    ensure!(status.success(), "{} cannot be copied to {}", from.display(), to.display());
    Ok(())
}
