//! One connection: requests one way, answers the other, in order, each under the link's weather and rules.

use super::frame::{self, Api, Frame};
use super::link::Link;
use super::rule::{Action, Direction, Weather};
use rand::Rng;
use std::collections::VecDeque;
use std::io::Result;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::watch;

/// How long a late request may wait for an answer that nobody hears.
const UNHEARD: Duration = Duration::from_secs(30);

/// Requests that wait for their answer, in order.
type Waiting = Arc<Mutex<VecDeque<(i32, Api)>>>;

/// Why a direction has ended.
enum End {
    /// One side has closed, or the connection is to be closed.
    Closed,
    /// It is to be reset.
    Reset,
    /// This request goes to the broker later, without the worker.
    Late(Frame, Duration),
}

/// Serves a connection to its end.
pub(super) async fn serve(link: Arc<Link>, client: TcpStream, broker: TcpStream) {
    let _ = (client.set_nodelay(true), broker.set_nodelay(true));
    let waiting = Waiting::default();
    let mut weather = link.weather();
    let generation = weather.borrow_and_update().generation;
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_broker, mut to_broker) = broker.into_split();
    let end = tokio::select! {
        end = requests(&link, &waiting, &mut from_client, &mut to_broker) => end.unwrap_or(End::Closed),
        end = answers(&link, &waiting, &mut from_broker, &mut to_client) => end.unwrap_or(End::Closed),
        () = until_reset(&mut weather, generation) => End::Reset,
    };
    // With what was not read in the buffers, the kernel answers the next byte with a reset either way; the explicit
    // one tells the peer at once.
    if let Ok(client) = from_client.reunite(to_client)
        && matches!(end, End::Reset)
    {
        let _ = client.set_zero_linger();
    }
    // The worker's side is closed by now.
    if let End::Late(request, after) = end {
        deliver_late(&request, after, &mut from_broker, &mut to_broker).await;
    }
}

async fn until_reset(weather: &mut watch::Receiver<Weather>, generation: u64) {
    // An error means that the link is gone: then nothing passes either.
    let _ = weather.wait_for(|w| w.generation != generation).await;
}

async fn requests(
    link: &Link,
    waiting: &Waiting,
    from: &mut OwnedReadHalf,
    to: &mut OwnedWriteHalf,
) -> Result<End> {
    let mut weather = link.weather();
    while let Some(request) = frame::read(from).await? {
        let api = request.api();
        if let Some(Action::Late(after)) = link.strike(api, true) {
            return Ok(End::Late(request, after));
        }
        if !passes(&mut weather, Direction::ToBroker).await {
            continue;
        }
        link.passed(api, request.commits());
        if let Some(correlation) = request.correlation() {
            waiting.lock().unwrap_or_else(PoisonError::into_inner).push_back((correlation, api));
        }
        to.write_all(&request.bytes).await?;
    }
    Ok(End::Closed)
}

async fn answers(
    link: &Link,
    waiting: &Waiting,
    from: &mut OwnedReadHalf,
    to: &mut OwnedWriteHalf,
) -> Result<End> {
    let mut weather = link.weather();
    while let Some(answer) = frame::read(from).await? {
        let api = answered(waiting, &answer);
        match link.strike(api, false) {
            Some(Action::Lose) => return Ok(End::Reset),
            Some(Action::Hold(length)) => tokio::time::sleep(length).await,
            Some(Action::Late(_)) | None => {}
        }
        if !passes(&mut weather, Direction::ToWorker).await {
            continue;
        }
        link.passed(Api::Other, false);
        to.write_all(&answer.bytes).await?;
    }
    Ok(End::Closed)
}

/// Answers come in the order of their requests; one without an answer (acks=0) is passed over.
fn answered(waiting: &Waiting, answer: &Frame) -> Api {
    let mut waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
    while let Some((correlation, api)) = waiting.pop_front() {
        if Some(correlation) == answer.answers() {
            return api;
        }
    }
    Api::Other
}

/// Waits as long as the weather wants; whether the frame passes at all.
async fn passes(weather: &mut watch::Receiver<Weather>, direction: Direction) -> bool {
    let now = match weather.wait_for(|w| !w.stalled).await {
        Ok(now) => *now,
        Err(_) => return false,
    };
    if !now.delay.is_zero() {
        let jitter = rand::rng().random_range(0.0..1.0);
        tokio::time::sleep(now.delay.mul_f64(1.0 + jitter)).await;
    }
    now.swallowed != Some(direction)
}

/// The worker is gone; the broker gets the request all the same.
async fn deliver_late(request: &Frame, after: Duration, from: &mut OwnedReadHalf, to: &mut OwnedWriteHalf) {
    tokio::time::sleep(after).await;
    if to.write_all(&request.bytes).await.is_ok() {
        let mut unheard = [0; 1];
        let _ = tokio::time::timeout(UNHEARD, from.read(&mut unheard)).await;
    }
}
