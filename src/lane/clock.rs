//! The owner's clock. Only facts carry it; the core sees it as the time of an input.

use crate::core::ids::Millis;

/// Tells the time.
pub trait Clock: Send + Sync + 'static {
    /// Milliseconds since the Unix epoch.
    fn now(&self) -> Millis;
}
