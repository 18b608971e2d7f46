//! The HTTP port of a process: `/healthz`, `/readyz`, `/metrics`. It sees the process only as a [`Report`]. The only
//! place that imports `axum`.

use crate::telemetry::Report;
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use std::net::SocketAddr;
use std::sync::Arc;

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

type Reported = State<Arc<dyn Report>>;

/// An open port. Dropping it closes the port.
pub(crate) struct Server {
    address: SocketAddr,
    task: tokio::task::JoinHandle<()>,
}

impl Server {
    /// Opens the port; answers from then on, on the runtime's threads.
    ///
    /// # Errors
    /// If the port cannot be had.
    pub(crate) fn open(
        address: SocketAddr,
        runtime: &tokio::runtime::Handle,
        report: Arc<dyn Report>,
    ) -> std::io::Result<Self> {
        let listener = std::net::TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let _within = runtime.enter();
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let pages = pages(report);
        let task = runtime.spawn(async move {
            if let Err(error) = axum::serve(listener, pages).await {
                tracing::error!(%address, "the HTTP port is closed: {error}");
            }
        });
        Ok(Server { address, task })
    }

    /// Where it is: the port that was given, or the one that the system chose.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn pages(report: Arc<dyn Report>) -> Router {
    Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(report)
}

async fn healthz(State(report): Reported) -> Response {
    verdict(report.alive())
}

async fn readyz(State(report): Reported) -> Response {
    verdict(report.ready())
}

fn verdict(holds: Result<(), String>) -> Response {
    match holds {
        Ok(()) => "ok\n".into_response(),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")).into_response(),
    }
}

async fn metrics(State(report): Reported) -> Response {
    match report.metrics() {
        Ok(page) => ([(header::CONTENT_TYPE, OPEN_METRICS)], page).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}
