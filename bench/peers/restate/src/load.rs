//! Drives the service through Restate's ingress over HTTP, and prints what came of it as one line of JSON.
//!
//!     load empty|chain|fan|signal IN_FLIGHT WARM_UP_S SECONDS    closed loop: each result starts the next
//!     load timers COUNT - SECONDS                                that many, due within so many seconds
//!     load kill IN_FLIGHT - SECONDS                              ten steps; failed calls are repeated
//!     load ready                                                 waits for the first result
//!
//! Environment: INGRESS and CONTROL, host:port.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::SendRequest;
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// How long before the first timer is due: all must be started by then.
const BEFORE_FIRST: Duration = Duration::from_secs(10);
/// How long after its due time a timer, and after the end a killed server, may take.
const PATIENCE: Duration = Duration::from_secs(60);

fn variable(name: &str) -> Outcome<String> {
    std::env::var(name).map_err(|_| format!("{name} is not set").into())
}

fn now_us() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros() as u64
}

/// One connection that is kept open.
struct Connection {
    address: String,
    sender: Option<SendRequest<Full<Bytes>>>,
}

impl Connection {
    fn new(address: &str) -> Self {
        Connection { address: address.into(), sender: None }
    }

    async fn call(&mut self, method: Method, path: &str, body: String) -> Outcome<Bytes> {
        let mut sender = match self.sender.take() {
            Some(sender) if !sender.is_closed() => sender,
            _ => {
                let stream = tokio::net::TcpStream::connect(&self.address).await?;
                stream.set_nodelay(true)?;
                let (sender, connection) =
                    hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
                tokio::spawn(connection);
                sender
            }
        };
        sender.ready().await?;
        let mut request = Request::builder().method(method).uri(path).header("host", &self.address);
        if !body.is_empty() {
            request = request.header("content-type", "application/json");
        }
        let response = sender.send_request(request.body(Full::new(Bytes::from(body)))?).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        self.sender = Some(sender);
        if status.is_success() { Ok(body) } else { Err(format!("{path}: {status}").into()) }
    }

    async fn post(&mut self, path: &str, body: String) -> Outcome<Bytes> {
        self.call(Method::POST, path, body).await
    }

    async fn get(&mut self, path: &str) -> Outcome<Bytes> {
        self.call(Method::GET, path, String::new()).await
    }
}

/// What one of the many in flight uses.
struct Caller {
    ingress: Connection,
    second: Connection,
    control: Connection,
    name: String,
    calls: u64,
}

impl Caller {
    fn new(number: usize) -> Outcome<Self> {
        let (ingress, control) = (variable("INGRESS")?, variable("CONTROL")?);
        Ok(Caller {
            ingress: Connection::new(&ingress),
            second: Connection::new(&ingress),
            control: Connection::new(&control),
            name: format!("{}-{number}", now_us()),
            calls: 0,
        })
    }

    async fn run(&mut self, work: &str) -> Outcome<()> {
        self.calls += 1;
        match work {
            "empty" => drop(self.ingress.post("/Empty/run", "0".into()).await?),
            "chain" | "kill" => drop(self.ingress.post("/Chain/run", "0".into()).await?),
            "fan" => drop(self.ingress.post("/Fan/run", "0".into()).await?),
            "signal" => {
                let key = format!("{}-{}", self.name, self.calls);
                let signal = async {
                    let id = self.control.get(&format!("/awakeable/{key}")).await?;
                    let path = format!("/restate/awakeables/{}/resolve", std::str::from_utf8(&id)?);
                    self.second.post(&path, "7".into()).await
                };
                tokio::try_join!(self.ingress.post("/Signal/run", format!("\"{key}\"")), signal)?;
            }
            other => return Err(format!("unknown workload {other}").into()),
        }
        Ok(())
    }
}

fn quantile(sorted: &[u64], share: f64) -> f64 {
    sorted
        .get((sorted.len().saturating_sub(1) as f64 * share) as usize)
        .map_or(f64::NAN, |us| *us as f64 / 1e3)
}

async fn closed(work: &str, in_flight: usize, warm_up: Duration, length: Duration) -> Outcome<Value> {
    let begin = Instant::now() + warm_up;
    let end = begin + length;
    let mut callers = Vec::new();
    for number in 0..in_flight {
        let (mut caller, work) = (Caller::new(number)?, work.to_owned());
        callers.push(tokio::spawn(async move {
            let (mut took, mut all) = (Vec::new(), 0_u64);
            while Instant::now() < end {
                let began = Instant::now();
                caller.run(&work).await?;
                all += 1;
                let now = Instant::now();
                if now >= begin && now < end {
                    took.push((now - began).as_micros() as u64);
                }
            }
            Outcome::Ok((took, all))
        }));
    }
    let (mut took, mut completed) = (Vec::new(), 0);
    for caller in callers {
        let (one, all) = caller.await??;
        took.extend(one);
        completed += all;
    }
    took.sort_unstable();
    Ok(json!({
        "per_second": took.len() as f64 / length.as_secs_f64(),
        "p50_ms": quantile(&took, 0.5), "p99_ms": quantile(&took, 0.99), "completed": completed,
    }))
}

async fn timers(count: u64, length: Duration) -> Outcome<Value> {
    let mut control = Connection::new(&variable("CONTROL")?);
    control.get("/reset").await?;
    let (next, first_us) = (Arc::new(AtomicU64::new(0)), now_us() + BEFORE_FIRST.as_micros() as u64);
    let mut senders = Vec::new();
    for _ in 0..64 {
        let (mut ingress, next) = (Connection::new(&variable("INGRESS")?), next.clone());
        senders.push(tokio::spawn(async move {
            loop {
                let number = next.fetch_add(1, Relaxed);
                if number >= count {
                    return Outcome::Ok(());
                }
                let due_us = first_us + length.as_micros() as u64 * number / count;
                ingress.post("/Timer/run/send", due_us.to_string()).await?;
            }
        }));
    }
    for sender in senders {
        sender.await??;
    }
    let started_us = now_us();
    let limit = Instant::now() + BEFORE_FIRST + length + PATIENCE;
    let lateness = loop {
        let all: Vec<i64> = serde_json::from_slice(&control.get("/lateness").await?)?;
        if all.len() as u64 >= count || Instant::now() > limit {
            break all;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    };
    let early = lateness.iter().filter(|late| **late < 0).count();
    let mut late: Vec<u64> = lateness.iter().map(|late| (*late).max(0) as u64).collect();
    late.sort_unstable();
    Ok(json!({
        "completed": late.len(), "lost": count - late.len() as u64, "early": early,
        "all_started_before_first_due": started_us < first_us,
        "p50_ms": quantile(&late, 0.5), "p99_ms": quantile(&late, 0.99), "max_ms": quantile(&late, 1.0),
    }))
}

async fn kill(in_flight: usize, length: Duration) -> Outcome<Value> {
    let (began, end) = (Instant::now(), Instant::now() + length);
    let mut callers = Vec::new();
    for number in 0..in_flight {
        let mut caller = Caller::new(number)?;
        callers.push(tokio::spawn(async move {
            let mut done = Vec::new();
            while Instant::now() < end {
                match tokio::time::timeout(PATIENCE, caller.run("kill")).await {
                    Ok(Ok(())) => done.push(Instant::now() - began),
                    // The server is away: that is what is measured.
                    _ => tokio::time::sleep(Duration::from_millis(5)).await,
                }
            }
            Outcome::Ok(done)
        }));
    }
    let mut done = Vec::new();
    for caller in callers {
        done.extend(caller.await??);
    }
    done.sort_unstable();
    let gap = done.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(length);
    Ok(json!({ "completed": done.len(), "longest_gap_ms": gap.as_secs_f64() * 1e3 }))
}

async fn ready() -> Outcome<Value> {
    let mut ingress = Connection::new(&variable("INGRESS")?);
    loop {
        let call = ingress.post("/Empty/run", "0".into());
        if let Ok(Ok(_)) = tokio::time::timeout(Duration::from_secs(2), call).await {
            return Ok(json!({}));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number =
        |at: usize| arguments.get(at).ok_or("too few arguments")?.parse::<f64>().map_err(|e| e.to_string());
    let seconds = |at: usize| number(at).map(Duration::from_secs_f64);
    let line = match arguments.first().map(String::as_str) {
        Some("ready") => ready().await?,
        Some("timers") => timers(number(1)? as u64, seconds(3)?).await?,
        Some("kill") => kill(number(1)? as usize, seconds(3)?).await?,
        Some(work) => closed(work, number(1)? as usize, seconds(2)?, seconds(3)?).await?,
        None => return Err("which workload?".into()),
    };
    println!("{line}");
    Ok(())
}
