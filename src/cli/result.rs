//! `result`.

use super::args::ResultOptions;
use super::{Command, Exit, Failure, output};
use crate::client::Client;
use std::time::Duration;

pub(super) async fn run(command: &Command, options: ResultOptions) -> Result<(), Failure> {
    let (workflow, id) = (&options.instance.workflow, &options.instance.id);
    command.check_workflow(workflow)?;
    let client = command.client().await?;
    let Some(seconds) = options.timeout else { return print(&client, workflow, id).await };
    match tokio::time::timeout(Duration::from_secs(seconds), print(&client, workflow, id)).await {
        Ok(printed) => printed,
        Err(_) => Err(Failure::new(
            Exit::Timeout,
            format!(
                "{workflow} {id} has no result within {seconds} s; `show {workflow} {id}` tells what it waits for"
            ),
        )),
    }
}

/// Results are JSON already, so `--json` changes nothing.
async fn print(client: &Client, workflow: &str, id: &str) -> Result<(), Failure> {
    let result = client.result_raw(workflow, id).await?;
    output::line(&output::pretty(&result))
}
