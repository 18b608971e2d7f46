//! Reads one partition.

use crate::broker::Place;
use crate::host::SimHost;
use crate::task::Pause;
use sakia::log::{Isolation, LogError, LogReader, Record};
use std::time::Duration;

pub(super) struct SimReader {
    host: SimHost,
    place: Place,
    position: i64,
    isolation: Isolation,
}

impl SimReader {
    pub(super) fn new(host: SimHost, place: Place, from: i64, isolation: Isolation) -> Self {
        SimReader { host, place, position: from, isolation }
    }
}

impl LogReader for SimReader {
    fn next(&mut self, wait: Duration) -> Result<Option<Record>, LogError> {
        // One fetch brings several records: not each of them is a chance for others.
        if self.host.sim.world().rng.u32(0..4) == 0 {
            self.host.pause(Pause::Go);
        }
        if !self.host.is_alive() {
            return Err(LogError::Lost("the process is dead".into()));
        }
        let mut world = self.host.sim.world();
        let start = world.broker.range(&self.place, self.isolation).start;
        if self.position < start {
            return Err(LogError::Broken(format!("{:?} begins at {start} now", self.place)));
        }
        // A leader that is new may not know yet how far the log goes (KIP-207).
        let slow = world.fault(50);
        let before = self.position;
        if !slow {
            match world.broker.next(&self.place, self.position, self.isolation) {
                Ok(record) => {
                    self.position = record.offset + 1;
                    return Ok(Some(record));
                }
                Err(position) => self.position = position,
            }
        }
        drop(world);
        if self.position == before {
            self.host.sleep(wait);
        }
        Ok(None)
    }

    fn position(&mut self) -> Result<i64, LogError> {
        Ok(self.position)
    }
}
