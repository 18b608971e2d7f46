//! Checkpoints of one process take turns. Small transactions are what costs: on two cores one lane did 6,700 empty
//! workflows a second, four lanes 1,400 (four times the transactions, each a quarter of the size). A lane that waits
//! for its turn gathers meanwhile, so its checkpoint gets larger, not later.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

type Call = Box<dyn FnOnce(Turn) + Send>;

/// Lets a few checkpoints through at a time.
pub struct Turnstile {
    state: Mutex<State>,
}

struct State {
    free: usize,
    waiting: VecDeque<Call>,
}

/// The right to write one transaction of checkpoints. Dropping it lets the next lane go; also if the lane that it was for
/// is gone.
pub(super) struct Turn {
    stile: Arc<Turnstile>,
}

impl std::fmt::Debug for Turn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Turn")
    }
}

impl Turnstile {
    /// Lets `permits` checkpoints through at a time.
    pub fn new(permits: usize) -> Self {
        Turnstile { state: Mutex::new(State { free: permits.max(1), waiting: VecDeque::new() }) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A turn at once, or `None`: then `call` gets it later.
    pub(super) fn enter(self: &Arc<Self>, call: impl FnOnce(Turn) + Send + 'static) -> Option<Turn> {
        let mut state = self.lock();
        if state.free > 0 {
            state.free -= 1;
            return Some(Turn { stile: self.clone() });
        }
        state.waiting.push_back(Box::new(call));
        None
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut state = self.stile.lock();
        match state.waiting.pop_front() {
            Some(call) => {
                drop(state);
                call(Turn { stile: self.stile.clone() });
            }
            None => state.free += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    #[test]
    fn whoever_waits_longest_gets_the_turn_next() {
        let stile = Arc::new(Turnstile::new(1));
        let (tx, rx) = channel();
        let ask = |n: usize| {
            let tx = tx.clone();
            stile.enter(move |turn| tx.send((n, turn)).unwrap())
        };
        let first = ask(1).expect("the turnstile is free");
        assert!(ask(2).is_none());
        assert!(ask(3).is_none());
        drop(first);
        let (who, turn) = rx.try_recv().unwrap();
        assert_eq!(who, 2);
        drop(turn);
        assert_eq!(rx.try_recv().unwrap().0, 3);
        assert!(ask(4).is_some());
    }

    #[test]
    fn a_turn_for_a_lane_that_is_gone_is_not_lost() {
        let stile = Arc::new(Turnstile::new(1));
        let first = stile.enter(drop).expect("the turnstile is free");
        assert!(stile.enter(drop).is_none());
        drop(first);
        assert!(stile.enter(drop).is_some());
    }
}
