//! The log, counted: a lane knows nothing of metrics.

use crate::lane::Feed;
use crate::log::kafka::{FeedSink, Offer};
use crate::log::{
    Checkpoints, Committed, Isolation, Journal, JournalAcks, LaneNames, LaneWriter, Log, LogError, LogReader,
    NewRecord, OffsetRange, Record,
};
use crate::telemetry::{LaneMetrics, Metrics};
use bytes::Bytes;
use crossbeam_channel::Sender;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A log whose writers count.
pub(super) struct MeasuredLog {
    log: Arc<dyn Log>,
    metrics: Arc<Metrics>,
}

impl MeasuredLog {
    pub(super) fn new(log: Arc<dyn Log>, metrics: Arc<Metrics>) -> Self {
        MeasuredLog { log, metrics }
    }
}

impl Log for MeasuredLog {
    fn open_lane(
        &self,
        names: &LaneNames,
        acks: Arc<dyn JournalAcks>,
        wait: Duration,
    ) -> Result<LaneWriter, LogError> {
        let LaneWriter { journal, checkpoints } = self.log.open_lane(names, acks, wait)?;
        let lane = self.metrics.lane(names.partition);
        Ok(LaneWriter {
            journal: Box::new(MeasuredJournal { journal, lane: lane.clone() }),
            checkpoints: checkpoints.map(|checkpoints| -> Box<dyn Checkpoints> {
                Box::new(MeasuredCheckpoints { checkpoints, lane: lane.clone(), began: None })
            }),
        })
    }

    fn offsets(&self, topic: &str, partition: i32, isolation: Isolation) -> Result<OffsetRange, LogError> {
        self.log.offsets(topic, partition, isolation)
    }

    fn read(
        &self,
        topic: &str,
        partition: i32,
        from: i64,
        isolation: Isolation,
    ) -> Result<Box<dyn LogReader>, LogError> {
        self.log.read(topic, partition, from, isolation)
    }

    fn trim(&self, topic: &str, partition: i32, before: i64) -> Result<(), LogError> {
        self.log.trim(topic, partition, before)
    }
}

struct MeasuredJournal {
    journal: Box<dyn Journal>,
    lane: LaneMetrics,
}

impl Journal for MeasuredJournal {
    fn append(&mut self, seq: u64, record: Bytes) -> Result<(), LogError> {
        self.journal.append(seq, record)?;
        self.lane.appended();
        Ok(())
    }

    fn roll(&mut self) -> Result<(), LogError> {
        self.journal.roll()
    }

    fn close(&mut self) -> Result<(), LogError> {
        self.journal.close()
    }
}

struct MeasuredCheckpoints {
    checkpoints: Box<dyn Checkpoints>,
    lane: LaneMetrics,
    /// When the open transaction began.
    began: Option<Instant>,
}

impl MeasuredCheckpoints {
    fn ended(&mut self, committed: bool) {
        if let Some(began) = self.began.take() {
            self.lane.checkpoint(began.elapsed(), committed);
        }
    }
}

impl Checkpoints for MeasuredCheckpoints {
    fn produce(&mut self, records: &[NewRecord]) -> Result<i64, LogError> {
        self.began.get_or_insert_with(Instant::now);
        let done = self.checkpoints.produce(records);
        if done.is_err() {
            self.ended(false);
        }
        done
    }

    fn commit(&mut self) -> Result<Committed, LogError> {
        let done = self.checkpoints.commit();
        self.ended(done.is_ok());
        done
    }

    fn abort(&mut self) -> Result<(), LogError> {
        self.ended(false);
        self.checkpoints.abort()
    }
}

/// A lane's feed of commands, counted.
pub(super) struct MeasuredFeed {
    pub(super) lane: Sender<Feed>,
    pub(super) metrics: LaneMetrics,
}

impl FeedSink for MeasuredFeed {
    fn offer(&mut self, batch: Vec<Record>) -> Offer {
        let count = batch.len();
        let offer = self.lane.offer(batch);
        if matches!(offer, Offer::Taken) {
            self.metrics.commands(count);
        }
        offer
    }

    fn failed(&mut self, error: LogError) {
        self.lane.failed(error);
    }
}
