//! The listener and its connections: one thread each, requests of a connection one after another.
use crate::api::{Api, Call, RequestError};
use crate::error::BrokerError;
use crate::node::{HOST, Node};
use crate::patience;
use bytes::{Buf, Bytes, BytesMut};
use kafka_protocol::messages::{ApiKey, ResponseHeader};
use kafka_protocol::protocol::{Encodable, decode_request_header_from_buffer};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

/// Kafka's `socket.request.max.bytes`.
const MAX_REQUEST_BYTES: usize = 100 << 20;
/// Takes the port. The standard library sets SO_REUSEADDR, so connections of a broker that was killed a
/// moment ago do not stand in the way; its listener may, until the system has cleared the process away.
pub(crate) fn listen(port: u16) -> Result<TcpListener, BrokerError> {
    let bind = || {
        TcpListener::bind((HOST, port)).map_err(|source| match source.kind() {
            ErrorKind::AddrInUse => BrokerError::PortInUse { port },
            _ => BrokerError::Listen { port, source },
        })
    };
    patience::outlast(bind, |error| matches!(error, BrokerError::PortInUse { .. }))
}

#[derive(Default)]
struct Connections {
    open: HashMap<u64, TcpStream>,
    threads: Vec<JoinHandle<()>>,
    next: u64,
}

/// Accepts connections until it is stopped.
pub(crate) struct Server {
    node: Arc<Node>,
    connections: Arc<Mutex<Connections>>,
    acceptor: Option<JoinHandle<()>>,
}

impl Server {
    pub(crate) fn start(node: Arc<Node>, listener: TcpListener) -> Result<Self, BrokerError> {
        let connections = Arc::new(Mutex::new(Connections::default()));
        let (shared, accepted) = (node.clone(), connections.clone());
        let acceptor = std::thread::Builder::new()
            .name("broker-accept".into())
            .spawn(move || accept(&shared, &listener, &accepted))
            .map_err(BrokerError::Thread)?;
        Ok(Self { node, connections, acceptor: Some(acceptor) })
    }

    /// Closes the listener and every connection. `Node::stop` has been called before.
    pub(crate) fn stop(&mut self) {
        let Some(acceptor) = self.acceptor.take() else { return };
        // wakes the acceptor, which then sees that the node stops
        let _ = TcpStream::connect((HOST, self.node.port));
        let _ = acceptor.join();
        let threads = {
            let mut connections = self.connections.lock();
            for stream in connections.open.values() {
                let _ = stream.shutdown(Shutdown::Both);
            }
            std::mem::take(&mut connections.threads)
        };
        for thread in threads {
            let _ = thread.join();
        }
    }
}

fn accept(node: &Arc<Node>, listener: &TcpListener, connections: &Arc<Mutex<Connections>>) {
    for stream in listener.incoming() {
        if node.is_stopping() {
            return;
        }
        let Ok(stream) = stream else {
            // out of file handles, most likely: do not spin
            std::thread::sleep(Duration::from_millis(50));
            continue;
        };
        let Ok(handle) = stream.try_clone() else { continue };
        let mut open = connections.lock();
        let id = open.next;
        open.next += 1;
        open.open.insert(id, handle);
        open.threads.retain(|thread| !thread.is_finished());
        let (node, connections) = (node.clone(), connections.clone());
        let spawned = std::thread::Builder::new().name("broker-connection".into()).spawn(move || {
            if let Err(error) = serve(&node, stream) {
                tracing::debug!(%error, "connection closed");
            }
            connections.lock().open.remove(&id);
        });
        match spawned {
            Ok(thread) => open.threads.push(thread),
            Err(error) => {
                tracing::warn!(%error, "no thread for a connection");
                open.open.remove(&id);
            }
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum ConnectionError {
    #[error(transparent)]
    Io(#[from] std::io::Error),
    #[error(transparent)]
    Request(#[from] RequestError),
    #[error("request of {0} bytes")]
    TooLarge(usize),
    #[error("request for an API that is not served: key {0}, version {1}")]
    NotServed(i16, i16),
    #[error("answer dropped on request")]
    Dropped,
    #[error("the store refuses writes after an error")]
    Poisoned,
}

fn serve(node: &Node, mut stream: TcpStream) -> Result<(), ConnectionError> {
    stream.set_nodelay(true)?;
    loop {
        let mut length = [0; 4];
        stream.read_exact(&mut length)?;
        let length = u32::from_be_bytes(length) as usize;
        if length > MAX_REQUEST_BYTES {
            return Err(ConnectionError::TooLarge(length));
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body)?;
        if let Some(answer) = answer(node, Bytes::from(body))? {
            stream.write_all(&answer)?;
        }
    }
}

/// The bytes to send back, length first; none for a produce with acks=0.
fn answer(node: &Node, mut request: Bytes) -> Result<Option<BytesMut>, ConnectionError> {
    let short = || RequestError::Decode("shorter than a header".into());
    let mut head = request.get(..4).ok_or_else(short)?;
    let (raw_key, version) = (head.get_i16(), head.get_i16());
    let not_served = || ConnectionError::NotServed(raw_key, version);
    let key = ApiKey::try_from(raw_key).map_err(|()| not_served())?;
    let (api, version_served) = Api::of(key, version).ok_or_else(not_served)?;
    if !version_served && api != Api::ApiVersions {
        return Err(not_served());
    }
    if node.store.is_poisoned() {
        return Err(ConnectionError::Poisoned);
    }
    let header =
        decode_request_header_from_buffer(&mut request).map_err(|e| RequestError::Decode(e.to_string()))?;
    let mut out = BytesMut::zeroed(4);
    ResponseHeader::default()
        .with_correlation_id(header.correlation_id)
        .encode(&mut out, key.response_header_version(version))
        .map_err(|e| RequestError::Encode(e.to_string()))?;
    let client_id = header.client_id.as_deref().unwrap_or_default();
    tracing::trace!(?api, version, client_id, "request");
    let call = Call { node, version, client_id, refusal: node.faults.admit(api) };
    let reply = if version_served {
        call.run(api, &mut request, &mut out)?
    } else {
        call.api_versions(&mut out, false)?
    };
    if !node.faults.pass_answer(api) {
        return Err(ConnectionError::Dropped);
    }
    let length = (out.len() - 4) as u32;
    out[..4].copy_from_slice(&length.to_be_bytes());
    Ok(reply.then_some(out))
}
