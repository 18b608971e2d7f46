//! What a bound topic's records become.

use crate::codec::command::{self, CommandRecord};
use crate::core::error::RejectCode;
use crate::core::ids::InstanceKey;
use crate::core::input::{Command, CommandAsk};
use crate::workflow::payload::{decode, encode};
use crate::workflow::{RecordKey, Signal, Topic, Workflow};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// The command that a record becomes, or why it goes to the dead-letter topic.
pub(super) type Bound = Result<(String, CommandRecord), (RejectCode, String)>;

type Transform = Box<dyn Fn(&[u8], &[u8]) -> Bound + Send + Sync>;

/// One topic and what its records become.
pub(crate) struct Binding {
    /// The user's topic.
    pub(crate) topic: &'static str,
    transform: Transform,
}

impl Binding {
    /// Each record starts a workflow; `to` gives id and input.
    pub(crate) fn start<K, V, I, O, F>(topic: Topic<K, V>, workflow: Workflow<I, O>, to: F) -> Self
    where
        K: RecordKey + 'static,
        V: DeserializeOwned + 'static,
        I: Serialize + 'static,
        F: Fn(&K, V) -> (String, I) + Send + Sync + 'static,
    {
        Self::of(topic, workflow.name(), to, |payload| CommandAsk::Start { input: payload, waiter: None })
    }

    /// Each record is a signal; `to` gives the instance's id and the payload.
    pub(crate) fn signal<K, V, I, O, T, F>(
        topic: Topic<K, V>,
        workflow: Workflow<I, O>,
        signal: Signal<T>,
        to: F,
    ) -> Self
    where
        K: RecordKey + 'static,
        V: DeserializeOwned + 'static,
        T: Serialize + 'static,
        F: Fn(&K, V) -> (String, T) + Send + Sync + 'static,
    {
        let name = signal.name();
        Self::of(topic, workflow.name(), to, move |payload| CommandAsk::Signal { name: name.into(), payload })
    }

    fn of<K, V, P, F, A>(topic: Topic<K, V>, workflow: &'static str, to: F, ask: A) -> Self
    where
        K: RecordKey + 'static,
        V: DeserializeOwned + 'static,
        P: Serialize + 'static,
        F: Fn(&K, V) -> (String, P) + Send + Sync + 'static,
        A: Fn(bytes::Bytes) -> CommandAsk + Send + Sync + 'static,
    {
        let transform = move |key: &[u8], value: &[u8]| {
            let bad = |what: &str, why: String| (RejectCode::Undecodable, format!("the {what}: {why}"));
            let key = K::from_key(key).map_err(|e| bad("key cannot be read", e))?;
            let value = decode::<V>(value).map_err(|e| bad("value cannot be read", e))?;
            let (id, payload) = to(&key, value);
            let payload = encode(&payload).map_err(|e| bad("payload cannot be written", e))?;
            if id.is_empty() || id.len() > crate::codec::key::NAME_MAX_BYTES {
                return Err((RejectCode::NoKey, format!("the binding gave an id of {} bytes", id.len())));
            }
            let command = Command { to: InstanceKey::new(workflow, id.as_str()), ask: ask(payload) };
            Ok((id, command::encode(&command)))
        };
        // All of it is code of the user's: types that read and write themselves, and the function of the binding.
        let guarded: Transform = Box::new(move |key, value| {
            catch_unwind(AssertUnwindSafe(|| transform(key, value))).unwrap_or_else(|_| {
                let text = "reading or binding it panicked; the panic is logged above".to_string();
                Err((RejectCode::Undecodable, text))
            })
        });
        Binding { topic: topic.name(), transform: guarded }
    }

    /// What a record becomes.
    pub(crate) fn apply(&self, key: Option<&[u8]>, value: Option<&[u8]>) -> Bound {
        (self.transform)(key.unwrap_or_default(), value.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORDERS: Topic<String, u32> = Topic::new("orders");
    const PAY: Workflow<u32, ()> = Workflow::new("pay");

    #[test]
    fn a_record_becomes_the_start_of_its_instance() {
        let binding = Binding::start(ORDERS, PAY, |key, n| (format!("{key}-{n}"), n + 1));
        let (id, record) = binding.apply(Some(b"o"), Some(b"7")).unwrap();
        assert_eq!(id, "o-7");
        assert_eq!(record.value.as_deref(), Some(&b"8"[..]));
    }

    #[test]
    fn a_record_that_cannot_be_read_or_bound_is_refused_with_the_reason() {
        let binding = Binding::start(ORDERS, PAY, |_, n| {
            assert!(n > 0, "no orders of nothing");
            (String::new(), n)
        });
        let (code, text) = binding.apply(None, Some(b"\xff")).unwrap_err();
        assert_eq!(code, RejectCode::Undecodable, "{text}");
        let (_, text) = binding.apply(None, Some(b"0")).unwrap_err();
        assert!(text.contains("panicked"), "{text}");
        let (code, _) = binding.apply(None, Some(b"1")).unwrap_err();
        assert_eq!(code, RejectCode::NoKey);
    }
}
