//! Locks that outlive a panic: the thread that panicked ends the run with its reason, and the others still say what they know.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Takes the lock, whoever panicked with it.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
