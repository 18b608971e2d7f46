//! A worker starts on an old copy of its state folder, as after a restore from a backup, when the changelog behind it has
//! been compacted: what was written after the copy is counted, and counted again before the copy is used. (Its tombstones are
//! still there: Kafka keeps them for a day. What happens when they are gone, the simulator shows.)

use super::{Scenario, draw_ms, draw_worker, nothing};
use crate::campaign::stage::Stage;
use crate::kit::Isolation;
use anyhow::{Context, Result, ensure};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const KIND: &str = "stale state folder";
/// Longer than the campaign's changelog keeps records from compaction, roll of a segment included.
const AGE: std::ops::Range<u64> = 40_000..50_000;
const SESSION: Duration = Duration::from_secs(7);
/// Others have the lanes then, and write behind the copy.
const WRITTEN: Duration = Duration::from_secs(6);
/// On a busy machine compaction takes longer: so often it is looked for once more.
const MORE_LOOKS: u32 = 3;
const BETWEEN_LOOKS: Duration = Duration::from_secs(10);

pub(super) const SCENARIO: Scenario = Scenario {
    name: "stale-store",
    what: "a worker comes back with the state folder of a minute ago, behind which the changelog was compacted",
    weight: 1,
    kinds: &[KIND],
    missing: nothing,
    play,
};

/// What a lane wrote to its changelog soon after the copy.
struct Stretch {
    lane: i32,
    from: i64,
    to: i64,
    /// Committed records in it.
    records: usize,
}

fn play(stage: &mut Stage) -> Result<()> {
    let victim = draw_worker(stage);
    stage.workers[victim].kill()?;
    let (state, copy) = (stage.workers[victim].state.clone(), stage.folder.join("stale-copy"));
    replace(&state, &copy)?;
    let copied = ends(stage, &copy)?;
    // Its lanes go to others, as nobody starts it again.
    stage.pass(SESSION)?;
    stage.workers[victim].start()?;
    stage.pass(WRITTEN)?;
    let stretches = stretches(stage, &copied)?;
    let age = draw_ms(stage, AGE);
    stage.pass(age)?;
    let compacted = until_compacted(stage, &stretches)?;
    stage.watch(KIND);
    stage.workers[victim].kill()?;
    replace(&copy, &state)?;
    let id = stage.workers[victim].id.clone();
    if compacted.is_empty() {
        let lanes = stretches.len();
        stage
            .faults
            .note(&format!("{id}: behind none of the {lanes} copied stores the changelog was compacted"));
    } else {
        stage.faults.did(KIND, &format!("{id}: {}", compacted.join(", ")), SESSION + WRITTEN + age);
    }
    stage.workers[victim].start()?;
    let after = draw_ms(stage, 3_000..5_000);
    stage.pass(after)
}

fn changelog(stage: &Stage) -> String {
    format!("{}.changelog", stage.setting.app)
}

/// Where the changelog ends now, of each lane that has a store in this folder. No store there has more.
fn ends(stage: &Stage, folder: &Path) -> Result<Vec<(i32, i64)>> {
    let lanes = (0..stage.options.lanes).filter(|lane| folder.join(format!("p-{lane:04}")).exists());
    lanes.map(|lane| Ok((lane, stage.cluster.watermarks(&changelog(stage), lane)?.1))).collect()
}

fn stretches(stage: &Stage, copied: &[(i32, i64)]) -> Result<Vec<Stretch>> {
    let stretch = |(lane, from): &(i32, i64)| {
        // What is before the last stable offset was committed or was not, and stays so.
        let to = stage.cluster.last_offset(&changelog(stage), *lane, Isolation::Committed)?;
        let stretch = Stretch { lane: *lane, from: *from, to, records: 0 };
        Ok(Stretch { records: left(stage, &stretch)?, ..stretch })
    };
    copied.iter().map(stretch).collect()
}

/// How many records are left of a stretch.
fn left(stage: &Stage, stretch: &Stretch) -> Result<usize> {
    if stretch.from >= stretch.to {
        return Ok(0);
    }
    let reading = stage.cluster.read_from(&changelog(stage), stretch.lane, stretch.from)?;
    Ok(reading.records.iter().filter(|record| record.offset < stretch.to).count())
}

/// The lanes of whose stretch something is gone, in words. Nobody but Kafka's compaction takes records from a changelog.
fn compacted(stage: &Stage, stretches: &[Stretch]) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for stretch in stretches {
        let (lane, before, now) = (stretch.lane, stretch.records, left(stage, stretch)?);
        if now < before {
            found.push(format!("lane {lane} has {now} of {before} records left"));
        }
    }
    Ok(found)
}

fn until_compacted(stage: &mut Stage, stretches: &[Stretch]) -> Result<Vec<String>> {
    let mut found = compacted(stage, stretches)?;
    for _ in 0..MORE_LOOKS {
        if found.is_empty() {
            stage.pass(BETWEEN_LOOKS)?;
            found = compacted(stage, stretches)?;
        }
    }
    Ok(found)
}

fn replace(from: &Path, to: &PathBuf) -> Result<()> {
    if to.exists() {
        std::fs::remove_dir_all(to)?;
    }
    let status = Command::new("cp").arg("-a").arg(from).arg(to).status().context("cp")?;
    ensure!(status.success(), "{} cannot be copied to {}", from.display(), to.display());
    Ok(())
}
