//! The systems that are measured in turn, each behind the same face.

use crate::client::Client;
use crate::cluster::Broker;
use crate::figures::{fixed_loop, quantile};
use crate::peer::{Peer, Values};
use crate::plan::{Closed, lengths};
use crate::results::Sample;
use crate::subject::Subject;
use crate::usage::{Meter, Watched};
use anyhow::Result;

/// The app under test with its broker and client. The order is that of dropping: the app goes before its broker.
pub(crate) struct Stage {
    /// What the report calls it.
    pub(crate) name: &'static str,
    /// Talks to the app.
    pub(crate) client: Client,
    /// The app.
    pub(crate) subject: Subject,
    /// What it stands on.
    pub(crate) broker: Broker,
}

/// One of those that are compared.
pub(crate) enum Side {
    /// Sakia.
    Sakia(Box<Stage>),
    /// Another.
    Peer(Box<Peer>),
}

impl Side {
    /// What the report calls it.
    pub(crate) fn name(&self) -> &str {
        match self {
            Side::Sakia(stage) => stage.name,
            Side::Peer(peer) => peer.name(),
        }
    }

    /// Its processes.
    pub(crate) fn watched(&self) -> Vec<Watched> {
        match self {
            Side::Sakia(stage) => stage.subject.watched(),
            Side::Peer(peer) => peer.watched(),
        }
    }

    fn closed(&mut self, cell: &Closed) -> Result<Values> {
        let (ramp, length) = lengths(self.name());
        match self {
            Side::Sakia(stage) => {
                let load = stage.client.closed_loop(cell.work, cell.in_flight, ramp, length)?;
                Ok(Values::from([
                    ("per_second".into(), load.per_second),
                    ("p50_ms".into(), quantile(&load.latencies, 0.5)),
                    ("p99_ms".into(), quantile(&load.latencies, 0.99)),
                    ("completed".into(), load.completed as f64),
                ]))
            }
            Side::Peer(peer) => {
                peer.load(cell.peer_work, cell.in_flight as u64, ramp.as_secs_f64(), length.as_secs_f64())
            }
        }
    }

    /// Measures a closed loop.
    pub(crate) fn measure(&mut self, cell: &Closed, round: usize) -> Result<Sample> {
        let name = self.name().to_owned();
        measured(cell.name, &name, round, &self.watched(), || self.closed(cell))
    }
}

/// Runs something between two fixed loops, and notes what the processes use meanwhile.
pub(crate) fn measured(
    workload: &str,
    side: &str,
    round: usize,
    watched: &[Watched],
    work: impl FnOnce() -> Result<Values>,
) -> Result<Sample> {
    let before = fixed_loop();
    let meter = Meter::start(watched)?;
    let values = work()?;
    let used = meter.stop()?;
    Ok(Sample {
        workload: workload.into(),
        side: side.into(),
        round,
        loops: [before, fixed_loop()],
        values,
        used,
    })
}
