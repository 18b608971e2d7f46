//! A process as it is seen from outside.

use super::process::{Shared, Worker, Workers, lock};
use crate::telemetry::{LanePicture, LaneState, Picture, Report};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// The process, asked whenever somebody wants to know.
pub(super) struct ProcessReport {
    pub(super) shared: Arc<Shared>,
    pub(super) workers: Arc<Workers>,
    pub(super) failed: Arc<Mutex<Option<String>>>,
    /// Whether the group has said what this process gets, if only nothing.
    pub(super) assigned: Arc<AtomicBool>,
    /// Whether it was told to end.
    pub(super) ending: Arc<AtomicBool>,
}

impl ProcessReport {
    fn lanes(&self) -> Vec<LanePicture> {
        let workers = lock(&self.workers);
        workers
            .iter()
            .filter_map(|((_, partition), worker)| match worker {
                Worker::Lane(lane) => Some(LanePicture {
                    partition: *partition,
                    state: lane.state(),
                    command_offset: lane.committed(),
                }),
                Worker::Ingress(_) => None,
            })
            .collect()
    }

    /// The partitions of bound topics whose records do not become commands at this moment.
    fn unmoved(&self) -> Vec<String> {
        let workers = lock(&self.workers);
        let mut all: Vec<String> = workers
            .iter()
            .filter_map(|((topic, partition), worker)| match worker {
                Worker::Ingress(ingress) if !ingress.moves() => {
                    Some(format!("topic {topic} partition {partition} is not read"))
                }
                _ => None,
            })
            .collect();
        all.sort();
        all
    }
}

impl Report for ProcessReport {
    fn metrics(&self) -> Result<String, std::fmt::Error> {
        let budget = &self.shared.lane.restore_budget;
        self.shared.metrics.render(&Picture {
            lanes: self.lanes(),
            stores: self.shared.stores.memory(),
            restores: budget.restores(),
            restore_limit: budget.limit(),
        })
    }

    fn alive(&self) -> Result<(), String> {
        match &*lock(&self.failed) {
            Some(why) => Err(format!("the group membership ended: {why}")),
            None => Ok(()),
        }
    }

    /// A process without a lane is ready: there may be more processes than lanes.
    fn ready(&self) -> Result<(), String> {
        self.alive()?;
        if self.ending.load(Ordering::SeqCst) {
            return Err("the process ends".into());
        }
        if !self.assigned.load(Ordering::SeqCst) {
            return Err("the group has not said yet which lanes are here".into());
        }
        let mut waiting: Vec<(i32, LaneState)> = self
            .lanes()
            .iter()
            .filter(|lane| lane.state != LaneState::Running)
            .map(|lane| (lane.partition, lane.state))
            .collect();
        waiting.sort_by_key(|(partition, _)| *partition);
        let mut all: Vec<String> = waiting
            .iter()
            .map(|(partition, state)| format!("lane {partition} is {}", state.name()))
            .collect();
        all.extend(self.unmoved());
        if all.is_empty() { Ok(()) } else { Err(all.join(", ")) }
    }
}
