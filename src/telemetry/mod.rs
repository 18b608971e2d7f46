//! What a process tells about itself: metrics that the work counts, and a picture of the moment. The only place that
//! imports `prometheus_client`.

mod metrics;
mod picture;

pub use metrics::{LaneMetrics, Metrics};
pub use picture::{LanePicture, LaneState, Picture, RestorePicture, StoreMemory};

/// A process, as whoever asks it from outside sees it.
pub trait Report: Send + Sync + 'static {
    /// All metrics, in the OpenMetrics text format.
    ///
    /// # Errors
    /// If they cannot be written down.
    fn metrics(&self) -> Result<String, std::fmt::Error>;
    /// Whether the process can go on at all.
    ///
    /// # Errors
    /// Why not.
    fn alive(&self) -> Result<(), String>;
    /// Whether every lane that the group gave to it runs.
    ///
    /// # Errors
    /// What is missing.
    fn ready(&self) -> Result<(), String>;
}
