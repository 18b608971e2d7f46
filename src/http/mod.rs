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
use tokio::sync::oneshot;

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

type Reported = State<Arc<dyn Report>>;

/// An open port. Dropping it closes the port, and connections as soon as nothing is being answered on them.
pub(crate) struct Server {
    address: SocketAddr,
    _open: oneshot::Sender<()>,
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
        let (open, closed) = oneshot::channel();
        runtime.spawn(async move {
            // Nothing is ever sent: it is over when the sender is dropped.
            let closed = async move { drop(closed.await) };
            if let Err(error) = axum::serve(listener, pages).with_graceful_shutdown(closed).await {
                tracing::error!(%address, "the HTTP port is closed: {error}");
            }
        });
        Ok(Server { address, _open: open })
    }

    /// Where it is: the port that was given, or the one that the system chose.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpStream;

    struct Fine;

    impl Report for Fine {
        fn metrics(&self) -> Result<String, std::fmt::Error> {
            Ok("# EOF\n".into())
        }
        fn alive(&self) -> Result<(), String> {
            Ok(())
        }
        fn ready(&self) -> Result<(), String> {
            Ok(())
        }
    }

    #[test]
    fn a_connection_that_its_client_keeps_ends_with_the_server() {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let report: Arc<dyn Report> = Arc::new(Fine);
        let server = Server::open(([127, 0, 0, 1], 0).into(), runtime.handle(), report.clone()).unwrap();
        let mut client = TcpStream::connect(server.address()).unwrap();
        client.write_all(b"GET /readyz HTTP/1.1\r\nHost: here\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"ok\n") {
            let mut byte = [0];
            client.read_exact(&mut byte).unwrap();
            answer.extend(byte);
        }
        drop(server);
        assert_eq!(client.read(&mut [0]).unwrap(), 0, "the connection is closed");
        drop(runtime);
        assert_eq!(Arc::strong_count(&report), 1);
    }
}
