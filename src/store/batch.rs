//! Many writes, in the order of the log: what a restore gathers before it goes to the store.

use super::Write;
use bytes::Bytes;
use std::cmp::Ordering;

/// Length of the value of a deletion.
const DELETED: u32 = u32::MAX;
/// What a write takes beside its bytes, sorting included.
const ENTRY_BYTES: usize = size_of::<Entry>() + size_of::<Place>();

#[derive(Clone, Copy)]
struct Entry {
    at: usize,
    key: u32,
    value: u32,
}

/// Where a write belongs, as far as eight bytes can tell, and which it is.
struct Place {
    prefix: u64,
    entry: u32,
}

/// Writes that lie side by side in memory. One allocation for each of millions of keys and values, and the look-ups of
/// a sort over all of them, took longer than reading them.
#[derive(Default)]
pub struct Batch {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
}

impl Batch {
    /// With room for so many bytes: growing by doubling would hold up to twice as much as is asked for.
    pub fn with_room(bytes: usize) -> Self {
        Batch { bytes: Vec::with_capacity(bytes), entries: Vec::new() }
    }

    /// Adds a write; without a value it is a deletion.
    pub fn push(&mut self, key: &[u8], value: Option<&[u8]>) {
        let length = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(DELETED);
        let entry = Entry { at: self.bytes.len(), key: length(key), value: value.map_or(DELETED, length) };
        assert!(
            entry.key != DELETED && (entry.value != DELETED || value.is_none()),
            "records are far smaller"
        );
        self.bytes.extend_from_slice(key);
        self.bytes.extend_from_slice(value.unwrap_or_default());
        self.entries.push(entry);
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// What it needs in memory, in bytes.
    pub fn memory_bytes(&self) -> usize {
        self.bytes.len() + self.entries.len() * ENTRY_BYTES
    }

    /// One by one, in the order in which they came.
    pub fn writes(&self) -> Vec<Write> {
        let copy = |entry: &Entry| {
            let value = self.value(*entry).map(Bytes::copy_from_slice);
            (Bytes::copy_from_slice(self.key(*entry)), value)
        };
        self.entries.iter().map(copy).collect()
    }

    fn key(&self, entry: Entry) -> &[u8] {
        &self.bytes[entry.at..entry.at + entry.key as usize]
    }

    fn value(&self, entry: Entry) -> Option<&[u8]> {
        let at = entry.at + entry.key as usize;
        (entry.value != DELETED).then(|| &self.bytes[at..at + entry.value as usize])
    }

    /// Calls with each key once, in key order, with the last of its values.
    pub fn in_order<E>(&self, mut each: impl FnMut(&[u8], Option<&[u8]>) -> Result<(), E>) -> Result<(), E> {
        let places = self.sorted();
        for (at, place) in places.iter().enumerate() {
            let entry = self.entries[place.entry as usize];
            let is_last = places.get(at + 1).is_none_or(|next| {
                next.prefix != place.prefix || self.key(self.entries[next.entry as usize]) != self.key(entry)
            });
            if is_last {
                each(self.key(entry), self.value(entry))?;
            }
        }
        Ok(())
    }

    /// Most comparisons end at eight bytes that lie in the array itself: keys lie wherever they came, and each look at
    /// one is a miss of the processor's cache.
    fn sorted(&self) -> Vec<Place> {
        let shared = self.shared();
        let place = |(index, entry): (usize, &Entry)| {
            let key = self.key(*entry);
            let tag = key.first().copied().unwrap_or(0);
            let mut prefix = [0; 8];
            prefix[0] = tag;
            let rest = key.get(shared[usize::from(tag)]..).unwrap_or_default();
            let taken = rest.len().min(7);
            prefix[1..=taken].copy_from_slice(&rest[..taken]);
            Place { prefix: u64::from_be_bytes(prefix), entry: u32::try_from(index).unwrap_or(u32::MAX) }
        };
        let mut places: Vec<Place> = self.entries.iter().enumerate().map(place).collect();
        places.sort_unstable_by(|a, b| self.compare(a, b));
        places
    }

    fn compare(&self, a: &Place, b: &Place) -> Ordering {
        let key = |place: &Place| self.key(self.entries[place.entry as usize]);
        a.prefix.cmp(&b.prefix).then_with(|| key(a).cmp(key(b))).then(a.entry.cmp(&b.entry))
    }

    /// For each first byte, how many bytes all keys with it have in common: a table's tag, and often the begin of ids.
    fn shared(&self) -> [usize; 256] {
        let mut first: [Option<&[u8]>; 256] = [None; 256];
        let mut shared = [0; 256];
        for entry in &self.entries {
            let key = self.key(*entry);
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
