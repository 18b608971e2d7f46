//! What crosses a process: names, and the types behind them. A service that only sends orders needs no more than this.

use sakia::{Signal, Topic, Workflow};
use serde::{Deserialize, Serialize};

/// From an order to its receipt. The instance's id is the order's.
pub const PAYMENT: Workflow<Order, Receipt> = Workflow::new("payment");
/// What the person who looks at an order decides.
pub const APPROVAL: Signal<Decision> = Signal::new("approval");
/// Where the shop puts its orders: plain JSON, the order's id is the key. The shop knows nothing of Sakia.
pub const ORDERS: Topic<String, Order> = Topic::new("orders");
/// Where the approval page puts its clicks: plain JSON, the order's id is the key.
pub const CLICKS: Topic<String, Decision> = Topic::new("approval-clicks");
/// How each order ended, once per order.
pub const PAYMENTS: Topic<String, PaymentEvent> = Topic::new("payments");

/// Something to be paid.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Names the order everywhere.
    pub id: String,
    /// How much.
    pub cents: u64,
    /// Who pays.
    pub card: String,
    /// How long the shop keeps the goods for it; three days if it does not say.
    #[serde(default)]
    pub keep_ms: Option<u64>,
}

/// Proof of a payment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The provider's name for the capture.
    pub txn: String,
    /// How much.
    pub cents: u64,
}

/// What a person decided about an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Decision {
    /// Take the money.
    Approve,
    /// Do not.
    Reject {
        /// For the customer.
        why: String,
    },
}

/// How an order ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum PaymentEvent {
    /// The money was taken.
    Paid(Receipt),
    /// It was not, for a reason that is a normal part of business.
    Refused(Refusal),
    /// It was not, because something did not work in spite of all retries.
    Failed {
        /// What.
        why: String,
    },
}

/// Why an order is not paid. Travels as a typed error through the workflow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// The provider does not want the card.
    #[error("the card was declined: {0}")]
    Declined(String),
    /// A person said no.
    #[error("not approved: {0}")]
    Rejected(String),
    /// No person said anything in time.
    #[error("nobody decided in time")]
    TimedOut,
}
