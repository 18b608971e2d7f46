//! The workloads as Restate handlers, and a small endpoint beside them for what only the service knows: the ids of
//! awakeables and how late timers were.
//!
//!     service SERVICE_ADDRESS CONTROL_ADDRESS
//!
//! Environment, for the workload from topic to topic only: PEER_KAFKA, host:port, and PEER_OUT, a topic.

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, Response, body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use rdkafka::config::ClientConfig;
use rdkafka::producer::{FutureProducer, FutureRecord};
use restate_sdk::prelude::*;
use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::Notify;

const STEPS: u64 = 10;
const CHILDREN: u64 = 10;

type Failed = Box<dyn std::error::Error + Send + Sync>;

/// An awakeable's id, and who waits for it.
#[derive(Default)]
struct Slot {
    id: Mutex<Option<String>>,
    told: Notify,
}

static SLOTS: LazyLock<Mutex<HashMap<String, Arc<Slot>>>> = LazyLock::new(Default::default);
/// Microseconds after the due time.
static LATENESS: Mutex<Vec<i64>> = Mutex::new(Vec::new());

fn slot(key: &str) -> Arc<Slot> {
    SLOTS.lock().unwrap().entry(key.to_owned()).or_default().clone()
}

fn now_us() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros() as u64
}

struct Empty;
#[service]
impl Empty {
    #[handler]
    async fn run(&self, _ctx: Context<'_>, n: u64) -> Result<u64, HandlerError> {
        Ok(n)
    }
}

struct Chain;
#[service]
impl Chain {
    #[handler]
    async fn run(&self, ctx: Context<'_>, _n: u64) -> Result<u64, HandlerError> {
        let mut sum = 0;
        for n in 0..STEPS {
            sum += ctx.run(move || async move { Ok(n) }).name("nothing").await?;
        }
        Ok(sum)
    }
}

struct Fan;
#[service]
impl Fan {
    #[handler]
    async fn run(&self, ctx: Context<'_>, _n: u64) -> Result<u64, HandlerError> {
        let mut calls = DurableFuturesUnordered::new();
        for n in 0..CHILDREN {
            calls.push(ctx.service_client::<EmptyClient>().run(n).call());
        }
        let mut sum = 0;
        while let Some((_, result)) = calls.next().await? {
            sum += result?;
        }
        Ok(sum)
    }
}

struct Signal;
#[service]
impl Signal {
    #[handler]
    async fn run(&self, ctx: Context<'_>, key: String) -> Result<u64, HandlerError> {
        let (id, signal) = ctx.awakeable::<u64>();
        let slot = slot(&key);
        *slot.id.lock().unwrap() = Some(id);
        slot.told.notify_one();
        Ok(signal.await?)
    }
}

struct Timer;
#[service]
impl Timer {
    /// Sleeps until a moment in microseconds since 1970.
    #[handler]
    async fn run(&self, ctx: Context<'_>, due_us: u64) -> Result<u64, HandlerError> {
        ctx.sleep(Duration::from_micros(due_us.saturating_sub(now_us()))).await?;
        LATENESS.lock().unwrap().push(now_us() as i64 - due_us as i64);
        Ok(0)
    }
}

/// Three steps between a record of one topic, which the server reads, and a record of another.
struct Pipe {
    /// `None` unless a topic was named.
    out: Option<(FutureProducer, String)>,
}

impl Pipe {
    fn from_env() -> Result<Self, Failed> {
        let (Ok(kafka), Ok(out)) = (std::env::var("PEER_KAFKA"), std::env::var("PEER_OUT")) else {
            return Ok(Pipe { out: None });
        };
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", kafka).set("broker.address.family", "v4");
        config.set("enable.idempotence", "true").set("acks", "all").set("linger.ms", "0");
        Ok(Pipe { out: Some((config.create()?, out)) })
    }
}

#[service]
impl Pipe {
    #[handler]
    async fn run(&self, ctx: Context<'_>, n: u64) -> Result<(), HandlerError> {
        for step in ["check", "enrich", "book"] {
            ctx.run(|| async { Ok(()) }).name(step).await?;
        }
        let (producer, out) = self.out.clone().ok_or_else(|| TerminalError::new("no topic"))?;
        let produce = move || async move {
            let (key, value) = (format!("k-{n}"), n.to_string());
            let record = FutureRecord::to(&out).key(&key).payload(&value);
            producer.send(record, Duration::from_secs(30)).await.map_err(|(error, _)| error)?;
            Ok(())
        };
        Ok(ctx.run(produce).name("produce").await?)
    }
}

async fn control(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path().to_owned();
    let answer = if let Some(key) = path.strip_prefix("/awakeable/") {
        let slot = slot(key);
        let id = loop {
            if let Some(id) = slot.id.lock().unwrap().take() {
                break id;
            }
            slot.told.notified().await;
        };
        SLOTS.lock().unwrap().remove(key);
        id
    } else if path == "/reset" {
        LATENESS.lock().unwrap().clear();
        "ok".into()
    } else {
        serde_json::json!(*LATENESS.lock().unwrap()).to_string()
    };
    Ok(Response::new(Full::new(Bytes::from(answer))))
}

async fn serve_control(address: String) -> Result<(), Failed> {
    let listener = tokio::net::TcpListener::bind(&address).await?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let _ = stream.set_nodelay(true);
            let http = hyper::server::conn::http1::Builder::new();
            tokio::spawn(http.serve_connection(TokioIo::new(stream), service_fn(control)));
        }
    });
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Failed> {
    let mut arguments = std::env::args().skip(1);
    let (service, at) = (arguments.next().ok_or("no address")?, arguments.next().ok_or("no address")?);
    serve_control(at).await?;
    // The SDK leaves TCP_NODELAY off, which costs up to 40 ms at the tails; accepted sockets inherit it on Linux.
    let socket = tokio::net::TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.set_nodelay(true)?;
    socket.bind(service.parse()?)?;
    let endpoint = Endpoint::builder().bind(Empty).bind(Chain).bind(Fan).bind(Signal).bind(Timer);
    let endpoint = endpoint.bind(Pipe::from_env()?).build();
    HttpServer::new(endpoint).serve(socket.listen(1024)?).await;
    Ok(())
}
