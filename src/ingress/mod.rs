//! Bound user topics become commands: stateless lanes that move each record to its owner's lane exactly once.

mod binding;
mod mover;

pub(crate) use binding::Binding;
pub(crate) use mover::{Ingress, IngressEnd};
