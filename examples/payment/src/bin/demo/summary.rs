//! What happened, from two witnesses that do not know each other: the output topic and the provider's ledger.

use crate::orders::{Case, Fate};
use crate::story::count;
use payment_example::contracts::PaymentEvent;
use payment_example::ledger::{Entry, Operation, Outcome};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// One statement, and what speaks against it.
struct Check {
    statement: &'static str,
    problems: Vec<String>,
}

/// The result of the demo.
pub(crate) struct Summary {
    orders: usize,
    events: usize,
    fates: BTreeMap<Fate, usize>,
    requests: usize,
    unavailable: usize,
    captures: usize,
    voids: usize,
    repeats: Vec<Entry>,
    killed_at_ms: Option<u64>,
    checks: Vec<Check>,
}

impl Summary {
    /// Compares what had to happen with what the witnesses say.
    pub(crate) fn of(
        cases: &[Case],
        events: &[(String, PaymentEvent)],
        ledger: &[Entry],
        killed_at_ms: Option<u64>,
    ) -> Self {
        let books = Books::of(ledger);
        let is = |wanted: fn(&Outcome) -> bool| ledger.iter().filter(move |e| wanted(&e.outcome));
        Summary {
            orders: cases.len(),
            events: events.len(),
            fates: count(events.iter().filter_map(|(_, event)| Fate::of(event))),
            requests: ledger.len(),
            unavailable: is(|o| matches!(o, Outcome::Unavailable)).count(),
            captures: books.of_operation(Operation::Capture),
            voids: books.of_operation(Operation::Void),
            repeats: is(|o| matches!(o, Outcome::Repeated { .. })).cloned().collect(),
            killed_at_ms,
            checks: vec![
                each_has_one_event(cases, events),
                each_ended_as_it_must(cases, events),
                money_moved_once(cases, &books),
                receipts_are_the_ledgers(events, &books),
                no_key_did_two_things(ledger),
            ],
        }
    }

    /// Whether every check holds.
    pub(crate) fn holds(&self) -> bool {
        self.checks.iter().all(|check| check.problems.is_empty())
    }
}

/// What the provider did: operation and order → its names for what it did, by idempotency key.
struct Books<'a> {
    done: BTreeMap<(Operation, &'a str), BTreeMap<&'a str, &'a str>>,
}

impl<'a> Books<'a> {
    fn of(ledger: &'a [Entry]) -> Self {
        let mut done: BTreeMap<_, BTreeMap<_, _>> = BTreeMap::new();
        for entry in ledger {
            if let Outcome::Done { id } = &entry.outcome {
                done.entry((entry.operation, entry.order.as_str()))
                    .or_default()
                    .insert(entry.key.as_str(), id.as_str());
            }
        }
        Books { done }
    }

    fn times(&self, operation: Operation, order: &str) -> usize {
        self.done.get(&(operation, order)).map_or(0, BTreeMap::len)
    }

    fn of_operation(&self, operation: Operation) -> usize {
        self.done.iter().filter(|((o, _), _)| *o == operation).map(|(_, keys)| keys.len()).sum()
    }
}

fn each_has_one_event(cases: &[Case], events: &[(String, PaymentEvent)]) -> Check {
    let counts = count(events.iter().map(|(order, _)| order.as_str()));
    let known: BTreeSet<_> = cases.iter().map(|case| case.order.id.as_str()).collect();
    let mut problems: Vec<_> = known
        .iter()
        .filter_map(|order| match counts.get(order).copied().unwrap_or(0) {
            1 => None,
            n => Some(format!("order {order} has {n} events")),
        })
        .collect();
    problems.extend(
        counts.keys().filter(|o| !known.contains(*o)).map(|o| format!("an event for unknown order {o}")),
    );
    Check { statement: "each order has exactly one event on topic payments", problems }
}

fn each_ended_as_it_must(cases: &[Case], events: &[(String, PaymentEvent)]) -> Check {
    let ended: BTreeMap<_, _> = events.iter().map(|(order, event)| (order.as_str(), event)).collect();
    let problems = cases
        .iter()
        .filter_map(|Case { order, fate }| match ended.get(order.id.as_str()) {
            Some(event) if Fate::of(event) == Some(*fate) => None,
            Some(event) => Some(format!("order {} had to end {fate}, but its event is {event:?}", order.id)),
            None => Some(format!("order {} had to end {fate}, but has no event", order.id)),
        })
        .collect();
    Check { statement: "each order ended as the cards and the people decided", problems }
}

fn money_moved_once(cases: &[Case], books: &Books<'_>) -> Check {
    let mut problems = Vec::new();
    for Case { order, fate } in cases {
        let wanted = match fate {
            Fate::Paid => [(Operation::Authorize, 1), (Operation::Capture, 1), (Operation::Void, 0)],
            Fate::Rejected | Fate::TimedOut => {
                [(Operation::Authorize, 1), (Operation::Capture, 0), (Operation::Void, 1)]
            }
            Fate::Declined => [(Operation::Authorize, 0), (Operation::Capture, 0), (Operation::Void, 0)],
        };
        for (operation, wanted) in wanted {
            let times = books.times(operation, &order.id);
            if times != wanted {
                problems
                    .push(format!("order {} ({fate}): {operation:?} {times} times, not {wanted}", order.id));
            }
        }
    }
    Check { statement: "the ledger has one capture per paid order, and one void per released one", problems }
}

fn receipts_are_the_ledgers(events: &[(String, PaymentEvent)], books: &Books<'_>) -> Check {
    let problems = events
        .iter()
        .filter_map(|(order, event)| {
            let PaymentEvent::Paid(receipt) = event else { return None };
            let captures = books.done.get(&(Operation::Capture, order.as_str()));
            let known = captures.is_some_and(|keys| keys.values().any(|id| *id == receipt.txn));
            (!known).then(|| format!("order {order}: receipt {} is not in the ledger", receipt.txn))
        })
        .collect();
    Check { statement: "each receipt names the capture that the ledger has", problems }
}

fn no_key_did_two_things(ledger: &[Entry]) -> Check {
    let uses: BTreeSet<_> = ledger.iter().map(|e| (e.key.as_str(), e.operation, e.order.as_str())).collect();
    let problems = count(uses.iter().map(|(key, ..)| *key))
        .into_iter()
        .filter(|(_, uses)| *uses > 1)
        .map(|(key, uses)| format!("key {key} was used for {uses} different things"))
        .collect();
    Check { statement: "no idempotency key was used for two things", problems }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "SUMMARY, read independently of the app\n")?;
        writeln!(
            f,
            "  topic payments (a plain read_committed consumer): {} events for {} orders",
            self.events, self.orders
        )?;
        for (fate, count) in &self.fates {
            writeln!(f, "    {count:>4} {fate}")?;
        }
        writeln!(f, "  the provider's ledger: {} requests", self.requests)?;
        writeln!(f, "    {:>4} captures, by distinct idempotency keys", self.captures)?;
        writeln!(f, "    {:>4} voids: the compensation of what was rejected or timed out", self.voids)?;
        writeln!(f, "    {:>4} answered with 503, and tried again", self.unavailable)?;
        let after = self.killed_at_ms.map_or(0, |at| self.repeats.iter().filter(|e| e.at_ms >= at).count());
        writeln!(
            f,
            "    {:>4} asked again under a key it knew, {after} of them after the kill",
            self.repeats.len()
        )?;
        if !self.repeats.is_empty() {
            writeln!(
                f,
                "         (the step was done, but its result not yet recorded: steps run at least once. The"
            )?;
            writeln!(f, "         provider knew the key and repeated its answer; no money moved twice)")?;
        }
        writeln!(f)?;
        for check in &self.checks {
            let sign = if check.problems.is_empty() { "✓" } else { "✗" };
            writeln!(f, "  {sign} {}", check.statement)?;
            for problem in check.problems.iter().take(10) {
                writeln!(f, "      {problem}")?;
            }
            if check.problems.len() > 10 {
                writeln!(f, "      … and {} more", check.problems.len() - 10)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::orders::cases;
    use payment_example::contracts::{Receipt, Refusal};

    fn entry(operation: Operation, order: &str, key: &str) -> Entry {
        let outcome = Outcome::Done { id: format!("id-{key}") };
        Entry { at_ms: 0, operation, order: order.into(), key: key.into(), attempt: 1, outcome }
    }

    /// Witnesses of a run in which all went well.
    fn perfect() -> (Vec<Case>, Vec<(String, PaymentEvent)>, Vec<Entry>) {
        let cases = cases();
        let (mut events, mut ledger) = (Vec::new(), Vec::new());
        for Case { order, fate } in &cases {
            let key = |what: &str| format!("{}/{what}", order.id);
            if *fate != Fate::Declined {
                ledger.push(entry(Operation::Authorize, &order.id, &key("a")));
                let next = if *fate == Fate::Paid { Operation::Capture } else { Operation::Void };
                ledger.push(entry(next, &order.id, &key("b")));
            }
            events.push((
                order.id.clone(),
                match fate {
                    Fate::Paid => {
                        PaymentEvent::Paid(Receipt { txn: format!("id-{}", key("b")), cents: order.cents })
                    }
                    Fate::Rejected => PaymentEvent::Refused(Refusal::Rejected("no".into())),
                    Fate::Declined => PaymentEvent::Refused(Refusal::Declined("no".into())),
                    Fate::TimedOut => PaymentEvent::Refused(Refusal::TimedOut),
                },
            ));
        }
        (cases, events, ledger)
    }

    #[test]
    fn a_perfect_run_holds() {
        let (cases, events, ledger) = perfect();
        let summary = Summary::of(&cases, &events, &ledger, None);
        assert!(summary.holds(), "{summary}");
    }

    #[test]
    fn a_missing_a_doubled_and_a_wrong_event_are_each_found() {
        let (cases, events, ledger) = perfect();
        let mut missing = events.clone();
        missing.remove(3);
        let mut doubled = events.clone();
        doubled.push(events[3].clone());
        let mut wrong = events.clone();
        wrong[3].1 = PaymentEvent::Failed { why: "why".into() };
        for bad in [missing, doubled, wrong] {
            assert!(!Summary::of(&cases, &bad, &ledger, None).holds());
        }
    }

    #[test]
    fn a_second_a_missing_and_a_strange_capture_are_each_found() {
        let (cases, events, ledger) = perfect();
        let mut second = ledger.clone();
        second.push(entry(Operation::Capture, &cases[0].order.id, "another key"));
        let mut missing = ledger.clone();
        missing.retain(|e| !(e.order == cases[0].order.id && e.operation == Operation::Capture));
        let mut strange = ledger.clone();
        for e in strange.iter_mut().filter(|e| e.order == cases[0].order.id) {
            e.outcome = Outcome::Done { id: "something else".into() };
        }
        for bad in [second, missing, strange] {
            assert!(!Summary::of(&cases, &events, &bad, None).holds());
        }
    }
}
