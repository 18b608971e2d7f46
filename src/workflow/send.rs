//! `ctx.send`: a record to one of the user's topics.

use super::cell::Shared;
use super::names::Topic;
use super::payload::{RecordKey, encode};
use crate::core::history::Ask;
use serde::Serialize;

pub(super) fn send<K: RecordKey, V: Serialize>(cell: &Shared, topic: Topic<K, V>, key: &K, value: &V) {
    let mut cell = cell.borrow_mut();
    match encode(value) {
        Ok(value) => {
            cell.ask(Ask::Send { topic: topic.name().into(), key: key.to_key(), value });
        }
        Err(error) => cell.unencodable(&format!("a record for \"{}\"", topic.name()), &error),
    }
}
