//! Says how far a restore is.

use super::LaneConfig;
use std::time::{Duration, Instant};

const PROGRESS_EVERY: Duration = Duration::from_secs(2);
const LOOK_EVERY: u64 = 256;

/// The log lines of one restore.
pub(super) struct Progress<'a> {
    config: &'a LaneConfig,
    start: i64,
    end: i64,
    records: u64,
    began: Instant,
    said: Instant,
}

impl<'a> Progress<'a> {
    pub(super) fn new(config: &'a LaneConfig, start: i64, end: i64) -> Self {
        Progress { config, start, end, records: 0, began: Instant::now(), said: Instant::now() }
    }

    pub(super) fn at(&mut self, offset: i64) {
        self.records += 1;
        // A look at the clock for each record would be a tenth of the restore.
        if self.records.is_multiple_of(LOOK_EVERY) && self.said.elapsed() >= PROGRESS_EVERY {
            self.said = Instant::now();
            let done = (offset - self.start) as f64 / (self.end - self.start).max(1) as f64;
            let seconds = self.began.elapsed().as_secs_f64();
            tracing::info!(
                lane = self.config.partition,
                "restoring: {:.0} % of the changelog, {:.0} records/s, about {:.0} s to go",
                done * 100.0,
                self.records as f64 / seconds,
                seconds * (1.0 - done) / done.max(0.001)
            );
        }
    }

    pub(super) fn done(&self) {
        let seconds = self.began.elapsed().as_secs_f64();
        tracing::debug!(
            lane = self.config.partition,
            records = self.records,
            "restored in {seconds:.2} s ({:.0} records/s)",
            self.records as f64 / seconds.max(0.000_001)
        );
    }
}
