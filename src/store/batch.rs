//! Many writes, in the order of the log: what a restore gathers before it goes to the store.

use super::Write;
use bytes::Bytes;
use std::cmp::Ordering;
use std::hint::black_box;
use std::iter::successors;

/// Length of the value of a deletion.
const DELETED: u32 = u32::MAX;
/// What stands before each write: the lengths of its key and of its value.
const LENGTHS: usize = 2 * size_of::<u32>();
/// What a write takes beside that, while it is sorted.
const PLACE_BYTES: usize = size_of::<Place>();
/// Writes that are fetched from memory together, and how much of each, in lines of the processor's cache.
const TOGETHER: usize = 32;
const LINES: usize = 4;
const LINE: usize = 64;

/// Where a write belongs, as far as eight bytes can tell, and where it is.
struct Place {
    prefix: u64,
    at: usize,
}

/// Writes that lie side by side in memory. One allocation for each of millions of keys and values, and the look-ups of
/// a sort over all of them, took longer than reading them.
#[derive(Default)]
pub struct Batch {
    bytes: Vec<u8>,
    len: usize,
}

impl Batch {
    /// With room for so many bytes: growing by doubling would hold up to twice as much as is asked for.
    pub fn with_room(bytes: usize) -> Self {
        Batch { bytes: Vec::with_capacity(bytes), len: 0 }
    }

    /// Adds a write; without a value it is a deletion.
    pub fn push(&mut self, key: &[u8], value: Option<&[u8]>) {
        let length = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(DELETED);
        let (key_len, value_len) = (length(key), value.map_or(DELETED, length));
        assert!(key_len != DELETED && (value_len != DELETED || value.is_none()), "records are far smaller");
        self.bytes.extend_from_slice(&key_len.to_le_bytes());
        self.bytes.extend_from_slice(&value_len.to_le_bytes());
        self.bytes.extend_from_slice(key);
        self.bytes.extend_from_slice(value.unwrap_or_default());
        self.len += 1;
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// What it needs in memory, in bytes, sorting included.
    pub fn memory_bytes(&self) -> usize {
        self.bytes.len() + self.len * PLACE_BYTES
    }

    /// One by one, in the order in which they came.
    pub fn writes(&self) -> Vec<Write> {
        let copy = |at: usize| {
            let (key, value) = self.write(at);
            (Bytes::copy_from_slice(key), value.map(Bytes::copy_from_slice))
        };
        self.starts().map(copy).collect()
    }

    /// Where each begins, in the order in which they came.
    fn starts(&self) -> impl Iterator<Item = usize> {
        let from = |at: usize| (at < self.bytes.len()).then_some(at);
        successors(from(0), move |at| {
            let (key, value) = self.write(*at);
            from(at + LENGTHS + key.len() + value.map_or(0, <[u8]>::len))
        })
    }

    /// The key and the value that begin there.
    fn write(&self, at: usize) -> (&[u8], Option<&[u8]>) {
        let length = |at: usize| {
            let bytes = self.bytes[at..].first_chunk().copied();
            u32::from_le_bytes(bytes.unwrap_or_default())
        };
        let (key, value) = (length(at) as usize, length(at + size_of::<u32>()));
        let (key, rest) = self.bytes[at + LENGTHS..].split_at(key);
        (key, (value != DELETED).then(|| &rest[..value as usize]))
    }

    fn key(&self, at: usize) -> &[u8] {
        self.write(at).0
    }

    /// Calls with each key once, in key order, with the last of its values.
    pub fn in_order<E>(&self, mut each: impl FnMut(&[u8], Option<&[u8]>) -> Result<(), E>) -> Result<(), E> {
        let places = self.sorted();
        for (index, place) in places.iter().enumerate() {
            if index.is_multiple_of(TOGETHER) {
                self.fetch(&places[index..places.len().min(index + TOGETHER)]);
            }
            let (key, value) = self.write(place.at);
            let is_last = places
                .get(index + 1)
                .is_none_or(|next| next.prefix != place.prefix || self.key(next.at) != key);
            if is_last {
                each(key, value)?;
            }
        }
        Ok(())
    }

    /// Reads a little of each. They lie anywhere, so each is a miss of the processor's cache; it waits for many at once
    /// if none of them decides what it does next.
    fn fetch(&self, places: &[Place]) {
        let line = |at: usize| self.bytes.get(at).copied().unwrap_or(0);
        let lines = places.iter().flat_map(|place| (0..LINES).map(move |n| place.at + n * LINE));
        black_box(lines.fold(0, |seen, at| seen ^ line(at)));
    }

    /// Most comparisons end at eight bytes that lie in the array itself.
    fn sorted(&self) -> Vec<Place> {
        let shared = self.shared();
        let place = |at: usize| {
            let key = self.key(at);
            let tag = key.first().copied().unwrap_or(0);
            let mut prefix = [0; 8];
            prefix[0] = tag;
            let rest = key.get(shared[usize::from(tag)]..).unwrap_or_default();
            let taken = rest.len().min(7);
            prefix[1..=taken].copy_from_slice(&rest[..taken]);
            Place { prefix: u64::from_be_bytes(prefix), at }
        };
        let mut places = Vec::with_capacity(self.len);
        places.extend(self.starts().map(place));
        places.sort_unstable_by(|a, b| self.compare(a, b));
        places
    }

    fn compare(&self, a: &Place, b: &Place) -> Ordering {
        a.prefix.cmp(&b.prefix).then_with(|| self.key(a.at).cmp(self.key(b.at))).then(a.at.cmp(&b.at))
    }

    /// For each first byte, how many bytes all keys with it have in common: a table's tag, and often the begin of ids.
    fn shared(&self) -> [usize; 256] {
        let mut first: [Option<&[u8]>; 256] = [None; 256];
        let mut shared = [0; 256];
        for key in self.starts().map(|at| self.key(at)) {
            let tag = usize::from(key.first().copied().unwrap_or(0));
            match first[tag] {
                None => {
                    first[tag] = Some(key);
                    shared[tag] = key.len();
                }
                Some(other) => {
                    let limit = shared[tag].min(key.len());
                    shared[tag] = key.iter().zip(&other[..limit]).take_while(|(a, b)| a == b).count();
                }
            }
        }
        shared
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn in_order(batch: &Batch) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
        let mut all = Vec::new();
        let seen: Result<(), ()> = batch.in_order(|key, value| {
            all.push((key.to_vec(), value.map(<[u8]>::to_vec)));
            Ok(())
        });
        seen.unwrap();
        all
    }

    #[test]
    fn keys_come_in_byte_order_each_with_its_last_value() {
        // Of every length, with and without a common begin, one the begin of another, and many times.
        let mut keys: Vec<Vec<u8>> = vec![vec![], vec![0], vec![0, 0], vec![1], vec![1, 0], vec![255; 20]];
        for n in 0..2_000_u32 {
            let n = n.wrapping_mul(2_654_435_761) >> 17;
            keys.push(format!("\u{1}order-{n:x}").into_bytes());
            keys.push(format!("\u{2}{n}").into_bytes());
            keys.push(n.to_le_bytes()[..(n % 5) as usize].to_vec());
        }
        let (mut batch, mut expected) = (Batch::default(), BTreeMap::new());
        for (n, key) in keys.iter().enumerate() {
            let value = (n % 3 > 0).then(|| n.to_be_bytes().to_vec());
            batch.push(key, value.as_deref());
            expected.insert(key.clone(), value);
        }
        assert!(expected.len() < batch.len() && batch.len() == keys.len());
        assert_eq!(in_order(&batch), expected.into_iter().collect::<Vec<_>>());
    }

    #[test]
    fn an_empty_value_is_no_deletion() {
        let mut batch = Batch::default();
        batch.push(b"a", Some(b""));
        batch.push(b"b", None);
        assert_eq!(in_order(&batch), [(b"a".to_vec(), Some(vec![])), (b"b".to_vec(), None)]);
        assert_eq!(batch.writes()[0].1.as_deref(), Some(&b""[..]));
    }
}
