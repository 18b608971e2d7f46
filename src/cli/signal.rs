//! `signal`.

use super::args::SignalOptions;
use super::{Command, Failure, output, payload};
use serde_json::json;

pub(super) async fn run(command: &Command, options: SignalOptions) -> Result<(), Failure> {
    let (workflow, id, signal) = (&options.instance.workflow, &options.instance.id, &options.signal);
    command.check_workflow(workflow)?;
    let payload = payload::read(&options.payload, "the payload")?;
    let client = command.client().await?;
    let written = client.signal_raw(workflow, id, signal, payload).await?;
    let (partition, offset) = (written.partition, written.offset);
    if command.json {
        return output::json(&json!({
            "workflow": workflow, "id": id, "signal": signal, "partition": partition, "offset": offset
        }));
    }
    output::line(&format!(
        "signal \"{signal}\" for {workflow} {id} is durable ({app}.commands partition {partition} offset {offset}); \
         if there is no such running instance, it goes to {app}.dlq",
        app = command.app
    ))
}
