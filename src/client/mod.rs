//! Start, signal and ask from outside.
//!
//! A client produces to the app's commands topic and reads one partition of its replies topic. It needs no process of
//! the app for what only has to be recorded (start, signal); answers come from the process that owns the lane.

mod error;
mod handle;
mod inbox;
mod listener;
mod request;

pub use crate::codec::reply::{Description, Line, Page, Summary};
pub use error::ClientError;
pub use handle::Handle;

use crate::codec::command::CommandRecord;
use crate::codec::reply::Answer;
use crate::codec::{command, key::NAME_MAX_BYTES};
use crate::config::Config;
use crate::core::action::Reply;
use crate::core::ids::InstanceKey;
use crate::core::input::{Command, CommandAsk, Waiter};
use crate::log::kafka::{IdempotentProducer, KafkaLog, partition_for};
use crate::log::{LogError, NewRecord};
use crate::workflow::{Error, Result, Workflow, payload};
use bytes::Bytes;
use inbox::{Inbox, Waiting};
use listener::Listener;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Where a command was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// Partition of the commands topic.
    pub partition: i32,
    /// Its offset there.
    pub offset: i64,
}

/// Talks to an app. Cheap to clone; all clones share their connections to Kafka and one thread.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
}

struct Shared {
    app: String,
    commands: Arc<str>,
    partitions: i32,
    producer: IdempotentProducer,
    inbox: Arc<Inbox>,
    /// Ends the thread when the last client goes.
    listener: Listener,
    answer_timeout: Duration,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Client({})", self.shared.app)
    }
}

impl Client {
    /// Connects to an app, by its name.
    ///
    /// # Errors
    /// If Kafka cannot be reached or the app has no topics; the text says what to do.
    ///
    /// ```no_run
    /// # use sakia::{Result, Workflow, client::Client, config::Config};
    /// # async fn doc() -> Result<()> {
    /// const GREET: Workflow<String, String> = Workflow::new("greet");
    /// let client = Client::connect("greeter", &Config::from_env()?).await?;
    /// let greeting = client.start(GREET, "g-1", "Ada".to_string()).await?.result().await?;
    /// # Ok(()) }
    /// ```
    pub async fn connect(app: &str, config: &Config) -> Result<Self, ClientError> {
        config.check()?;
        let (app, config) = (app.to_string(), config.clone());
        let opening = tokio::task::spawn_blocking(move || Self::open(app, &config));
        opening.await.map_err(|e| ClientError::Unavailable(format!("the client did not start: {e}")))?
    }

    fn open(app: String, config: &Config) -> Result<Self, ClientError> {
        config.reach()?;
        let kafka = config.kafka_config(&app);
        let log = KafkaLog::new(kafka.clone())?;
        let (commands, replies) = (format!("{app}.commands"), format!("{app}.replies"));
        let count = |topic: &str| match log.admin().partitions(topic)? {
            Some(partitions) => Ok(partitions),
            None => Err(ClientError::NoTopic { app: app.clone(), topic: topic.to_string() }),
        };
        let partitions = count(&commands)?;
        let reply_partitions = count(&replies)?;
        let inbox = Arc::new(Inbox::default());
        let listener = Listener::start(log, &replies, reply_partitions, inbox.clone())?;
        let producer = IdempotentProducer::new(&kafka)?;
        let answer_timeout = Duration::from_millis(config.answer_timeout_ms);
        let commands = commands.into();
        Ok(Client {
            shared: Arc::new(Shared { app, commands, partitions, producer, inbox, listener, answer_timeout }),
        })
    }

    /// The app's name.
    pub fn app(&self) -> &str {
        &self.shared.app
    }

    /// Starts an instance, or finds the one of that id: an id names one instance, however often its start is sent.
    /// Returns when the start is durable; it then runs as soon as a process of the app is there.
    ///
    /// # Errors
    /// If the start could not be written.
    pub async fn start<I: Serialize, O: DeserializeOwned>(
        &self,
        workflow: Workflow<I, O>,
        id: impl Into<String>,
        input: I,
    ) -> Result<Handle<O>> {
        let key = InstanceKey::new(workflow.name(), id.into());
        let input = payload::encode(&input).map_err(|e| Error::msg(format!("start of {key}: {e}")))?;
        let (_, waiting) = self.start_waiting(&key, input).await?;
        Ok(Handle::new(self.clone(), key, Some(waiting)))
    }

    /// An instance that may have been started elsewhere.
    pub fn workflow<I, O: DeserializeOwned>(
        &self,
        workflow: Workflow<I, O>,
        id: impl Into<String>,
    ) -> Handle<O> {
        Handle::new(self.clone(), InstanceKey::new(workflow.name(), id.into()), None)
    }

    /// [`start`](Self::start) with a payload as it is, usually JSON.
    ///
    /// # Errors
    /// If the start could not be written.
    pub async fn start_raw(&self, workflow: &str, id: &str, input: Bytes) -> Result<Written, ClientError> {
        self.command(&InstanceKey::new(workflow, id), CommandAsk::Start { input, waiter: None }).await
    }

    /// [`start_raw`](Self::start_raw), and waits for the result as [`result_raw`](Self::result_raw) does.
    ///
    /// # Errors
    /// As those of both; also if the app refused the start.
    pub async fn run_raw(&self, workflow: &str, id: &str, input: Bytes) -> Result<Bytes, ClientError> {
        let key = InstanceKey::new(workflow, id);
        let (_, waiting) = self.start_waiting(&key, input).await?;
        self.await_result(&key, Some(waiting)).await
    }

    /// Sends a signal with a payload as it is.
    ///
    /// # Errors
    /// If it could not be written. A signal for an instance that was never started goes to the dead letters.
    pub async fn signal_raw(
        &self,
        workflow: &str,
        id: &str,
        signal: &str,
        payload: Bytes,
    ) -> Result<Written, ClientError> {
        check_name("a signal", signal)?;
        self.command(&InstanceKey::new(workflow, id), CommandAsk::Signal { name: signal.into(), payload })
            .await
    }

    /// The result of an instance as it is, usually JSON. Waits as long as it takes.
    ///
    /// # Errors
    /// [`ClientError::Failed`] if the workflow failed, [`ClientError::Unknown`] if there is no such instance.
    pub async fn result_raw(&self, workflow: &str, id: &str) -> Result<Bytes, ClientError> {
        self.await_result(&InstanceKey::new(workflow, id), None).await
    }

    /// Cancels an instance: its code sees `Err(Cancelled)` where it waits. No error if it has ended.
    ///
    /// # Errors
    /// [`ClientError::Unknown`] if there is no such instance.
    pub async fn cancel_raw(&self, workflow: &str, id: &str) -> Result<(), ClientError> {
        self.noted(workflow, id, |to| CommandAsk::Cancel { by: None, reply: Some(to) }).await
    }

    /// Takes a parked instance up again. No error if it is not parked.
    ///
    /// # Errors
    /// [`ClientError::Unknown`] if there is no such instance.
    pub async fn retry_raw(&self, workflow: &str, id: &str) -> Result<(), ClientError> {
        self.noted(workflow, id, |to| CommandAsk::Retry { reply: Some(to) }).await
    }

    /// What an instance did and what it waits for.
    ///
    /// # Errors
    /// [`ClientError::Unknown`] if there is no such instance, [`ClientError::NoAnswer`] if the app is not running.
    pub async fn show(&self, workflow: &str, id: &str) -> Result<Description, ClientError> {
        let key = InstanceKey::new(workflow, id);
        check_key(&key)?;
        let (waiting, to) = self.expect_answer()?;
        let partition = self.lane_of(&key);
        self.send(partition, command::encode_show(&key, &to)).await?;
        match self.answered(waiting, partition).await? {
            Answer::Description(description) => Ok(*description),
            Answer::Reply(Reply::Unknown) => Err(ClientError::Unknown(key)),
            other => Err(unexpected(&other)),
        }
    }

    /// The instances of every lane, only of this workflow and status if given.
    ///
    /// # Errors
    /// [`ClientError::NoAnswer`] naming the partitions that did not answer in time.
    pub async fn list(&self, workflow: Option<&str>, status: Option<&str>) -> Result<Vec<Page>, ClientError> {
        let mut asked = Vec::new();
        for partition in 0..self.shared.partitions {
            let (waiting, to) = self.expect_answer()?;
            self.send(partition, command::encode_list(workflow, status, &to)).await?;
            asked.push((partition, waiting));
        }
        let deadline = tokio::time::Instant::now() + self.shared.answer_timeout;
        let (mut pages, mut silent) = (Vec::new(), Vec::new());
        for (partition, mut waiting) in asked {
            match tokio::time::timeout_at(deadline, waiting.answer()).await {
                Ok(Answer::Page(page)) => pages.push(page),
                Ok(other) => return Err(unexpected(&other)),
                Err(_) => silent.push(partition),
            }
        }
        if silent.is_empty() { Ok(pages) } else { Err(self.no_answer(silent)) }
    }

    async fn start_waiting(
        &self,
        key: &InstanceKey,
        input: Bytes,
    ) -> Result<(Written, Waiting), ClientError> {
        let (waiting, to) = self.expect_answer()?;
        let ask = CommandAsk::Start { input, waiter: Some(Waiter::Client(to)) };
        Ok((self.command(key, ask).await?, waiting))
    }

    async fn command(&self, key: &InstanceKey, ask: CommandAsk) -> Result<Written, ClientError> {
        check_key(key)?;
        self.send(self.lane_of(key), command::encode(&Command { to: key.clone(), ask })).await
    }

    async fn send(&self, partition: i32, record: CommandRecord) -> Result<Written, ClientError> {
        let record = NewRecord {
            topic: self.shared.commands.clone(),
            partition: Some(partition),
            key: Some(record.key),
            value: record.value,
            headers: record.headers,
        };
        let delivery = self.shared.producer.send(&record)?;
        let gone = |_| LogError::Lost("the producer ended before the record was acknowledged".into());
        let (partition, offset) = delivery.await.map_err(gone)??;
        Ok(Written { partition, offset })
    }

    fn lane_of(&self, key: &InstanceKey) -> i32 {
        partition_for(key.id.as_bytes(), self.shared.partitions)
    }
}

fn check_key(key: &InstanceKey) -> Result<(), ClientError> {
    check_name("a workflow", &key.workflow)?;
    check_name("an id", &key.id)
}

fn check_name(what: &str, name: &str) -> Result<(), ClientError> {
    if name.is_empty() || name.len() > NAME_MAX_BYTES {
        let text = format!("{what} has 1 to {NAME_MAX_BYTES} bytes, this one {}; choose another", name.len());
        return Err(ClientError::Refused(text));
    }
    Ok(())
}

fn unexpected(answer: &Answer) -> ClientError {
    ClientError::Unavailable(format!(
        "the app answered something else than was asked ({answer:?}); upgrade this program"
    ))
}
