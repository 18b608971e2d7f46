//! Waiting for a condition, never for a time.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

const PAUSE: Duration = Duration::from_millis(5);

/// Asks until the answer is there; fails after `deadline` with what was waited for.
pub fn until<T>(what: &str, deadline: Duration, mut ask: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let began = Instant::now();
    loop {
        if let Some(answer) = ask()? {
            return Ok(answer);
        }
        if began.elapsed() > deadline {
            bail!("{what}: not within {:.1} s", deadline.as_secs_f32());
        }
        std::thread::sleep(PAUSE);
    }
}

/// Turns a condition into one that must hold for `span` without a break: a rebalance passes through states that look
/// settled.
pub fn holds_for(span: Duration) -> impl FnMut(bool) -> bool {
    let mut since: Option<Instant> = None;
    move |holds| {
        if holds {
            since.get_or_insert_with(Instant::now).elapsed() >= span
        } else {
            since = None;
            false
        }
    }
}
