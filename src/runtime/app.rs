//! An app: workflows and bound topics under one name.

use super::process::{Parts, Process};
use super::stream::Stream;
use crate::config::Config;
use crate::ingress::Binding;
use crate::workflow::registry::Registry;
use crate::workflow::{Ctx, Error, Result, Topic, Workflow};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// A program of durable workflows. Its name is the consumer group and the prefix of its topics: never change it.
///
/// ```no_run
/// use sakia::{App, Ctx, Result, Workflow};
/// const GREET: Workflow<String, String> = Workflow::new("greet");
/// async fn greet(ctx: Ctx<()>, name: String) -> Result<String> {
///     ctx.run("translate", async || Ok(format!("hello {name}"))).await
/// }
/// #[tokio::main]
/// async fn main() -> std::process::ExitCode {
///     let mut app = App::new("greeter", ());
///     app.workflow(GREET, greet);
///     app.main().await
/// }
/// ```
pub struct App<S = ()> {
    name: Arc<str>,
    deps: Arc<S>,
    registry: Registry,
    bindings: Vec<Arc<Binding>>,
}

impl<S> fmt::Debug for App<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "App({})", self.name)
    }
}

impl<S: Send + Sync + 'static> App<S> {
    /// An app with what its workflows need: clients, settings. They get it by [`Ctx::app`].
    pub fn new(name: &str, deps: S) -> Self {
        App { name: name.into(), deps: Arc::new(deps), registry: Registry::default(), bindings: Vec::new() }
    }

    /// Adds a workflow.
    ///
    /// # Panics
    /// If there is one of that name already.
    pub fn workflow<I, O, F, Fut>(&mut self, workflow: Workflow<I, O>, function: F) -> &mut Self
    where
        I: DeserializeOwned + 'static,
        O: Serialize + 'static,
        F: Fn(Ctx<S>, I) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<O>> + 'static,
    {
        self.registry.add(&self.deps, workflow, function);
        self
    }

    /// The command line of a program that consists of this app: `serve` (without arguments), and `start`, `signal`,
    /// `result`, `list`, `show` and the others for its own workflows. Reads the process's arguments.
    pub async fn main(self) -> std::process::ExitCode {
        crate::cli::main_of(self).await
    }

    /// Runs the app until the process is told to end (SIGTERM, SIGINT), then ends cleanly.
    ///
    /// # Errors
    /// If something that it needs is missing or wrong; the text names the thing and the remedy.
    pub async fn serve(self, config: Config) -> Result<()> {
        let problem = |e: Box<dyn std::error::Error + Send + Sync>| Error::msg(e);
        let tokio = tokio::runtime::Handle::current();
        let parts = Parts { app: self.name, registry: Arc::new(self.registry), bindings: self.bindings };
        let starting = tokio::task::spawn_blocking(move || Process::start(parts, &config, tokio));
        let process = starting.await.map_err(Error::msg)?.map_err(problem)?;
        let ended = wait_for_end(&process).await;
        // Blocking librdkafka calls, and consumers that are dropped, have no business on a worker of tokio's.
        tokio::task::spawn_blocking(move || process.stop()).await.map_err(Error::msg)?;
        ended
    }
}

impl<S> App<S> {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Names of its workflows.
    pub fn workflows(&self) -> Vec<&'static str> {
        self.registry.names().collect()
    }

    /// Binds the records of a topic of yours. Each becomes a start or a signal exactly once; one that cannot, or whose payload
    /// is over `payload_limit_bytes`, goes to the dead-letter topic.
    ///
    /// How far the topic was moved is the position of the app's consumer group. Kafka forgets that when no process of the
    /// app has run for `offsets.retention.minutes` (seven days by default): then the topic is moved again from its
    /// beginning. Starts of ids that there are already change nothing; signals come again.
    ///
    /// ```
    /// # use sakia::{App, Topic, Workflow};
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Order { id: String }
    /// const ORDERS: Topic<String, Order> = Topic::new("orders");
    /// const PAYMENT: Workflow<Order, ()> = Workflow::new("payment");
    /// let mut app = App::new("payments", ());
    /// app.stream(ORDERS).start(PAYMENT, |_key, order| (order.id.clone(), order));
    /// ```
    pub fn stream<K, V>(&mut self, topic: Topic<K, V>) -> Stream<'_, S, K, V>
    where
        K: crate::workflow::RecordKey + 'static,
        V: DeserializeOwned + 'static,
    {
        Stream::new(self, topic)
    }

    pub(super) fn bind(&mut self, binding: Binding) {
        self.bindings.push(Arc::new(binding));
    }
}

async fn wait_for_end(process: &Process) -> Result<()> {
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    loop {
        tokio::select! {
            _ = terminate.recv() => return Ok(()),
            interrupted = tokio::signal::ctrl_c() => return interrupted.map_err(Into::into),
            () = tokio::time::sleep(Duration::from_millis(200)) => {
                if let Some(why) = process.failure() {
                    return Err(Error::msg(format!("the group membership ended: {why}")));
                }
            }
        }
    }
}
