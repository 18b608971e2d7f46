//! The instances that a store holds, compared with what the model says: each is there, once, on its lane, and has come to
//! what its inputs make of it.

use super::ledger::Wrong;
use super::model::{Entry, Kept, Kind, Model, Tally, lane_of};
use std::collections::{BTreeMap, BTreeSet};

/// Missing ones that are named; the others are counted.
const NAMED_MAX: usize = 10;

/// A set of numbers.
#[derive(Default)]
struct Numbers(Vec<u64>);

impl Numbers {
    /// Whether it was not there.
    fn insert(&mut self, n: u64) -> bool {
        let at = usize::try_from(n / 64).unwrap_or(usize::MAX);
        if self.0.len() <= at {
            self.0.resize(at + 1, 0);
        }
        let bit = 1 << (n % 64);
        let is_new = self.0[at] & bit == 0;
        self.0[at] |= bit;
        is_new
    }

    fn contains(&self, n: u64) -> bool {
        usize::try_from(n / 64)
            .ok()
            .and_then(|at| self.0.get(at))
            .is_some_and(|bits| bits & 1 << (n % 64) != 0)
    }
}

/// One comparison.
pub struct Judgement<'a> {
    model: &'a Model,
    seen: BTreeMap<Kind, Numbers>,
    /// Of those that the model does not know by name.
    tally: Tally,
    /// What is wrong.
    found: Vec<(Wrong, String)>,
    /// Instances that were compared.
    pub compared: u64,
}

impl<'a> Judgement<'a> {
    /// Begins.
    pub fn new(model: &'a Model) -> Self {
        let (seen, tally) = (BTreeMap::new(), Tally::default());
        Judgement { model, seen, tally, found: Vec::new(), compared: 0 }
    }

    /// An instance that the store of a lane holds, with its status and result.
    pub fn saw(&mut self, lane: i32, workflow: &str, id: &str, outcome: &str) {
        self.compared += 1;
        let Some((kind, n)) = Kind::of(workflow, id) else {
            return self.accuse(Wrong::Changed, format!("an instance of nobody: {workflow} {id}"));
        };
        let (model, home) = (self.model, lane_of(id, self.model.lanes));
        if lane != home {
            self.accuse(Wrong::Changed, format!("{id} is on lane {lane}, not on its own, {home}"));
        }
        let expected = match kind {
            Kind::Job | Kind::Leaf => expected(&model.jobs, kind, n),
            Kind::Transfer | Kind::Credit => expected(&model.transfers, kind, n),
            Kind::Account => expected(&model.accounts, kind, n),
            Kind::Alarm => expected(&model.alarms, kind, n),
        };
        match &expected {
            Expected::Nothing => {
                return self.accuse(Wrong::Changed, format!("{id}, which nobody started, {outcome}"));
            }
            Expected::Named(expected) if expected != outcome => {
                self.accuse(
                    Wrong::Changed,
                    format!("{id} is stored as {outcome}, its inputs say {expected}"),
                );
            }
            Expected::Counted => self.tally.add(model.lanes, kind, n, outcome),
            Expected::Named(_) => {}
        }
        if !self.seen.entry(kind).or_default().insert(n) {
            self.accuse(Wrong::Duplicate, format!("{id} is stored twice"));
        }
    }

    fn accuse(&mut self, wrong: Wrong, what: String) {
        self.found.push((wrong, what));
    }

    /// Looks for what no store had.
    pub fn end(mut self) -> Vec<(Wrong, String)> {
        let model = self.model;
        self.end_of(&model.jobs, &[Kind::Job, Kind::Leaf]);
        self.end_of(&model.transfers, &[Kind::Transfer, Kind::Credit]);
        self.end_of(&model.accounts, &[Kind::Account]);
        self.end_of(&model.alarms, &[Kind::Alarm]);
        let lanes: BTreeSet<_> = model.tally.0.keys().chain(self.tally.0.keys()).copied().collect();
        for at @ (kind, lane) in lanes {
            let (said, stored) = (model.tally.0.get(&at), self.tally.0.get(&at));
            // Those that are not there at all have been named.
            if said.map(|t| t.0) == stored.map(|t| t.0) && said != stored {
                let what =
                    format!("{} on lane {lane}: their results are not what their inputs say", kind.name());
                self.accuse(Wrong::Changed, what);
            }
        }
        self.found
    }

    fn end_of<T: Entry>(&mut self, kept: &Kept<T>, kinds: &[Kind]) {
        let nothing = Numbers::default();
        let next = kept.base + kept.entries.len() as u64;
        for kind in kinds {
            let seen = self.seen.get(kind).unwrap_or(&nothing);
            let missing: Vec<u64> = (0..next).filter(|n| !seen.contains(*n)).collect();
            if !missing.is_empty() {
                let named: Vec<u64> = missing.iter().take(NAMED_MAX).copied().collect();
                let what = format!("{} of {} are in no store, as {named:?}", missing.len(), kind.name());
                self.accuse(Wrong::Lost, what);
            }
        }
        for (n, entry) in (kept.base..).zip(&kept.entries) {
            let missing = entry.missing(n, self.model.lanes);
            if !missing.is_empty() {
                let what =
                    format!("of {}-{n} the topics do not have {}", kinds[0].name(), missing.join(", "));
                self.accuse(Wrong::Lost, what);
            }
        }
    }
}

enum Expected {
    Nothing,
    Named(String),
    Counted,
}

fn expected<T: Entry>(kept: &Kept<T>, kind: Kind, n: u64) -> Expected {
    let Some(at) = n.checked_sub(kept.base) else { return Expected::Counted };
    let entry = usize::try_from(at).ok().and_then(|at| kept.entries.get(at));
    let outcome = entry.and_then(|entry| entry.outcomes(n).into_iter().find(|(k, _)| *k == kind));
    outcome.map_or(Expected::Nothing, |(_, outcome)| Expected::Named(outcome))
}
