//! A table over consecutive numbers that forgets its finished beginning, so that a run may last for days, and the clock by
//! which its entries grow old.

use super::lock::lock;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// How long a finished entry is remembered in full. Longer than any process is paused, so that what such a process does
/// when it wakes is still compared.
const KEPT: Duration = Duration::from_secs(300);
/// Room for so many entries is never given back.
const ROOM_MIN: usize = 4_096;

/// Time that passes only while Kafka is there: nothing can end without it, so nothing grows old.
#[derive(Clone)]
pub struct Clock(Arc<Mutex<State>>);

struct State {
    /// How much had passed when it was last stopped or set going.
    passed: Duration,
    going_since: Option<Instant>,
}

impl Default for Clock {
    fn default() -> Self {
        Clock(Arc::new(Mutex::new(State { passed: Duration::ZERO, going_since: Some(Instant::now()) })))
    }
}

impl Clock {
    /// How much time has passed.
    pub fn now(&self) -> Duration {
        self.lock().now()
    }

    fn now_ms(&self) -> u32 {
        u32::try_from(self.now().as_millis()).unwrap_or(OPEN - 1)
    }

    /// Stands still.
    pub fn stop(&self) {
        self.lock().set_going(None);
    }

    /// Goes on.
    pub fn go_on(&self) {
        self.lock().set_going(Some(Instant::now()));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.0)
    }
}

impl State {
    fn now(&self) -> Duration {
        self.passed + self.going_since.map_or(Duration::ZERO, |since| since.elapsed())
    }

    fn set_going(&mut self, since: Option<Instant>) {
        *self = State { passed: self.now(), going_since: since };
    }
}

/// In the place of the time at which an entry finished.
const OPEN: u32 = u32::MAX;

/// There may be a million of them, so times are in milliseconds since the clock began, of which there are 49 days.
struct Slot<T> {
    entry: T,
    began_ms: u32,
    finished_ms: u32,
}

/// Entries by number.
pub struct Window<T> {
    clock: Clock,
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

impl<'a, T> Known<'a, T> {
    /// The same of a part of the entry.
    pub fn map<U>(self, part: impl FnOnce(&'a mut T) -> &'a mut U) -> Known<'a, U> {
        match self {
            Known::Forgotten => Known::Forgotten,
            Known::Entry(entry) => Known::Entry(part(entry)),
            Known::Never => Known::Never,
        }
    }
}

impl<T> Window<T> {
    /// An empty one whose entries grow old by this clock.
    pub fn new(clock: &Clock) -> Self {
        Window { clock: clock.clone(), base: 0, slots: VecDeque::new(), finished: 0 }
    }

    /// The number that [`Window::begin`] gives next.
    pub fn next(&self) -> u64 {
        self.base + self.slots.len() as u64
    }

    /// Begins an entry.
    pub fn begin(&mut self, entry: T) -> u64 {
        let n = self.next();
        self.slots.push_back(Slot { entry, began_ms: self.clock.now_ms(), finished_ms: OPEN });
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
        let now_ms = self.clock.now_ms();
        if let Some(slot) = self.slot(n)
            && slot.finished_ms == OPEN
        {
            slot.finished_ms = now_ms;
            self.finished += 1;
        }
        let kept_ms = u32::try_from(KEPT.as_millis()).unwrap_or(OPEN);
        while let Some(slot) = self.slots.front()
            && slot.finished_ms != OPEN
            && now_ms - slot.finished_ms > kept_ms
        {
            self.slots.pop_front();
            self.base += 1;
        }
        if self.slots.capacity() > ROOM_MIN.max(4 * self.slots.len()) {
            self.slots.shrink_to(2 * self.slots.len());
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
        let now_ms = self.clock.now_ms();
        let age = move |began_ms| Duration::from_millis(u64::from(now_ms - began_ms));
        let numbered = (self.base..).zip(&self.slots);
        numbered
            .filter(|(_, slot)| slot.finished_ms == OPEN)
            .map(move |(n, slot)| (n, age(slot.began_ms), &slot.entry))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_found_by_their_number_and_counted() {
        let mut window = Window::new(&Clock::default());
        let (a, b) = (window.begin("a"), window.begin("b"));
        window.finish(a);
        window.finish(a);
        assert_eq!((window.open(), window.finished()), (1, 1));
        assert!(matches!(window.get(a), Known::Entry(&mut "a")));
        assert!(matches!(window.get(2), Known::Never));
        assert_eq!(window.all_open().map(|(n, _, _)| n).collect::<Vec<_>>(), [b]);
    }

    #[test]
    fn nothing_grows_old_while_the_clock_stands() {
        let clock = Clock::default();
        clock.stop();
        let before = clock.now();
        assert_eq!(clock.now(), before);
        let mut window = Window::new(&clock);
        window.begin(());
        assert!(window.all_open().all(|(_, age, ())| age.is_zero()));
        clock.go_on();
        assert!(clock.now() >= before);
    }
}
