//! Numbers of many measurements, and which rounds count.

use crate::bare::Transactions;
use std::time::{Duration, Instant};

/// Rounds whose fixed loop is further than this from the median loop ran on a different machine, so to speak.
pub(crate) const LOOP_TOLERANCE: f64 = 0.10;

/// In milliseconds.
pub(crate) fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// The value below which that share of all lies, in milliseconds.
pub(crate) fn quantile(of: &[Duration], share: f64) -> f64 {
    let mut sorted = of.to_vec();
    sorted.sort_unstable();
    let last = sorted.len().saturating_sub(1);
    sorted.get((last as f64 * share) as usize).map_or(f64::NAN, |time| ms(*time))
}

/// The middle value.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    spread(values).median
}

/// Smallest, middle and largest.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    /// Smallest.
    pub(crate) min: f64,
    /// Middle.
    pub(crate) median: f64,
    /// Largest.
    pub(crate) max: f64,
}

/// Of some values.
pub(crate) fn spread(values: impl IntoIterator<Item = f64>) -> Spread {
    let mut sorted: Vec<f64> = values.into_iter().collect();
    sorted.sort_by(f64::total_cmp);
    let at = |index: usize| sorted.get(index).copied().unwrap_or(f64::NAN);
    let middle = sorted.len() / 2;
    let median = if sorted.len().is_multiple_of(2) && middle > 0 {
        f64::midpoint(at(middle - 1), at(middle))
    } else {
        at(middle)
    };
    Spread { min: at(0), median, max: at(sorted.len().saturating_sub(1)) }
}

/// A fixed piece of work: how long it takes says how fast the machine is just now. The middle of three, as a single one
/// may be interrupted.
pub(crate) fn fixed_loop() -> f64 {
    median([one_loop(), one_loop(), one_loop()])
}

fn one_loop() -> f64 {
    let began = Instant::now();
    let mut x = 1_u64;
    for i in 0..20_000_000_u64 {
        x = std::hint::black_box(x.rotate_left(5) ^ i).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
    std::hint::black_box(x);
    ms(began.elapsed())
}

/// Everything measured in one round.
#[derive(Default)]
pub(crate) struct Round {
    /// Fixed loops between the other measurements.
    pub(crate) loops: Vec<f64>,
    /// Plain idempotent produce.
    pub(crate) produce: Vec<Duration>,
    /// Produce inside an open transaction.
    pub(crate) append: Vec<Duration>,
    /// Bare transactions.
    pub(crate) bare: Transactions,
    /// Empty workflows, one at a time.
    pub(crate) empty: Vec<Duration>,
    /// Chains, one at a time.
    pub(crate) chain: Vec<Duration>,
    /// Steps of an instance of many, from body to body.
    pub(crate) steps: Vec<Duration>,
}

impl Round {
    /// The difference that a step makes, in milliseconds.
    pub(crate) fn step(&self) -> f64 {
        (quantile(&self.chain, 0.5) - quantile(&self.empty, 0.5)) / f64::from(crate::plan::STEPS)
    }

    /// A step from body to body, against a plain produce: so many of both are faster.
    pub(crate) fn step_to_produce(&self, share: f64) -> f64 {
        quantile(&self.steps, share) / quantile(&self.produce, share)
    }

    /// A step with its share of start and end, in milliseconds.
    pub(crate) fn step_with_share(&self) -> f64 {
        quantile(&self.chain, 0.5) / f64::from(crate::plan::STEPS)
    }

    /// The round's fixed loop.
    pub(crate) fn fixed_loop(&self) -> f64 {
        median(self.loops.iter().copied())
    }
}

/// Splits the rounds: those that count, and how many do not.
pub(crate) fn comparable(rounds: Vec<Round>) -> (Vec<Round>, usize) {
    let all = rounds.len();
    let middle = median(rounds.iter().map(Round::fixed_loop));
    let kept: Vec<Round> =
        rounds.into_iter().filter(|r| (r.fixed_loop() - middle).abs() <= LOOP_TOLERANCE * middle).collect();
    let dropped = all - kept.len();
    (kept, dropped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spread_is_smallest_middle_and_largest() {
        assert_eq!(spread([3.0, 1.0, 2.0]), Spread { min: 1.0, median: 2.0, max: 3.0 });
        assert_eq!(spread([4.0, 1.0, 2.0, 3.0]).median, 2.5);
        assert!(spread([]).median.is_nan());
    }

    #[test]
    fn a_round_on_a_slower_machine_does_not_count() {
        let round = |loops: f64| Round { loops: vec![loops], ..Round::default() };
        let (kept, dropped) = comparable(vec![round(20.0), round(21.0), round(25.0), round(19.5)]);
        assert_eq!((kept.len(), dropped), (3, 1));
    }

    #[test]
    fn the_median_of_durations_is_one_of_them() {
        let all: Vec<Duration> = (1..=101).map(Duration::from_millis).collect();
        assert_eq!(quantile(&all, 0.5), 51.0);
        assert_eq!(quantile(&all, 1.0), 101.0);
    }
}
