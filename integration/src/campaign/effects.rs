//! What steps do to the world: each tells its idempotency key and what it carries to one listener.
//!
//! A line `key body` over TCP, answered by a line before the step may end. So every step that ended was heard at least
//! once, and the ledger can compare the bodies of one key.

use anyhow::Result;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// Names the listener's address to a worker. Without it steps tell nobody.
pub const VARIABLE: &str = "WORKER_EFFECTS";

/// The side of the steps.
#[derive(Clone, Default)]
pub struct Effects {
    address: Option<String>,
}

impl Effects {
    /// As the environment says.
    pub fn from_env() -> Self {
        Effects { address: std::env::var(VARIABLE).ok() }
    }

    /// Tells that a step runs, and waits until that was heard. An error is one that a retry may mend.
    pub async fn tell(&self, key: &str, body: u64) -> std::io::Result<()> {
        let Some(address) = &self.address else { return Ok(()) };
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(format!("{key} {body}\n").as_bytes()).await?;
        let mut heard = String::new();
        BufReader::new(stream).read_line(&mut heard).await?;
        if heard.is_empty() { Err(std::io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }
}

/// What was heard of the steps of one instance: the hash of each idempotency key, and the body that it carried first.
#[derive(Debug, Default)]
pub(super) struct Calls(Vec<(u64, u64)>);

impl Calls {
    /// Notes one. What this key carried before, if it was heard already.
    pub(super) fn add(&mut self, key: &str, body: u64) -> Option<u64> {
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        let hash = hasher.finish();
        let first = self.0.iter().find(|(known, _)| *known == hash).map(|(_, first)| *first);
        if first.is_none() {
            self.0.push((hash, body));
        }
        first
    }

    /// Whether so many steps told, and each of these bodies was carried.
    pub(super) fn are(&self, bodies: &[u64]) -> bool {
        self.0.len() == bodies.len() && bodies.iter().all(|b| self.0.iter().any(|(_, body)| body == b))
    }

    /// How many steps told.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

/// Listens on a free port for as long as the runtime lives, and gives every call to `hear`.
pub async fn listen(hear: impl Fn(&str, u64) + Send + Sync + 'static) -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?.to_string();
    let hear = Arc::new(hear);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let hear = hear.clone();
            tokio::spawn(async move {
                let mut stream = BufReader::new(stream);
                let mut line = String::new();
                if stream.read_line(&mut line).await.is_ok()
                    && let Some((key, body)) = line.trim_end().rsplit_once(' ')
                    && let Ok(body) = body.parse()
                {
                    hear(key, body);
                    // A worker that was killed meanwhile does not hear that it was heard.
                    let _ = stream.write_all(b"heard\n").await;
                }
            });
        }
    });
    Ok(address)
}
