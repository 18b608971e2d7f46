//! A process that was killed keeps its port and its locks until the system has cleared it away, which takes
//! some 100 ms when it was large. Whoever starts the next one at once must not fail for that.
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(2);
const STEP: Duration = Duration::from_millis(10);

/// Tries again while the error says that somebody else has the thing, for a short time.
pub(crate) fn outlast<T, E>(
    mut attempt: impl FnMut() -> Result<T, E>,
    is_taken: impl Fn(&E) -> bool,
) -> Result<T, E> {
    let until = Instant::now() + PATIENCE;
    loop {
        match attempt() {
            Err(error) if is_taken(&error) && Instant::now() < until => std::thread::sleep(STEP),
            result => return result,
        }
    }
}
