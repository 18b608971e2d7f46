//! A table over consecutive numbers that forgets its finished beginning, so that a run may last for days.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How long a finished entry is remembered in full. Longer than any process is paused, so that what such a process does
/// when it wakes is still compared.
const KEPT: Duration = Duration::from_secs(300);

struct Slot<T> {
    entry: T,
    began: Instant,
    finished: Option<Instant>,
}

/// Entries by number.
pub struct Window<T> {
    base: u64,
    slots: VecDeque<Slot<T>>,
    finished: u64,
}

/// What a window knows of a number.
pub enum Known<'a, T> {
    /// Finished so long ago that only this is known.
    Forgotten,
    /// Its entry.
    Entry(&'a mut T),
    /// It was never begun.
    Never,
}

impl<T> Default for Window<T> {
    fn default() -> Self {
        Window { base: 0, slots: VecDeque::new(), finished: 0 }
    }
}

impl<T> Window<T> {
    /// The number that [`Window::begin`] gives next.
    pub fn next(&self) -> u64 {
        self.base + self.slots.len() as u64
    }

    /// Begins an entry.
    pub fn begin(&mut self, entry: T) -> u64 {
        let n = self.next();
        self.slots.push_back(Slot { entry, began: Instant::now(), finished: None });
        n
    }

    fn slot(&mut self, n: u64) -> Option<&mut Slot<T>> {
        let at = usize::try_from(n.checked_sub(self.base)?).ok()?;
        self.slots.get_mut(at)
    }

    /// What is known of a number.
    pub fn get(&mut self, n: u64) -> Known<'_, T> {
        if n < self.base {
            return Known::Forgotten;
        }
        match self.slot(n) {
            Some(slot) => Known::Entry(&mut slot.entry),
            None => Known::Never,
        }
    }

    /// Marks an entry as finished. Finished ones at the beginning are forgotten after a while.
    pub fn finish(&mut self, n: u64) {
        let now = Instant::now();
        if let Some(slot) = self.slot(n)
            && slot.finished.is_none()
        {
            slot.finished = Some(now);
            self.finished += 1;
        }
        while let Some(slot) = self.slots.front()
            && slot.finished.is_some_and(|at| now.duration_since(at) > KEPT)
        {
            self.slots.pop_front();
            self.base += 1;
        }
    }

    /// How many have finished since the beginning.
    pub fn finished(&self) -> u64 {
        self.finished
    }

    /// How many have not.
    pub fn open(&self) -> u64 {
        self.next() - self.finished
    }

    /// The open entries with their numbers and ages, oldest first.
    pub fn all_open(&self) -> impl Iterator<Item = (u64, Duration, &T)> {
        let numbered = (self.base..).zip(&self.slots);
        numbered
            .filter(|(_, slot)| slot.finished.is_none())
            .map(|(n, slot)| (n, slot.began.elapsed(), &slot.entry))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_found_by_their_number_and_counted() {
        let mut window = Window::default();
        let (a, b) = (window.begin("a"), window.begin("b"));
        window.finish(a);
        window.finish(a);
        assert_eq!((window.open(), window.finished()), (1, 1));
        assert!(matches!(window.get(a), Known::Entry(&mut "a")));
        assert!(matches!(window.get(2), Known::Never));
        assert_eq!(window.all_open().map(|(n, _, _)| n).collect::<Vec<_>>(), [b]);
    }
}
