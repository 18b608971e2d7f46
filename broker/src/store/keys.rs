//! Keys of the store. A tag is never given another meaning; a new layout needs a new
//! [`FORMAT_VERSION`](super::FORMAT_VERSION).
//!
//! | tag | rest of the key | value |
//! |---|---|---|
//! | F | | format version |
//! | N | | next producer id, next partition number |
//! | T | topic | id, configs, partition numbers |
//! | P | partition number | bounds and cleaning state |
//! | I | partition number, producer id | epoch, last five batches, open transaction |
//! | A | partition number, offset of the marker | aborted range |
//! | X | transactional id | coordinator state |
//! | O | group, topic, partition | committed offset |
//! | Q | group, producer id | offsets of an open transaction |
//! | L | partition number, base offset | batch, as on the wire |
use crate::state::TopicPartition;

pub(crate) const FORMAT: &[u8] = b"F";
pub(crate) const COUNTERS: &[u8] = b"N";
pub(crate) const TOPIC: u8 = b'T';
pub(crate) const PARTITION: u8 = b'P';
pub(crate) const PRODUCER: u8 = b'I';
pub(crate) const ABORTED: u8 = b'A';
pub(crate) const TXN: u8 = b'X';
pub(crate) const OFFSET: u8 = b'O';
pub(crate) const PENDING: u8 = b'Q';
pub(crate) const LOG: u8 = b'L';

pub(crate) fn topic(name: &str) -> Vec<u8> {
    [&[TOPIC], name.as_bytes()].concat()
}

pub(crate) fn partition(number: u32) -> Vec<u8> {
    of_partition(PARTITION, number)
}

/// Common beginning of all keys of a partition under one tag.
pub(crate) fn of_partition(tag: u8, number: u32) -> Vec<u8> {
    [&[tag], &number.to_be_bytes()[..]].concat()
}

/// Offsets and producer ids are never negative, so big-endian bytes sort as numbers.
pub(crate) fn in_partition(tag: u8, number: u32, id: i64) -> Vec<u8> {
    [&[tag], &number.to_be_bytes()[..], &id.to_be_bytes()[..]].concat()
}

pub(crate) fn txn(id: &str) -> Vec<u8> {
    [&[TXN], id.as_bytes()].concat()
}

pub(crate) fn group(tag: u8, group: &str) -> Vec<u8> {
    let mut key = vec![tag];
    put_text(&mut key, group);
    key
}

pub(crate) fn offset(group_id: &str, tp: &TopicPartition) -> Vec<u8> {
    let mut key = group(OFFSET, group_id);
    put_text(&mut key, &tp.0);
    key.extend_from_slice(&tp.1.to_be_bytes());
    key
}

pub(crate) fn pending(group_id: &str, producer_id: i64) -> Vec<u8> {
    let mut key = group(PENDING, group_id);
    key.extend_from_slice(&producer_id.to_be_bytes());
    key
}

/// Length first, so that no name can run into what follows it.
fn put_text(key: &mut Vec<u8>, text: &str) {
    key.extend_from_slice(&(text.len() as u16).to_be_bytes());
    key.extend_from_slice(text.as_bytes());
}

/// Reads keys back.
pub(crate) struct KeyReader<'a>(pub(crate) &'a [u8]);

impl KeyReader<'_> {
    pub(crate) fn number<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_at_checked(N)?;
        self.0 = rest;
        head.try_into().ok()
    }

    pub(crate) fn text(&mut self) -> Option<String> {
        let length = usize::from(u16::from_be_bytes(self.number()?));
        let (head, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        String::from_utf8(head.to_vec()).ok()
    }
}
