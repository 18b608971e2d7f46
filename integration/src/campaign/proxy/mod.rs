//! A TCP proxy that knows Kafka's frames. Each worker reaches each broker through a link of its own, so that one
//! worker can be cut off in one direction while the others go on, and one answer to one kind of request can be lost.

mod connection;
mod frame;
mod link;
mod rule;

pub use frame::Api;
pub use link::{Link, Traffic};
pub use rule::{Action, Direction, Rule};

use anyhow::{Context, Result};
use std::sync::Arc;
use tokio::net::{TcpListener, TcpStream};

/// Opens a link: what comes to `port` goes to `upstream`, both on this machine, for as long as the runtime lives.
pub async fn open(port: u16, upstream: u16, traffic: Arc<Traffic>) -> Result<Arc<Link>> {
    let listener = TcpListener::bind(("127.0.0.1", port))
        .await
        .with_context(|| format!("port {port}, for a proxy, is taken: choose another --port"))?;
    let link = Arc::new(Link::new(traffic));
    let theirs = link.clone();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let link = theirs.clone();
            tokio::spawn(async move {
                // A broker that is away refuses; so does the proxy, by closing at once.
                if let Ok(broker) = TcpStream::connect(("127.0.0.1", upstream)).await {
                    connection::serve(link, client, broker).await;
                }
            });
        }
    });
    Ok(link)
}
