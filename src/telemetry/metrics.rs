//! The metrics of a process. `docs/metrics.md` lists them.

use super::picture::{LaneState, Picture};
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfLane {
    lane: i32,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct InState {
    state: &'static str,
}

type ByLane<M> = Family<OfLane, M>;

/// What one lane counts. Cheap to clone, and to count with.
#[derive(Clone)]
pub struct LaneMetrics {
    commands: Counter,
    appends: Counter,
    checkpoints: Counter,
    failed_checkpoints: Counter,
    checkpoint_seconds: Histogram,
}

impl LaneMetrics {
    /// So many commands were handed to the lane.
    pub fn commands(&self, count: usize) {
        self.commands.inc_by(count as u64);
    }

    /// A journal record was handed to Kafka.
    pub fn appended(&self) {
        self.appends.inc();
    }

    /// A checkpoint ended after that time.
    pub fn checkpoint(&self, took: Duration, committed: bool) {
        if committed {
            self.checkpoints.inc();
            self.checkpoint_seconds.observe(took.as_secs_f64());
        } else {
            self.failed_checkpoints.inc();
        }
    }
}

/// Set from a picture of the moment, when somebody asks.
#[derive(Default)]
struct Gauges {
    lanes: Family<InState, Gauge>,
    command_offset: ByLane<Gauge>,
    cache: Gauge,
    cache_pinned: Gauge,
    cache_limit: Gauge,
    write_buffers: Gauge,
    write_buffers_limit: Gauge,
    table_readers: Gauge,
    restores: Gauge,
    restore_records: ByLane<Gauge>,
    restore_offsets_left: ByLane<Gauge>,
    restore_memory: Gauge,
    restore_limit: Gauge,
}

/// All metrics of a process.
pub struct Metrics {
    registry: Registry,
    commands: ByLane<Counter>,
    appends: ByLane<Counter>,
    checkpoints: ByLane<Counter>,
    failed_checkpoints: ByLane<Counter>,
    checkpoint_seconds: Histogram,
    /// One picture at a time: two who ask at once must not see a mixture.
    gauges: Mutex<Gauges>,
}

impl Default for Metrics {
    fn default() -> Self {
        Metrics::new()
    }
}

impl Metrics {
    /// All at zero.
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("sakia");
        let gauges = Gauges::default();
        gauges.register(&mut registry);
        // From one millisecond to eight seconds; after fifteen one has failed.
        let checkpoint_seconds = Histogram::new(exponential_buckets(0.001, 2.0, 14));
        let metrics = Metrics {
            commands: ByLane::default(),
            appends: ByLane::default(),
            checkpoints: ByLane::default(),
            failed_checkpoints: ByLane::default(),
            checkpoint_seconds,
            gauges: Mutex::new(gauges),
            registry,
        };
        metrics.registered()
    }

    fn registered(mut self) -> Self {
        let r = &mut self.registry;
        r.register("commands", "Commands that were handed to the lane", self.commands.clone());
        r.register("journal_appends", "Journal records that were handed to Kafka", self.appends.clone());
        r.register("checkpoints", "Checkpoints that were committed", self.checkpoints.clone());
        r.register("checkpoints_failed", "Checkpoints that were not", self.failed_checkpoints.clone());
        r.register_with_unit(
            "checkpoint_duration",
            "From the first record of a committed checkpoint to the end of its commit",
            Unit::Seconds,
            self.checkpoint_seconds.clone(),
        );
        self
    }

    /// What a lane counts with. It goes on counting when the lane comes back.
    pub fn lane(&self, partition: i32) -> LaneMetrics {
        let of = OfLane { lane: partition };
        LaneMetrics {
            commands: self.commands.get_or_create(&of).clone(),
            appends: self.appends.get_or_create(&of).clone(),
            checkpoints: self.checkpoints.get_or_create(&of).clone(),
            failed_checkpoints: self.failed_checkpoints.get_or_create(&of).clone(),
            checkpoint_seconds: self.checkpoint_seconds.clone(),
        }
    }

    /// Everything, in the OpenMetrics text format.
    ///
    /// # Errors
    /// If it cannot be written down.
    pub fn render(&self, picture: &Picture) -> Result<String, std::fmt::Error> {
        let gauges = self.gauges.lock().unwrap_or_else(PoisonError::into_inner);
        gauges.show(picture);
        let mut page = String::new();
        text::encode(&mut page, &self.registry)?;
        Ok(page)
    }
}

impl Gauges {
    fn register(&self, r: &mut Registry) {
        r.register("lanes", "Lanes of this process, by what they do", self.lanes.clone());
        r.register(
            "lane_command_offset",
            "Offset of the next command after the lane's last checkpoint",
            self.command_offset.clone(),
        );
        let mut bytes = |name: &str, help: &str, gauge: &Gauge| {
            r.register_with_unit(name, help, Unit::Bytes, gauge.clone());
        };
        bytes(
            "rocksdb_block_cache",
            "Blocks, indexes and filters in the one cache of all lanes",
            &self.cache,
        );
        bytes("rocksdb_block_cache_pinned", "Of them, those that cannot be evicted now", &self.cache_pinned);
        bytes("rocksdb_block_cache_limit", "What that cache may hold", &self.cache_limit);
        bytes("rocksdb_write_buffers", "Writes of all lanes that are not on disk yet", &self.write_buffers);
        bytes(
            "rocksdb_write_buffers_limit",
            "Size of the write buffers at which RocksDB flushes",
            &self.write_buffers_limit,
        );
        bytes(
            "rocksdb_table_readers",
            "What open files need beside the cache, estimated by RocksDB",
            &self.table_readers,
        );
        bytes("restore_memory", "What restores hold now", &self.restore_memory);
        bytes("restore_memory_limit", "What restores may hold", &self.restore_limit);
        r.register("restores", "Restores under way", self.restores.clone());
        r.register("restore_records", "Records that a restore has read", self.restore_records.clone());
        r.register(
            "restore_offsets_left",
            "Offsets that a restore has yet to read",
            self.restore_offsets_left.clone(),
        );
    }

    fn show(&self, picture: &Picture) {
        for state in LaneState::ALL {
            let count = picture.lanes.iter().filter(|lane| lane.state == state).count();
            self.lanes.get_or_create(&InState { state: state.name() }).set(level(count));
        }
        // Lanes that are gone must not be shown as they were.
        self.command_offset.clear();
        for lane in &picture.lanes {
            if let Some(offset) = lane.command_offset {
                self.command_offset.get_or_create(&OfLane { lane: lane.partition }).set(offset);
            }
        }
        let stores = &picture.stores;
        self.cache.set(level(stores.cache));
        self.cache_pinned.set(level(stores.cache_pinned));
        self.cache_limit.set(level(stores.cache_limit));
        self.write_buffers.set(level(stores.write_buffers));
        self.write_buffers_limit.set(level(stores.write_buffers_limit));
        self.table_readers.set(level(stores.table_readers));
        self.restores.set(level(picture.restores.len()));
        self.restore_memory.set(level(picture.restores.iter().map(|restore| restore.bytes).sum::<usize>()));
        self.restore_limit.set(level(picture.restore_limit));
        self.restore_records.clear();
        self.restore_offsets_left.clear();
        for restore in &picture.restores {
            let of = OfLane { lane: restore.partition };
            self.restore_records.get_or_create(&of).set(level(restore.records));
            self.restore_offsets_left.get_or_create(&of).set(level(restore.offsets_left));
        }
    }
}

fn level<N: TryInto<i64>>(value: N) -> i64 {
    value.try_into().unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::{LanePicture, RestorePicture};

    fn lane(partition: i32, state: LaneState) -> LanePicture {
        LanePicture { partition, state, command_offset: Some(7) }
    }

    #[test]
    fn what_is_gone_is_not_shown_any_more() {
        let metrics = Metrics::new();
        let restore = RestorePicture { partition: 3, records: 10, offsets_left: 5, bytes: 100 };
        let mut picture = Picture {
            lanes: vec![lane(3, LaneState::TakingOver), lane(4, LaneState::Running)],
            restores: vec![restore],
            ..Picture::default()
        };
        let page = metrics.render(&picture).unwrap();
        for line in [
            "sakia_lanes{state=\"taking_over\"} 1",
            "sakia_restore_records{lane=\"3\"} 10",
            "sakia_restore_memory_bytes 100",
            "sakia_lane_command_offset{lane=\"3\"} 7",
        ] {
            assert!(page.lines().any(|l| l == line), "no {line} in {page}");
        }
        picture.lanes.remove(0);
        picture.restores.clear();
        let page = metrics.render(&picture).unwrap();
        assert!(!page.contains("lane=\"3\""), "{page}");
        assert!(page.contains("sakia_lanes{state=\"taking_over\"} 0"), "{page}");
    }

    #[test]
    fn a_checkpoint_that_failed_is_no_duration() {
        let metrics = Metrics::new();
        let lane = metrics.lane(0);
        lane.checkpoint(Duration::from_millis(3), true);
        lane.checkpoint(Duration::from_secs(9), false);
        let page = metrics.render(&Picture::default()).unwrap();
        for line in [
            "sakia_checkpoints_total{lane=\"0\"} 1",
            "sakia_checkpoints_failed_total{lane=\"0\"} 1",
            "sakia_checkpoint_duration_seconds_count 1",
        ] {
            assert!(page.lines().any(|l| l == line), "no {line} in {page}");
        }
    }
}
