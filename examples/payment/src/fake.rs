//! A payment provider that is as difficult as a real one, but the same in every run.
//!
//! It declines cards that end in `0002`. It answers 503 to the first attempt of one authorize in seven and one capture
//! in five, chosen by the idempotency key, so it does not depend on the time or the order of requests.

use crate::contracts::{Order, Receipt};
use crate::ledger::{Entry, Operation, Outcome, Writer};
use crate::provider::{Authorization, IDEMPOTENCY_KEY, Voided};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How a declined card ends.
pub const DECLINED_CARD: &str = "0002";
/// From the moment when the money has moved to the answer: long enough that a kill falls into it.
const LATENCY: Duration = Duration::from_millis(80);

/// What was done under a key, and how often it was asked for.
#[derive(Debug, Default)]
struct Seen {
    attempts: u32,
    answer: Option<Answer>,
}

#[derive(Debug, Clone)]
enum Answer {
    Done(String),
    Declined,
}

#[derive(Debug)]
struct Books {
    seen: HashMap<String, Seen>,
    ledger: Writer,
}

/// A request, apart from what the operation needs of it.
struct Request<'a> {
    operation: Operation,
    order: &'a str,
    key: &'a str,
    declines: bool,
}

/// The provider as an HTTP service: `POST /authorize`, `/capture`, `/void`; `GET /healthz`.
pub fn router(ledger: Writer) -> Router {
    let books = Arc::new(Mutex::new(Books { seen: HashMap::new(), ledger }));
    Router::new()
        .route("/healthz", get(async || "ok"))
        .route("/authorize", post(authorize))
        .route("/capture", post(capture))
        .route("/void", post(void))
        .with_state(books)
}

type Shared = State<Arc<Mutex<Books>>>;

async fn authorize(State(books): Shared, headers: HeaderMap, Json(order): Json<Order>) -> Response {
    let declines = order.card.ends_with(DECLINED_CARD);
    answer(&books, &headers, Operation::Authorize, &order.id, declines, |id| {
        Json(Authorization { id, order: order.id.clone(), cents: order.cents }).into_response()
    })
    .await
}

async fn capture(State(books): Shared, headers: HeaderMap, Json(held): Json<Authorization>) -> Response {
    answer(&books, &headers, Operation::Capture, &held.order, false, |txn| {
        Json(Receipt { txn, cents: held.cents }).into_response()
    })
    .await
}

async fn void(State(books): Shared, headers: HeaderMap, Json(held): Json<Authorization>) -> Response {
    answer(&books, &headers, Operation::Void, &held.order, false, |id| Json(Voided { id }).into_response())
        .await
}

async fn answer(
    books: &Mutex<Books>,
    headers: &HeaderMap,
    operation: Operation,
    order: &str,
    declines: bool,
    done: impl FnOnce(String) -> Response,
) -> Response {
    let Some(key) = headers.get(IDEMPOTENCY_KEY).and_then(|value| value.to_str().ok()) else {
        return (StatusCode::BAD_REQUEST, format!("header {IDEMPOTENCY_KEY} is missing")).into_response();
    };
    let decided = books.lock().unwrap_or_else(PoisonError::into_inner).decide(&Request {
        operation,
        order,
        key,
        declines,
    });
    tokio::time::sleep(LATENCY).await;
    match decided {
        Ok(Outcome::Done { id } | Outcome::Repeated { id }) => done(id),
        Ok(Outcome::Declined) => (StatusCode::PAYMENT_REQUIRED, "insufficient funds").into_response(),
        Ok(Outcome::Unavailable) => (StatusCode::SERVICE_UNAVAILABLE, "try again").into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("the ledger: {error}")).into_response(),
    }
}

impl Books {
    fn decide(&mut self, request: &Request<'_>) -> std::io::Result<Outcome> {
        let seen = self.seen.entry(request.key.to_string()).or_default();
        seen.attempts += 1;
        let outcome = match &seen.answer {
            Some(Answer::Done(id)) => Outcome::Repeated { id: id.clone() },
            Some(Answer::Declined) => Outcome::Declined,
            None if seen.attempts == 1 && is_moody(request.operation, request.key) => Outcome::Unavailable,
            None if request.declines => Outcome::Declined,
            None => Outcome::Done { id: id_of(request.operation, request.key) },
        };
        match &outcome {
            Outcome::Done { id } => seen.answer = Some(Answer::Done(id.clone())),
            Outcome::Declined => seen.answer = Some(Answer::Declined),
            Outcome::Repeated { .. } | Outcome::Unavailable => {}
        }
        let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.ledger.append(&Entry {
            at_ms: u64::try_from(at.as_millis()).unwrap_or(u64::MAX),
            operation: request.operation,
            order: request.order.to_string(),
            key: request.key.to_string(),
            attempt: seen.attempts,
            outcome: outcome.clone(),
        })?;
        Ok(outcome)
    }
}

fn is_moody(operation: Operation, key: &str) -> bool {
    match operation {
        Operation::Authorize => hash(key).is_multiple_of(7),
        Operation::Capture => hash(key).is_multiple_of(5),
        Operation::Void => false,
    }
}

fn id_of(operation: Operation, key: &str) -> String {
    let prefix = match operation {
        Operation::Authorize => "auth",
        Operation::Capture => "txn",
        Operation::Void => "void",
    };
    format!("{prefix}-{:016x}", hash(key))
}

/// FNV-1a: the same in every process, unlike the standard library's.
fn hash(text: &str) -> u64 {
    text.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Reader;

    fn books() -> (tempfile::TempDir, Books) {
        let dir = tempfile::tempdir().unwrap();
        let ledger = Writer::append_to(&dir.path().join("ledger")).unwrap();
        (dir, Books { seen: HashMap::new(), ledger })
    }

    fn capture(books: &mut Books, key: &str) -> Outcome {
        books.decide(&Request { operation: Operation::Capture, order: "o-1", key, declines: false }).unwrap()
    }

    #[test]
    fn money_moves_once_per_key_however_often_it_is_asked() {
        let (_dir, mut books) = books();
        let answers: Vec<_> = (0..4).map(|_| capture(&mut books, "k")).collect();
        assert_eq!(answers.iter().filter(|a| matches!(a, Outcome::Done { .. })).count(), 1, "{answers:?}");
        assert!(matches!(answers[3], Outcome::Repeated { .. }));
    }

    #[test]
    fn about_one_capture_in_five_fails_at_first_and_none_twice() {
        let (_dir, mut books) = books();
        let failed =
            (0..500).filter(|n| capture(&mut books, &format!("k{n}")) == Outcome::Unavailable).count();
        assert!((70..130).contains(&failed), "{failed}");
        assert!((0..500).all(|n| capture(&mut books, &format!("k{n}")) != Outcome::Unavailable));
    }

    #[test]
    fn every_request_is_in_the_ledger() {
        let (dir, mut books) = books();
        let mut ledger = Reader::open(&dir.path().join("ledger")).unwrap();
        assert_eq!(ledger.read_new().unwrap(), []);
        for _ in 0..3 {
            capture(&mut books, "k");
        }
        let attempts: Vec<_> = ledger.read_new().unwrap().iter().map(|e| e.attempt).collect();
        assert_eq!(attempts, [1, 2, 3]);
    }
}
