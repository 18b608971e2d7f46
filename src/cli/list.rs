//! `list`.

use super::args::ListOptions;
use super::output::brief;
use super::times::{Zone, length, now_ms};
use super::{Command, Failure, output};
use crate::codec::reply::{Page, Summary};
use serde_json::json;

const NOTE_MOST: usize = 80;

pub(super) async fn run(command: &Command, options: ListOptions) -> Result<(), Failure> {
    if let Some(workflow) = &options.workflow {
        command.check_workflow(workflow)?;
    }
    let client = command.client().await?;
    let pages = client.list(options.workflow.as_deref(), options.status.as_deref()).await?;
    let cut: Vec<i32> = pages.iter().filter(|p| p.more).map(|p| p.partition).collect();
    let all = instances(pages);
    if command.json {
        return output::json(&json!({ "instances": all, "partitions_with_more": cut }));
    }
    if all.is_empty() {
        output::line("no instances")?;
    } else {
        output::line(&table(&all, now_ms(), &Zone::local()))?;
    }
    if !cut.is_empty() {
        output::line(&format!(
            "partitions {cut:?} have more that may match: --workflow and --status leave out others, `show` finds any by its id"
        ))?;
    }
    Ok(())
}

/// The newest last, where a terminal shows them.
fn instances(pages: Vec<Page>) -> Vec<Summary> {
    let mut all: Vec<Summary> = pages.into_iter().flat_map(|p| p.instances).collect();
    all.sort_by(|a, b| (a.started_ms, &a.workflow, &a.id).cmp(&(b.started_ms, &b.workflow, &b.id)));
    all
}

fn table(all: &[Summary], now_ms: u64, zone: &Zone) -> String {
    let rows = all.iter().map(|i| {
        let until = if matches!(i.status.as_str(), "running" | "parked") { now_ms } else { i.updated_ms };
        vec![
            brief(&i.workflow, 60),
            brief(&i.id, 60),
            i.status.clone(),
            zone.date_time(i.started_ms),
            length(until.saturating_sub(i.started_ms)),
            brief(&i.note, NOTE_MOST),
        ]
    });
    let started = format!("STARTED ({})", zone.name());
    output::table(&["WORKFLOW", "ID", "STATUS", &started, "TOOK", "NOTE"], rows.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_a_table_with_the_newest_last() {
        let one = |id: &str, started_ms: u64, status: &str, note: &str| Summary {
            workflow: "payment".into(),
            id: id.into(),
            status: status.into(),
            started_ms,
            updated_ms: started_ms + 310,
            note: note.into(),
        };
        let pages = vec![
            Page {
                partition: 0,
                instances: vec![one("o-2", 61_000, "running", "waits for sleep 3d")],
                more: false,
            },
            Page { partition: 1, instances: vec![one("o-1", 1_000, "completed", "")], more: false },
        ];
        let expected = "\
WORKFLOW  ID   STATUS     STARTED (UTC)        TOOK   NOTE
payment   o-1  completed  1970-01-01 00:00:01  0.31s
payment   o-2  running    1970-01-01 00:01:01  1m     waits for sleep 3d";
        assert_eq!(table(&instances(pages), 121_000, &Zone::utc()), expected);
    }
}
