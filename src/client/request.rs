//! Asking and waiting for the answer, asking again where one may have been missed.

use super::inbox::Waiting;
use super::{Client, ClientError, unexpected};
use crate::codec::reply::Answer;
use crate::core::action::Reply;
use crate::core::ids::InstanceKey;
use crate::core::input::{CommandAsk, ReplyTo, Waiter};
use bytes::Bytes;
use std::time::Duration;

/// A result may be waited for much longer than an answer stays in the replies topic, and a lane forgets the client
/// that waited longest when too many do. So it is asked for again, under the same correlation: a lane that still knows
/// of it changes nothing.
const ASK_AGAIN_EVERY: Duration = Duration::from_secs(30);

impl Client {
    /// A place in the inbox, and what to write so that the answer comes there.
    pub(super) fn expect_answer(&self) -> Result<(Waiting, ReplyTo), ClientError> {
        let waiting = self.shared.inbox.expect()?;
        let to = self.reply_to(&waiting);
        Ok((waiting, to))
    }

    fn reply_to(&self, waiting: &Waiting) -> ReplyTo {
        ReplyTo { partition: self.shared.listener.partition(), correlation: waiting.correlation() }
    }

    pub(super) async fn answered(&self, mut waiting: Waiting, partition: i32) -> Result<Answer, ClientError> {
        match tokio::time::timeout(self.shared.answer_timeout, waiting.answer()).await {
            Ok(answer) => Ok(answer),
            Err(_) => Err(self.no_answer(vec![partition])),
        }
    }

    pub(super) fn no_answer(&self, partitions: Vec<i32>) -> ClientError {
        ClientError::NoAnswer {
            app: self.shared.app.clone(),
            partitions,
            waited_ms: u64::try_from(self.shared.answer_timeout.as_millis()).unwrap_or(u64::MAX),
        }
    }

    pub(super) async fn noted(
        &self,
        workflow: &str,
        id: &str,
        ask: impl FnOnce(ReplyTo) -> CommandAsk,
    ) -> Result<(), ClientError> {
        let key = InstanceKey::new(workflow, id);
        let (waiting, to) = self.expect_answer()?;
        let written = self.command(&key, ask(to)).await?;
        match self.answered(waiting, written.partition).await? {
            Answer::Reply(Reply::Noted) => Ok(()),
            Answer::Reply(Reply::Unknown) => Err(ClientError::Unknown(key)),
            other => Err(unexpected(&other)),
        }
    }

    /// The result of an instance; `waiting` if a start has already asked for it.
    pub(super) async fn await_result(
        &self,
        key: &InstanceKey,
        waiting: Option<Waiting>,
    ) -> Result<Bytes, ClientError> {
        let mut gaps = self.shared.inbox.gaps();
        let mut asked = waiting.is_some();
        let mut waiting = match waiting {
            Some(waiting) => waiting,
            None => self.shared.inbox.expect()?,
        };
        let answer = loop {
            if !asked {
                let ask = CommandAsk::Await(Waiter::Client(self.reply_to(&waiting)));
                self.command(key, ask).await?;
            }
            asked = false;
            tokio::select! {
                biased;
                answer = waiting.answer() => break answer,
                // The listener lost its place: an answer may have passed by.
                Ok(()) = gaps.changed() => {}
                () = tokio::time::sleep(ASK_AGAIN_EVERY) => {}
            }
        };
        match answer {
            Answer::Reply(Reply::Ended(Ok(payload))) => Ok(payload),
            Answer::Reply(Reply::Ended(Err(failure))) => {
                Err(ClientError::Failed { key: key.clone(), failure })
            }
            Answer::Reply(Reply::Unknown) => Err(ClientError::Unknown(key.clone())),
            other => Err(unexpected(&other)),
        }
    }
}
