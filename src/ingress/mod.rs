//! Bound user topics become commands: stateless lanes that move each record to its owner's lane exactly once.

mod binding;
mod mover;

pub use binding::Binding;
pub use mover::{Ingress, IngressEnd};
