//! `show`.

use super::args::Instance;
use super::times::{Zone, now_ms};
use super::{Command, Failure, output, render};

pub(super) async fn run(command: &Command, Instance { workflow, id }: Instance) -> Result<(), Failure> {
    command.check_workflow(&workflow)?;
    let description = command.client().await?.show(&workflow, &id).await?;
    if command.json {
        return output::json(&description);
    }
    output::line(&render::history(&description, now_ms(), &Zone::local()))
}
