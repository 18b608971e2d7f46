//! `topics init`.

use super::args::TopicsInitOptions;
use super::{Command, Exit, Failure, output, topics_check};
use crate::config::topics;
use crate::log::LogError;
use crate::log::kafka::Admin;
use serde_json::json;

pub(super) async fn run(command: &Command, options: TopicsInitOptions) -> Result<(), Failure> {
    let (app, config) = (command.app.clone(), command.config.clone());
    let made = blocking(move || {
        config.reach()?;
        let admin = Admin::new(&config.kafka_config(&app))?;
        let mut made = topics::init(&admin, &app, config.partitions, config.copies())?;
        for topic in options.with {
            let new = admin.create_topic(&topic, config.partitions, config.copies(), &[])?;
            made.push((topic, new));
        }
        Ok(made)
    })
    .await?;
    if command.json {
        let all: Vec<_> = made.iter().map(|(topic, new)| json!({ "topic": topic, "created": new })).collect();
        output::json(&all)?;
    } else {
        for (topic, new) in &made {
            output::line(&format!("{topic}  {}", if *new { "created" } else { "was there" }))?;
        }
    }
    // What was there before may not fit.
    topics_check::layout(command).await.map(drop)
}

/// Runs what blocks on a thread of its own.
pub(super) async fn blocking<T, F>(work: F) -> Result<T, Failure>
where
    T: Send + 'static,
    F: FnOnce() -> Result<T, Failure> + Send + 'static,
{
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|e| LogError::Unavailable(format!("the command did not end: {e}")))
        .map_err(|e| Failure::new(Exit::Failed, e))?
}
