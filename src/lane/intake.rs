//! How many commands a lane takes, and when.
//!
//! What has begun ends sooner, and leaves fewer rows behind, if what has not begun stays in its topic. A lane that begins
//! everything at once has each turn of an instance in another checkpoint and more instances than fit into its memory: it
//! works a backlog off at a fraction of its speed, and so never gets rid of it.

use crate::log::Record;
use std::time::Duration;
use std::vec::IntoIter;

/// Commands that one round applies before it looks at anything else.
const ROUND: usize = 1_000;
/// Longest time for which commands wait beside as many steps under way as make a lane busy, and the more, the longer. A
/// lane that is always busy must still hear of signals and cancels; but it comes to rest where it begins no more than it
/// ends, with workflows of a thousand steps as well.
const WAIT: Duration = Duration::from_millis(100);
/// What is taken then, as a share of the steps that make a lane busy. Each command may bring many more steps.
const BUSY_SHARE: usize = 10;

/// The commands on their way into a lane.
pub(super) struct Intake {
    /// Fed and not applied yet.
    fed: IntoIter<Record>,
    /// When some were taken last.
    taken: Duration,
    busy_steps: usize,
}

impl Intake {
    /// `busy_steps`: see [`LaneConfig`](super::LaneConfig). `now` is the time since any moment.
    pub(super) fn new(busy_steps: usize, now: Duration) -> Self {
        Intake { fed: Vec::new().into_iter(), taken: now, busy_steps }
    }

    pub(super) fn feed(&mut self, batch: Vec<Record>) {
        debug_assert!(self.is_empty(), "a batch is fed when the one before is used up");
        self.fed = batch.into_iter();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.fed.len() == 0
    }

    /// How long commands have to wait yet beside so many steps under way, unless some of those end before.
    pub(super) fn wait(&self, under_way: usize, now: Duration) -> Option<Duration> {
        let wait = WAIT.mul_f64(under_way as f64 / self.busy_steps as f64);
        let left = wait.saturating_sub(now.saturating_sub(self.taken));
        (self.is_busy(under_way) && !left.is_zero()).then_some(left)
    }

    /// How many a round may take that need not wait.
    pub(super) fn limit(&self, under_way: usize) -> usize {
        if self.is_busy(under_way) { (self.busy_steps / BUSY_SHARE).max(1) } else { ROUND }
    }

    /// The next ones, at most `limit`.
    pub(super) fn take(&mut self, limit: usize, now: Duration) -> impl ExactSizeIterator<Item = Record> {
        if !self.is_empty() {
            self.taken = now;
        }
        self.fed.by_ref().take(limit)
    }

    fn is_busy(&self, under_way: usize) -> bool {
        under_way >= self.busy_steps
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;

    const BUSY: usize = 1_000;

    fn record() -> Record {
        Record { partition: 0, offset: 0, timestamp_ms: 0, key: None, value: None, headers: Vec::new() }
    }

    /// Half a minute of a lane that is offered more than it can do: workflows of so many steps, and every 10 ms a round
    /// that gets to so many of them. The most that were under way.
    fn most_under_way(steps: usize, steps_per_round: usize) -> usize {
        let mut intake = Intake::new(BUSY, Duration::ZERO);
        // How many steps each has left.
        let mut under_way: VecDeque<usize> = VecDeque::new();
        let mut most = 0;
        for round in 1..=3_000 {
            let now = round * Duration::from_millis(10);
            if intake.wait(under_way.len(), now).is_none() {
                let mut left = intake.limit(under_way.len());
                while left > 0 {
                    if intake.is_empty() {
                        intake.feed(vec![record(); 700]);
                    }
                    let taken = intake.take(left, now).len();
                    under_way.extend(std::iter::repeat_n(steps, taken));
                    left -= taken;
                }
            }
            most = most.max(under_way.len());
            for _ in 0..steps_per_round.min(under_way.len()) {
                let left = under_way.pop_front().unwrap_or(1) - 1;
                under_way.extend((left > 0).then_some(left));
            }
        }
        most
    }

    #[test]
    fn a_lane_begins_no_more_than_it_ends_however_much_waits() {
        for (steps, steps_per_round, bound) in
            [(10, 500, 2_000), (10, 2_000, 2_000), (50, 800, 2_000), (1_000, 1_000, 8_000)]
        {
            let most = most_under_way(steps, steps_per_round);
            assert!((BUSY..=bound).contains(&most), "{steps} steps, {steps_per_round} a round: {most}");
        }
    }

    #[test]
    fn a_lane_that_is_always_busy_takes_commands_all_the_same() {
        let mut intake = Intake::new(BUSY, Duration::ZERO);
        intake.feed(vec![record(); 700]);
        assert_eq!(intake.wait(BUSY, Duration::from_millis(60)), Some(Duration::from_millis(40)));
        assert_eq!((intake.wait(BUSY, WAIT), intake.wait(3 * BUSY, WAIT)), (None, Some(2 * WAIT)));
        assert_eq!(intake.take(intake.limit(BUSY), WAIT).len(), 100);
        assert_eq!((intake.wait(BUSY, WAIT), intake.wait(BUSY - 1, WAIT)), (Some(WAIT), None));
    }
}
