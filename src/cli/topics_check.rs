//! `topics check`.

use super::topics_init::blocking;
use super::{Command, Exit, Failure, output};
use crate::config::topics::{self, Finding, TopicLayout, TopicsError};
use crate::log::kafka::KafkaLog;
use serde_json::json;

pub(super) async fn run(command: &Command) -> Result<(), Failure> {
    let layout = layout(command).await?;
    if command.json {
        return output::json(&json!({ "partitions": layout.partitions, "findings": all(&layout.advice) }));
    }
    for advice in &layout.advice {
        output::line(&format!("advice: {advice}"))?;
    }
    output::line(&format!("the topics of {} are as they should be: {} lanes", command.app, layout.partitions))
}

/// The layout, or all findings: on stdout with `--json`, else in the failure's text.
pub(super) async fn layout(command: &Command) -> Result<TopicLayout, Failure> {
    let (app, config) = (command.app.clone(), command.config.clone());
    let checked = blocking(move || {
        config.reach()?;
        let log = KafkaLog::new(config.kafka_config(&app))?;
        Ok(topics::check(&log, &app))
    })
    .await?;
    match checked {
        Ok(layout) => Ok(layout),
        Err(TopicsError::Findings(findings)) if command.json => {
            output::json(&json!({ "findings": all(&findings) }))?;
            Err(Failure::new(Exit::Failed, format!("{} findings", findings.len())))
        }
        Err(error) => Err(error.into()),
    }
}

fn all(findings: &[Finding]) -> Vec<serde_json::Value> {
    let one =
        |f: &Finding| json!({ "code": f.code.code(), "topic": f.topic, "what": f.what, "remedy": f.remedy });
    findings.iter().map(one).collect()
}
