//! `cancel`.

use super::args::Instance;
use super::{Command, Failure, output};
use serde_json::json;

pub(super) async fn run(command: &Command, Instance { workflow, id }: Instance) -> Result<(), Failure> {
    command.check_workflow(&workflow)?;
    command.client().await?.cancel_raw(&workflow, &id).await?;
    if command.json {
        return output::json(&json!({ "workflow": workflow, "id": id, "noted": true }));
    }
    output::line(&format!("cancel of {workflow} {id} is noted; its code cleans up and ends"))
}
