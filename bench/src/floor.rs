//! One at a time, beside bare Kafka clients that write the same records in the same minutes.

use crate::bare::{Bare, Shape};
use crate::client::{Client, Work};
use crate::figures::{Round, comparable, fixed_loop, quantile};
use crate::plan::STEPS;
use crate::sides::Stage;
use crate::timeline::{self, Timeline};
use anyhow::Result;
use std::time::Duration;

const CHAIN: Work = Work::Chain(STEPS);
/// Of an instance whose steps are timed one by one.
const MANY_STEPS: u32 = 2_000;
/// One measurement of one thing; each is made four times per round, so that all share the machine's moods.
const SLICE: Duration = Duration::from_millis(750);
const TIMELINE: Duration = Duration::from_secs(6);

/// Sakia and bare Kafka in turn.
pub(crate) struct Floor {
    bare: Bare,
    rounds: Vec<Round>,
}

/// What came of it.
pub(crate) struct Measured {
    /// Rounds that count.
    pub(crate) rounds: Vec<Round>,
    /// Rounds that do not.
    pub(crate) dropped: usize,
    /// The records that were written by hand.
    pub(crate) bare: Bare,
    /// Of an empty workflow.
    pub(crate) empty: Timeline,
    /// Of a chain.
    pub(crate) chain: Timeline,
}

impl Floor {
    /// Looks at what the app writes, and connects clients that write the like.
    pub(crate) fn connect(stage: &mut Stage) -> Result<Self> {
        let (brokers, app) = (stage.subject.brokers(), stage.subject.name());
        let shape = Shape::observe(brokers, app, &mut stage.client)?;
        Ok(Floor { bare: Bare::connect(brokers, &format!("{app}-bare"), shape)?, rounds: Vec::new() })
    }

    /// One pass that does not count.
    pub(crate) fn warm_up(&mut self, stage: &mut Stage) -> Result<()> {
        self.slices(&mut stage.client, &mut Round::default(), false)
    }

    /// One round.
    pub(crate) fn round(&mut self, stage: &mut Stage) -> Result<()> {
        let mut round = Round::default();
        for backwards in [false, true, false, true] {
            self.slices(&mut stage.client, &mut round, backwards)?;
        }
        eprintln!(
            "bench: step: produce {:.2}, step {:.2}, transaction {:.2}, empty {:.2}, of ten steps one {:.2} ms; loop {:.1} ms",
            quantile(&round.produce, 0.5),
            quantile(&round.steps, 0.5),
            quantile(&round.bare.committed, 0.5),
            quantile(&round.empty, 0.5),
            round.step(),
            round.fixed_loop()
        );
        self.rounds.push(round);
        Ok(())
    }

    /// After the last round: which count, and where the time goes.
    pub(crate) fn finish(self, stage: &mut Stage) -> Result<Measured> {
        let (rounds, dropped) = comparable(self.rounds);
        let (brokers, app) = (stage.subject.brokers(), stage.subject.name());
        let empty = timeline::watch(brokers, app, &mut stage.client, Work::Empty, TIMELINE)?;
        let chain = timeline::watch(brokers, app, &mut stage.client, CHAIN, TIMELINE)?;
        Ok(Measured { rounds, dropped, bare: self.bare, empty, chain })
    }

    /// Everything, in one order or the other: what comes first has no advantage.
    fn slices(&mut self, client: &mut Client, round: &mut Round, backwards: bool) -> Result<()> {
        let mut order = [0, 1, 2, 3, 4, 5];
        if backwards {
            order.reverse();
        }
        for what in order {
            round.loops.push(fixed_loop());
            match what {
                0 => round.produce.extend(self.bare.produces(SLICE)?),
                1 => round.chain.extend(client.one_at_a_time(CHAIN, SLICE)?),
                2 => round.append.extend(self.bare.appends(SLICE)?),
                3 => round.empty.extend(client.one_at_a_time(Work::Empty, SLICE)?),
                4 => round.steps.extend(client.steps_of_one(MANY_STEPS)?),
                _ => {
                    let more = self.bare.transactions(SLICE)?;
                    round.bare.written.extend(more.written);
                    round.bare.committed.extend(more.committed);
                    round.bare.seen.extend(more.seen);
                }
            }
        }
        Ok(())
    }
}
