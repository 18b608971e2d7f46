//! The cast: what each order is, and how it must end.

use payment_example::contracts::{Decision, Order, PaymentEvent, Refusal};
use payment_example::fake::DECLINED_CARD;
use std::fmt;

/// How many orders the shop sends.
pub(crate) const COUNT: usize = 300;
/// How long the shop keeps the goods of those orders that nobody decides about.
pub(crate) const SHORT_KEEP_MS: u64 = 5_000;

/// How an order must end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fate {
    /// A person approves it.
    Paid,
    /// A person rejects it.
    Rejected,
    /// The provider declines the card.
    Declined,
    /// No person looks at it.
    TimedOut,
}

/// An order and its fate.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    pub(crate) order: Order,
    pub(crate) fate: Fate,
}

/// All orders, the same in every run.
pub(crate) fn cases() -> Vec<Case> {
    (1..=COUNT).map(case).collect()
}

fn case(number: usize) -> Case {
    let fate = match number {
        n if n.is_multiple_of(29) => Fate::TimedOut,
        n if n.is_multiple_of(17) => Fate::Declined,
        n if n.is_multiple_of(10) => Fate::Rejected,
        _ => Fate::Paid,
    };
    let last_digits = if fate == Fate::Declined { DECLINED_CARD } else { "4242" };
    let order = Order {
        id: format!("o-{number:04}"),
        cents: 1_000 + 7 * number as u64,
        card: format!("4000-0000-0000-{last_digits}"),
        keep_ms: (fate == Fate::TimedOut).then_some(SHORT_KEEP_MS),
    };
    Case { order, fate }
}

impl Fate {
    /// What the person who looks at the order clicks, if anybody does.
    pub(crate) fn click(self) -> Option<Decision> {
        match self {
            Fate::Paid => Some(Decision::Approve),
            Fate::Rejected => Some(Decision::Reject { why: "does not look right".into() }),
            Fate::Declined | Fate::TimedOut => None,
        }
    }

    /// The fate that an event tells of; `None` for a failure, which no order here may have.
    pub(crate) fn of(event: &PaymentEvent) -> Option<Fate> {
        match event {
            PaymentEvent::Paid(_) => Some(Fate::Paid),
            PaymentEvent::Refused(Refusal::Rejected(_)) => Some(Fate::Rejected),
            PaymentEvent::Refused(Refusal::Declined(_)) => Some(Fate::Declined),
            PaymentEvent::Refused(Refusal::TimedOut) => Some(Fate::TimedOut),
            PaymentEvent::Failed { .. } => None,
        }
    }
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Fate::Paid => "paid",
            Fate::Rejected => "refused by a person",
            Fate::Declined => "declined by the provider",
            Fate::TimedOut => "timed out",
        })
    }
}
