//! `retry`.

use super::args::Instance;
use super::{Command, Failure, output};
use serde_json::json;

pub(super) async fn run(command: &Command, Instance { workflow, id }: Instance) -> Result<(), Failure> {
    command.check_workflow(&workflow)?;
    command.client().await?.retry_raw(&workflow, &id).await?;
    if command.json {
        return output::json(&json!({ "workflow": workflow, "id": id, "noted": true }));
    }
    output::line(&format!("{workflow} {id} is taken up again, if it was parked"))
}
