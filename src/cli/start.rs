//! `start`.

use super::args::StartOptions;
use super::{Command, Failure, output, payload};
use serde_json::json;

pub(super) async fn run(command: &Command, options: StartOptions) -> Result<(), Failure> {
    let (workflow, id) = (&options.instance.workflow, &options.instance.id);
    command.check_workflow(workflow)?;
    let input = payload::read(&options.input, "the input")?;
    let client = command.client().await?;
    if options.wait {
        let result = client.run_raw(workflow, id, input).await?;
        return output::line(&output::pretty(&result));
    }
    let written = client.start_raw(workflow, id, input).await?;
    let (partition, offset) = (written.partition, written.offset);
    if command.json {
        return output::json(&json!({
            "workflow": workflow, "id": id, "partition": partition, "offset": offset
        }));
    }
    output::line(&format!(
        "start of {workflow} {id} is durable ({}.commands partition {partition} offset {offset})",
        command.app
    ))
}
