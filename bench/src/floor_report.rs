//! The tables of what is measured beside bare Kafka, in Markdown.

use crate::bare::Shape;
use crate::figures::{Round, Spread, median, quantile, spread};
use crate::timeline::Timeline;
use std::fmt::Write as _;
use std::time::Duration;

/// What the tables are made of.
pub(crate) struct FloorReport<'a> {
    /// Rounds that count.
    pub(crate) rounds: &'a [Round],
    /// Rounds that do not.
    pub(crate) dropped: usize,
    /// The records that were written by hand.
    pub(crate) shape: &'a Shape,
    /// Of an empty workflow.
    pub(crate) empty: &'a Timeline,
    /// Of a chain.
    pub(crate) chain: &'a Timeline,
}

impl FloorReport<'_> {
    fn over(&self, value: impl Fn(&Round) -> f64) -> Spread {
        spread(self.rounds.iter().map(value))
    }

    /// All of it.
    pub(crate) fn markdown(&self) -> String {
        let mut text = String::new();
        // Writing to a String does not fail.
        let _ = writeln!(
            text,
            "{} rounds count, {} dropped because their fixed loop was more than 10 % off the median loop ({:.1} ms)",
            self.rounds.len(),
            self.dropped,
            median(self.rounds.iter().map(Round::fixed_loop)),
        );
        self.ratios(&mut text);
        self.latencies(&mut text);
        self.each_round(&mut text);
        let _ = write!(text, "\n### Where the time goes: an empty workflow\n\n{}", moments(self.empty));
        let _ = write!(text, "\n### Where the time goes: ten steps\n\n{}", moments(self.chain));
        text
    }

    fn ratios(&self, text: &mut String) {
        let produce = |r: &Round| quantile(&r.produce, 0.5);
        let rows = [
            (
                "a step, from body to body, against a plain produce",
                self.over(|r| r.step_to_produce(0.5)),
                "≤ 1.3",
            ),
            ("its p99 against that of a plain produce", self.over(|r| r.step_to_produce(0.99)), "≤ 3"),
            (
                "the difference that a step makes ((ten steps − empty) / 10) against a plain produce",
                self.over(|r| r.step() / produce(r)),
                "≤ 1.3",
            ),
            (
                "a step with its share of start and end (ten steps / 10) against a plain produce",
                self.over(|r| r.step_with_share() / produce(r)),
                "–",
            ),
            (
                "an empty workflow, start to result, against a bare transaction of its records, until committed",
                self.over(|r| quantile(&r.empty, 0.5) / quantile(&r.bare.committed, 0.5)),
                "≤ 1.3",
            ),
            (
                "the same against a bare transaction until a committed reader has the reply",
                self.over(|r| quantile(&r.empty, 0.5) / quantile(&r.bare.seen, 0.5)),
                "–",
            ),
        ];
        text.push_str(
            "\n### Ratios of medians, per round\n\n| | median | min | max | goal |\n|---|---|---|---|---|\n",
        );
        for (what, s, goal) in rows {
            let _ = writeln!(text, "| {what} | **{:.2}** | {:.2} | {:.2} | {goal} |", s.median, s.min, s.max);
        }
    }

    fn latencies(&self, text: &mut String) {
        type Pick = fn(&Round) -> &[Duration];
        let bytes =
            |records: &[crate::kafka::Record]| records.iter().map(crate::kafka::Record::size).sum::<usize>();
        let journal = self.shape.journal.size();
        let transaction = format!(
            "bare transaction: {} changelog records ({} B) and a reply ({} B)",
            self.shape.changelog.len(),
            bytes(&self.shape.changelog),
            self.shape.reply.size()
        );
        let rows: [(String, Pick); 8] = [
            (format!("plain idempotent produce of {journal} B, acks=all"), |r| &r.produce),
            ("the same inside an open transaction (what an append is)".into(), |r| &r.append),
            (format!("{transaction}, until all is acknowledged"), |r| &r.bare.written),
            ("… until committed".into(), |r| &r.bare.committed),
            ("… until a committed reader has the reply".into(), |r| &r.bare.seen),
            ("empty workflow, start to result".into(), |r| &r.empty),
            ("ten no-op steps, start to result".into(), |r| &r.chain),
            ("one no-op step of an instance of many, from body to body".into(), |r| &r.steps),
        ];
        text.push_str(
            "\n### One at a time, in milliseconds\n\n| | p50: median | min | max | p90 | p99 | samples |\n\
             |---|---|---|---|---|---|---|\n",
        );
        for (what, pick) in rows {
            let at = |share: f64| self.over(|r| quantile(pick(r), share));
            let (p50, p90, p99) = (at(0.5), at(0.9), at(0.99));
            let samples: usize = self.rounds.iter().map(|r| pick(r).len()).sum();
            let _ = writeln!(
                text,
                "| {what} | {:.2} | {:.2} | {:.2} | {:.2} | {:.2} | {samples} |",
                p50.median, p50.min, p50.max, p90.median, p99.median
            );
        }
    }

    fn each_round(&self, text: &mut String) {
        text.push_str(
            "\n### Each round (p50 in milliseconds)\n\n| fixed loop | produce | append | transaction | empty | ten steps \
             | a step |\n|---|---|---|---|---|---|---|\n",
        );
        for r in self.rounds {
            let p50 = |of: &[Duration]| quantile(of, 0.5);
            let _ = writeln!(
                text,
                "| {:.1} | {:.2} | {:.2} | {:.2} | {:.2} | {:.2} | {:.2} |",
                r.fixed_loop(),
                p50(&r.produce),
                p50(&r.append),
                p50(&r.bare.committed),
                p50(&r.empty),
                p50(&r.chain),
                r.step()
            );
        }
    }
}

fn moments(timeline: &Timeline) -> String {
    let mut text = "| ms after the start | since the line above | |\n|---|---|---|\n".to_string();
    let mut before = 0.0;
    for (what, at) in &timeline.moments {
        let _ = writeln!(text, "| {at:.2} | {:.2} | {what} |", at - before);
        before = *at;
    }
    text
}
