//! Wiring: the app, its group membership, its lanes on threads, shutdown. The only place that picks Kafka and RocksDB.

mod app;
mod host;
mod ingress_worker;
mod lane_worker;
mod measured;
mod process;
mod report;
mod stream;

pub use app::App;
pub use stream::Stream;
