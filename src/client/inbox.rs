//! Who waits for which answer.

use super::ClientError;
use crate::codec::reply::Answer;
use bytes::Bytes;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{oneshot, watch};

/// Answers that one client may wait for at once.
const WAITING_MAX: usize = 100_000;

/// Open questions, by correlation.
pub(super) struct Inbox {
    open: Mutex<HashMap<Bytes, oneshot::Sender<Answer>>>,
    /// Counts how often answers may have been missed.
    gaps: watch::Sender<u64>,
}

impl Default for Inbox {
    fn default() -> Self {
        Inbox { open: Mutex::default(), gaps: watch::Sender::new(0) }
    }
}

impl Inbox {
    /// Opens a place for one answer.
    pub(super) fn expect(self: &Arc<Self>) -> Result<Waiting, ClientError> {
        let correlation = Bytes::from(uuid::Uuid::new_v4().to_string());
        let (sender, receiver) = oneshot::channel();
        let mut open = self.lock();
        if open.len() >= WAITING_MAX {
            return Err(ClientError::Unavailable(format!(
                "{WAITING_MAX} answers are waited for already; drop handles that are not needed, or use more clients"
            )));
        }
        open.insert(correlation.clone(), sender);
        drop(open);
        Ok(Waiting { correlation, receiver, inbox: self.clone() })
    }

    /// Hands an answer to whoever waits for it. Answers for others, and late ones, are passed over.
    pub(super) fn deliver(&self, correlation: &Bytes, answer: Answer) {
        if let Some(sender) = self.lock().remove(correlation) {
            // The one who waited may be gone by now.
            drop(sender.send(answer));
        }
    }

    pub(super) fn note_gap(&self) {
        self.gaps.send_modify(|n| *n += 1);
    }

    pub(super) fn gaps(&self) -> watch::Receiver<u64> {
        self.gaps.subscribe()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Bytes, oneshot::Sender<Answer>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place in the inbox; given back when dropped.
pub(super) struct Waiting {
    correlation: Bytes,
    receiver: oneshot::Receiver<Answer>,
    inbox: Arc<Inbox>,
}

impl Waiting {
    pub(super) fn correlation(&self) -> Bytes {
        self.correlation.clone()
    }

    /// The answer. Never ends without one: the sender is dropped only with this.
    pub(super) async fn answer(&mut self) -> Answer {
        match (&mut self.receiver).await {
            Ok(answer) => answer,
            Err(_) => std::future::pending().await,
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.inbox.lock().remove(&self.correlation);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::action::Reply;

    #[tokio::test]
    async fn an_answer_reaches_the_one_who_waits_and_nobody_else() {
        let inbox = Arc::new(Inbox::default());
        let (mut one, two) = (inbox.expect().unwrap(), inbox.expect().unwrap());
        inbox.deliver(&Bytes::from_static(b"somebody else's"), Answer::Reply(Reply::Unknown));
        inbox.deliver(&one.correlation(), Answer::Reply(Reply::Noted));
        assert_eq!(one.answer().await, Answer::Reply(Reply::Noted));
        assert_eq!(inbox.lock().len(), 1);
        drop(two);
        assert!(inbox.lock().is_empty());
    }
}
