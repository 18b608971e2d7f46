//! Orders become payments.
//!
//! [`contracts`] is what crosses a process: names and types. [`payment`] is the workflow. [`provider`] talks to the
//! payment provider, [`fake`] is one, with a [`ledger`] of what it was asked.

pub mod contracts;
pub mod fake;
pub mod ledger;
pub mod payment;
pub mod provider;
