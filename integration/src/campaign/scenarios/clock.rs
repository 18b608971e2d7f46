//! One worker's clock steps by an hour: back, and it is corrected; or ahead, and in the end all others follow.
//!
//! What a worker that is ahead arms is due in an hour for the others. So before they go on everything is run to its end
//! with all clocks ahead.

use super::{Scenario, draw_ms, draw_worker};
use crate::campaign::stage::Stage;
use crate::campaign::worker::fake_clock_library;
use anyhow::Result;
use std::path::{Path, PathBuf};
use std::time::Duration;

const BACK: &str = "clock stepped back by an hour";
const AHEAD: &str = "clock stepped ahead by an hour";
const RUN_OUT: Duration = Duration::from_secs(90);
/// libfaketime looks at the file again after a second.
const NOTICED: Duration = Duration::from_millis(1_500);

pub(super) const SCENARIO: Scenario = Scenario {
    name: "clock",
    what: "the clock of a worker steps by an hour while it runs, back and ahead",
    weight: 1,
    kinds: &[BACK, AHEAD],
    missing,
    play,
};

fn missing(_: &Stage) -> Option<String> {
    let needed = "libfaketime is not installed (Debian: apt-get install faketime)";
    fake_clock_library().is_none().then(|| needed.into())
}

fn play(stage: &mut Stage) -> Result<()> {
    stage.clocks_differ(true);
    for (step, kind) in [("-3600", BACK), ("+3600", AHEAD)] {
        let victim = draw_worker(stage);
        let file = clock_file(stage, victim);
        std::fs::write(&file, "+0\n")?;
        restart(stage, victim, Some(&file))?;
        let before = draw_ms(stage, 2_000..3_500);
        stage.pass(before)?;
        let length = draw_ms(stage, 4_000..7_000);
        stage.watch(kind);
        std::fs::write(&file, format!("{step}\n"))?;
        stage.faults.did(kind, &stage.workers[victim].id, length);
        stage.pass(length)?;
        if kind == BACK {
            std::fs::write(&file, "+0\n")?;
            stage.pass(NOTICED)?;
            restart(stage, victim, None)?;
        }
    }
    let followed = follow(stage);
    stage.load.resume();
    followed?;
    stage.clocks_differ(false);
    let after = draw_ms(stage, 2_000..4_000);
    stage.pass(after)
}

/// All clocks go ahead until nothing is left that was armed ahead of time; then all go back together.
fn follow(stage: &mut Stage) -> Result<()> {
    for worker in 0..stage.workers.len() {
        let file = clock_file(stage, worker);
        std::fs::write(&file, "+3600\n")?;
        restart(stage, worker, Some(&file))?;
    }
    stage.load.pause();
    // What has not ended by then is told by its age, or at the end.
    if !stage.pass_until(RUN_OUT, |stage| stage.is_idle())? {
        stage.faults.note("not everything ended while all clocks were ahead");
    }
    for worker in 0..stage.workers.len() {
        restart(stage, worker, None)?;
    }
    Ok(())
}

fn clock_file(stage: &Stage, worker: usize) -> PathBuf {
    stage.folder.join(format!("{}.clock", stage.workers[worker].id))
}

fn restart(stage: &mut Stage, worker: usize, clock: Option<&Path>) -> Result<()> {
    stage.workers[worker].kill()?;
    stage.workers[worker].set_clock(clock);
    stage.workers[worker].start()
}
