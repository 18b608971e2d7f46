//! One worker's clock steps by an hour, back and ahead, and is set right again.
//!
//! Lanes that were with it while it was ahead stay ahead: their time does not go back. So from then on alarms are held
//! against the time of their lane only.

use super::{Scenario, draw_ms, draw_worker};
use crate::campaign::stage::Stage;
use crate::campaign::worker::fake_clock_library;
use anyhow::Result;
use std::path::{Path, PathBuf};
use std::time::Duration;

const BACK: &str = "clock stepped back by an hour";
const AHEAD: &str = "clock stepped ahead by an hour";
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
    stage.clocks_differ();
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
        // Set right while it runs, as by NTP, and only then without the library.
        std::fs::write(&file, "+0\n")?;
        stage.pass(NOTICED)?;
        restart(stage, victim, None)?;
        let after = draw_ms(stage, 1_000..2_500);
        stage.pass(after)?;
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
