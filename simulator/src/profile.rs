//! What kind of bad day a seed has.

use fastrand::Rng;
use std::time::Duration;

/// How often faults happen and how the app is set up. Per mille of the occasions, unless it says otherwise.
#[derive(Debug, Clone)]
pub(crate) struct Profile {
    pub(crate) lanes: i32,
    pub(crate) processes: usize,
    pub(crate) instances: usize,
    /// Events before the faults end.
    pub(crate) chaos_events: u32,
    /// A request never arrives.
    pub(crate) request_lost: u32,
    /// It does, but the answer never comes.
    pub(crate) answer_lost: u32,
    /// A lost EndTxn arrives late, although the client has sent it again.
    pub(crate) end_late: u32,
    /// The coordinator of an id takes seconds to fence it.
    pub(crate) slow_fence: u32,
    /// A commit is under way for so long that the one behind it could overtake it.
    pub(crate) slow_end: u32,
    /// An append is refused or its acknowledgement is lost.
    pub(crate) append_lost: u32,
    /// A write to a disk fails.
    pub(crate) disk_full: u32,
    /// A read from a disk fails.
    pub(crate) disk_unreadable: u32,
    /// Weights of what else may happen at an event.
    pub(crate) crash: u32,
    pub(crate) stop: u32,
    pub(crate) move_lane: u32,
    pub(crate) restart_broker: u32,
    /// A broker that restarts skips the markers of a transaction.
    pub(crate) skip_markers: u32,
    pub(crate) compact: u32,
    pub(crate) expire: u32,
    /// A record of the commands comes twice.
    pub(crate) feed_again: u32,
    /// How far wall clocks are off, at most.
    pub(crate) skew_ms: u64,
    pub(crate) commit_interval: Duration,
    pub(crate) journal_roll: Duration,
    pub(crate) compaction_lag: Duration,
    pub(crate) keep_deletes: Duration,
    /// A transaction may be open so long.
    pub(crate) transaction_timeout: Duration,
    pub(crate) cache_bytes: usize,
    pub(crate) cascade_len: usize,
    pub(crate) recent_turns: usize,
    /// Checkpoints of a process that may be under way at once.
    pub(crate) permits: usize,
    /// The largest jump of time.
    pub(crate) jump: Duration,
}

impl Profile {
    pub(crate) fn of(rng: &mut Rng) -> Self {
        // Most days have few kinds of faults: a day that has all of them never gets anywhere.
        let mut some = |one_in: u32, most: u32| if rng.u32(0..one_in) == 0 { rng.u32(1..=most) } else { 0 };
        let (request_lost, answer_lost, append_lost) = (some(3, 40), some(3, 40), some(3, 40));
        let (end_late, disk_full, feed_again) = (some(3, 700), some(6, 60), some(4, 300));
        let (slow_fence, slow_end, disk_unreadable) = (some(3, 600), some(4, 300), some(6, 8));
        let (crash, stop, calm_moves) = (some(2, 12), some(2, 12), some(2, 15));
        // Now and then a storm, in which take-overs overtake each other.
        let storm = some(2, 200);
        let slow_fence = if storm > 0 { slow_fence.max(600) } else { slow_fence };
        let move_lane = calm_moves + storm;
        let (restart_broker, compact, expire) = (some(4, 8), some(2, 60), some(5, 10));
        let skew_ms = u64::from(some(3, 400));
        let skip_markers = if restart_broker > 0 { some(3, 1_000) } else { 0 };
        let seconds = |n: u64| Duration::from_secs(n);
        let mut profile = Profile {
            lanes: if storm > 0 { 1 } else { rng.i32(1..=4) },
            processes: if storm > 0 { 3 } else { rng.usize(2..=3) },
            instances: rng.usize(2..=6),
            chaos_events: rng.u32(150..=600),
            request_lost,
            answer_lost,
            end_late,
            slow_fence,
            slow_end,
            append_lost,
            disk_full,
            disk_unreadable,
            crash,
            stop,
            move_lane,
            restart_broker,
            skip_markers,
            compact,
            expire,
            feed_again,
            skew_ms,
            commit_interval: Duration::from_millis(rng.u64(1..=300)),
            journal_roll: Duration::from_millis(rng.u64(50..=3_000)),
            compaction_lag: *rng
                .choice(&[seconds(3), seconds(10), seconds(60), seconds(0)])
                .unwrap_or(&seconds(60)),
            keep_deletes: seconds(*rng.choice(&[3, 5, 15]).unwrap_or(&60)),
            transaction_timeout: seconds(rng.u64(8..=20)),
            cache_bytes: *rng.choice(&[0, 6_000, 1 << 20]).unwrap_or(&0),
            cascade_len: *rng.choice(&[0, 1, 100]).unwrap_or(&100),
            recent_turns: rng.usize(1..=4),
            permits: rng.usize(1..=2),
            jump: seconds(*rng.choice(&[1, 5, 40]).unwrap_or(&5)),
        };
        profile.concentrate(rng);
        profile
    }

    /// What hurts only when several kinds of bad luck meet would be rare. So some days are made for that.
    fn concentrate(&mut self, rng: &mut Rng) {
        let millis = Duration::from_millis;
        match rng.u32(0..10) {
            // Commits that come again, to a transaction that is being written.
            0 => {
                (self.end_late, self.crash, self.permits) = (rng.u32(200..=700), rng.u32(0..=4), 2);
                (self.commit_interval, self.journal_roll) = (millis(rng.u64(1..=30)), millis(3_000));
                (self.request_lost, self.answer_lost, self.move_lane) = (0, 0, rng.u32(0..=4));
            }
            // Commits that are cut off, while the next checkpoint is under way.
            1 => {
                (self.permits, self.commit_interval) = (2, millis(rng.u64(90..=300)));
                (self.restart_broker, self.stop) = (rng.u32(4..=12), rng.u32(0..=10));
                (self.request_lost, self.answer_lost) = (rng.u32(0..=40), rng.u32(0..=40));
            }
            // Stores that were away while compaction went on.
            2 => {
                (self.lanes, self.processes, self.instances) = (1, 2, rng.usize(2..=4));
                (self.compact, self.keep_deletes) = (rng.u32(20..=60), Duration::from_secs(3));
                (self.stop, self.move_lane) = (rng.u32(0..=10), rng.u32(4..=12));
            }
            // A broker that forgets markers, and lanes that move meanwhile.
            3 => {
                (self.restart_broker, self.skip_markers) = (rng.u32(20..=60), 1_000);
                (self.crash, self.move_lane) = (rng.u32(0..=10), rng.u32(4..=20));
            }
            // Disks that often cannot be read, when much has to be: of many instances none stays in memory. What ends
            // lanes otherwise is left out, or few steps would begin.
            4 => {
                (self.lanes, self.instances, self.cache_bytes) = (1, 20, 0);
                self.recent_turns = 1;
                (self.disk_unreadable, self.move_lane) = (rng.u32(5..=15), rng.u32(4..=10));
                (self.crash, self.stop, self.restart_broker, self.disk_full) = (0, 0, 0, 0);
                (self.request_lost, self.answer_lost, self.append_lost) = (0, 0, 0);
                (self.commit_interval, self.jump, self.chaos_events) = (millis(1), millis(1_000), 1_500);
            }
            // Commits that take long, each while the next checkpoint is written.
            5 => (self.slow_end, self.permits, self.commit_interval) = (500, 2, millis(rng.u64(1..=30))),
            _ => {}
        }
        self.chaos_events = self.chaos_events.max(rng.u32(150..=600));
    }
}
