//! Keys of rows: a tag, then names with their lengths, then numbers with the most significant byte first, so that
//! byte order is the order of due times and of turn numbers. Tags are never reused.

use super::CodecError;
use crate::core::ids::{InstanceKey, OpId};
use crate::core::state::Key;
use bytes::{Buf, BufMut, Bytes};
use std::cmp::Ordering;

const POSITION: u8 = 0;
/// Tag of instances.
pub const INSTANCE: u8 = 1;
const TURNS: u8 = 2;
/// Tag of steps that have not ended.
pub const STEP: u8 = 3;
/// Tag of timers.
pub const TIMER: u8 = 4;
const SIGNAL: u8 = 5;
const INBOX: u8 = 6;

pub use crate::core::ids::NAME_MAX_BYTES;

/// The bytes of a key.
pub fn encode(key: &Key) -> Bytes {
    let mut out = Vec::with_capacity(64);
    encode_into(&mut out, key);
    Bytes::from(out)
}

/// The same, behind what is there.
pub fn encode_into(out: &mut Vec<u8>, key: &Key) {
    match key {
        Key::Position => out.put_u8(POSITION),
        Key::Instance(k) => tagged(out, INSTANCE, k),
        Key::Turns(k, n) => {
            tagged(out, TURNS, k);
            out.put_u32(*n);
        }
        Key::Step(k, op) => {
            tagged(out, STEP, k);
            put_op(out, *op);
        }
        Key::Timer(due, k, op) => {
            out.put_u8(TIMER);
            out.put_u64(*due);
            put_instance(out, k);
            put_op(out, *op);
        }
        Key::Signal(k, n) => {
            tagged(out, SIGNAL, k);
            out.put_u64(*n);
        }
        Key::Inbox(k, n) => {
            tagged(out, INBOX, k);
            out.put_u64(*n);
        }
    }
}

/// The key of bytes.
pub fn decode(mut bytes: &[u8]) -> Result<Key, CodecError> {
    let at = &mut bytes;
    let key = match take_u8(at)? {
        POSITION => Key::Position,
        INSTANCE => Key::Instance(take_instance(at)?),
        TURNS => Key::Turns(take_instance(at)?, take_u32(at)?),
        STEP => Key::Step(take_instance(at)?, take_op(at)?),
        TIMER => {
            let due = take_u64(at)?;
            Key::Timer(due, take_instance(at)?, take_op(at)?)
        }
        SIGNAL => Key::Signal(take_instance(at)?, take_u64(at)?),
        INBOX => Key::Inbox(take_instance(at)?, take_u64(at)?),
        tag => {
            return Err(CodecError::new("row key", format!("tag {tag} is not known; upgrade this process")));
        }
    };
    if bytes.is_empty() { Ok(key) } else { too_long() }
}

/// Whether [`decode`] would know these bytes, at less cost: a restore asks it of millions.
pub fn check(bytes: &[u8]) -> Result<(), CodecError> {
    let mut rest = bytes;
    let at = &mut rest;
    let (names, numbers) = match take_u8(at)? {
        POSITION => (0, 0),
        INSTANCE => (2, 0),
        TURNS => (2, 4),
        STEP | SIGNAL | INBOX => (2, 8),
        TIMER => {
            take_u64(at)?;
            (2, 8)
        }
        // The same words, in one place.
        _ => return decode(bytes).map(drop),
    };
    for _ in 0..names {
        take_name(at)?;
    }
    match at.len().cmp(&numbers) {
        Ordering::Equal => Ok(()),
        Ordering::Less => short(),
        Ordering::Greater => too_long(),
    }
}

fn tagged(out: &mut Vec<u8>, tag: u8, key: &InstanceKey) {
    out.put_u8(tag);
    put_instance(out, key);
}

fn put_instance(out: &mut Vec<u8>, key: &InstanceKey) {
    for name in [&key.id, &key.workflow] {
        // Names are bounded at the border, far below u16::MAX.
        out.put_u16(u16::try_from(name.len()).unwrap_or(u16::MAX));
        out.put_slice(name.as_bytes());
    }
}

fn put_op(out: &mut Vec<u8>, op: OpId) {
    out.put_u32(op.branch);
    out.put_u32(op.number);
}

fn too_long<T>() -> Result<T, CodecError> {
    Err(CodecError::new("row key", "it has bytes after its end"))
}

fn short<T>() -> Result<T, CodecError> {
    Err(CodecError::new("row key", "it is cut short"))
}

fn take_u8(at: &mut &[u8]) -> Result<u8, CodecError> {
    if at.remaining() < 1 { short() } else { Ok(at.get_u8()) }
}

fn take_u32(at: &mut &[u8]) -> Result<u32, CodecError> {
    if at.remaining() < 4 { short() } else { Ok(at.get_u32()) }
}

fn take_u64(at: &mut &[u8]) -> Result<u64, CodecError> {
    if at.remaining() < 8 { short() } else { Ok(at.get_u64()) }
}

fn take_name<'a>(at: &mut &'a [u8]) -> Result<&'a str, CodecError> {
    if at.remaining() < 2 {
        return short();
    }
    let len = usize::from(at.get_u16());
    if at.remaining() < len {
        return short();
    }
    let (name, rest) = at.split_at(len);
    *at = rest;
    std::str::from_utf8(name).map_err(|e| CodecError::new("row key", e.to_string()))
}

fn take_instance(at: &mut &[u8]) -> Result<InstanceKey, CodecError> {
    let id = take_name(at)?;
    let workflow = take_name(at)?;
    Ok(InstanceKey::new(workflow, id))
}

fn take_op(at: &mut &[u8]) -> Result<OpId, CodecError> {
    Ok(OpId { branch: take_u32(at)?, number: take_u32(at)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples() -> Vec<Key> {
        let k = InstanceKey::new("payment", "o-1");
        let op = OpId { branch: 2, number: 7 };
        vec![
            Key::Position,
            Key::Instance(k.clone()),
            Key::Turns(k.clone(), 9),
            Key::Step(k.clone(), op),
            Key::Timer(77, k.clone(), op),
            Key::Signal(k.clone(), 3),
            Key::Inbox(k, 4),
        ]
    }

    #[test]
    fn every_key_survives_a_round_trip() {
        for key in samples() {
            assert_eq!(decode(&encode(&key)), Ok(key));
        }
    }

    #[test]
    fn a_check_says_what_decoding_says() {
        let mut all = vec![vec![], vec![7], vec![255, 1], vec![INSTANCE, 0, 1, 200, 0, 0]];
        for key in samples() {
            let bytes = encode(&key);
            all.extend((0..=bytes.len()).map(|len| bytes[..len].to_vec()));
            all.push([&bytes[..], b"x"].concat());
        }
        for bytes in all {
            assert_eq!(check(&bytes), decode(&bytes).map(drop), "{bytes:?}");
        }
    }

    #[test]
    fn a_key_that_is_cut_short_or_too_long_is_an_error_and_no_panic() {
        for key in samples() {
            let bytes = encode(&key);
            for len in 0..bytes.len() {
                assert!(decode(&bytes[..len]).is_err(), "{key:?} cut to {len}");
            }
            assert!(decode(&[&bytes[..], b"x"].concat()).is_err());
        }
        assert!(decode(&[250]).is_err(), "an unknown tag");
    }

    #[test]
    fn timers_sort_by_their_time() {
        let k = |id: &str| InstanceKey::new("w", id);
        let op = OpId { branch: 0, number: 0 };
        let early = encode(&Key::Timer(255, k("z"), op));
        let late = encode(&Key::Timer(256, k("a"), op));
        assert!(early < late);
    }
}
