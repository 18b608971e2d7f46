//! What a process says of itself on its HTTP port, scraped from outside.

use crate::{PATIENCE, WORKER, after_two_jobs, cluster};
use anyhow::{Context, Result, ensure};
use sakia_integration::app::{App, Worker};
use sakia_integration::kit::{Isolation, until};
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;

const PORT: (&str, &str) = ("SAKIA_HTTP_ADDRESS", "127.0.0.1:0");
const JOBS: u64 = 20;

/// Status and body of a page.
fn get(address: &str, path: &str) -> Result<(u16, String)> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").with_context(|| format!("no head: {answer}"))?;
    let status = head.split(' ').nth(1).context("no status")?.parse()?;
    Ok((status, body.to_string()))
}

/// The address that a worker chose, as its log says it.
fn address(worker: &Worker) -> Result<String> {
    until("the port is open", PATIENCE, || {
        let log = worker.log();
        let found = log.split_once("metrics on http://").and_then(|(_, rest)| rest.split_once("/metrics"));
        Ok(found.map(|(address, _)| address.to_string()))
    })
}

/// The sum of a metric over its labels.
fn value(page: &str, name: &str) -> Result<f64> {
    let samples = page.lines().filter_map(|line| line.rsplit_once(' ')).filter(|(sample, _)| {
        sample.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('{'))
    });
    let values: Vec<f64> = samples.map(|(_, value)| value.parse()).collect::<Result<_, _>>()?;
    ensure!(!values.is_empty(), "no {name} in {page}");
    Ok(values.into_iter().sum())
}

/// Names of the metrics in a text: what begins with our prefix, without labels.
fn names(text: &str, begin: &str) -> BTreeSet<String> {
    let name = |rest: &str| -> String {
        rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect()
    };
    text.lines().filter_map(|line| line.strip_prefix(begin)).map(name).collect()
}

#[test]
fn a_process_tells_what_it_does_and_every_metric_is_documented() -> Result<()> {
    let mut app = App::new(&cluster(), WORKER, 2)?;
    let worker = app.worker("w", &[PORT])?;
    let address = address(&worker)?;
    until("both lanes run", PATIENCE, || Ok((get(&address, "/readyz")?.0 == 200).then_some(())))?;
    app.start_jobs(JOBS)?;
    app.until_all_ended(PATIENCE)?;
    app.until_quiet()?;
    ensure!(get(&address, "/healthz")?.0 == 200);
    ensure!(get(&address, "/nothing")?.0 == 404);
    let (status, page) = get(&address, "/metrics")?;
    ensure!(status == 200 && page.ends_with("# EOF\n"), "{page}");
    // A start and a signal for each, and a child's start and answer if it is of the other lane.
    let commands = value(&page, "sakia_commands_total")?;
    ensure!((2.0 * JOBS as f64..=4.0 * JOBS as f64).contains(&commands), "{commands} commands: {page}");
    ensure!(value(&page, "sakia_lanes{state=\"running\"}")? == 2.0, "{page}");
    let checkpoints = value(&page, "sakia_checkpoints_total")?;
    ensure!(checkpoints > 0.0 && value(&page, "sakia_checkpoint_duration_seconds_count")? == checkpoints);
    ensure!(value(&page, "sakia_checkpoint_duration_seconds_sum")? > 0.0);
    ensure!(value(&page, "sakia_journal_appends_total")? > 0.0);
    ensure!(value(&page, "sakia_checkpoints_failed_total")? == 0.0);
    ensure!(value(&page, "sakia_lane_command_offset")? >= commands);
    let write_buffers = value(&page, "sakia_rocksdb_write_buffers_bytes")?;
    ensure!(write_buffers > 0.0, "the lanes have written: {page}");
    ensure!(write_buffers < value(&page, "sakia_rocksdb_write_buffers_limit_bytes")?);
    ensure!(value(&page, "sakia_rocksdb_block_cache_limit_bytes")? > 0.0);
    ensure!(value(&page, "sakia_restores")? == 0.0 && value(&page, "sakia_restore_memory_bytes")? == 0.0);
    ensure!(value(&page, "sakia_restore_memory_limit_bytes")? > 0.0);
    let manual = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/metrics.md"))?;
    // A counter's type names it without the ending that its samples have.
    let told: BTreeSet<String> = names(&page, "# TYPE sakia_")
        .into_iter()
        .map(|name| name.trim_end_matches("_total").into())
        .collect();
    // Those have a lane, and are not there while no lane is restored.
    let of_restores = ["restore_records", "restore_offsets_left"].map(str::to_string);
    let told = &told | &BTreeSet::from(of_restores);
    let documented: BTreeSet<String> =
        names(&manual, "| `sakia_").into_iter().map(|name| name.trim_end_matches("_total").into()).collect();
    ensure!(told == documented, "told {told:?}, documented {documented:?}");
    app.check_output(&app.read(app.out())?)
}

#[test]
fn a_process_whose_lane_stopped_is_alive_and_not_ready_and_says_which() -> Result<()> {
    let app = after_two_jobs()?;
    // A group that is ahead of the state means that state was lost.
    let commands = format!("{}.commands", app.name());
    let end = cluster().last_offset(&commands, 0, Isolation::Committed)?;
    cluster().group_client(app.name(), &[])?.commit(&commands, 0, end + 10)?;
    let worker = app.worker_at("again", &app.folder().join("w"), &[("SAKIA_INSTANCE_ID", ""), PORT])?;
    let address = address(&worker)?;
    let said = until("the lane stops", PATIENCE, || {
        let (status, said) = get(&address, "/readyz")?;
        ensure!(status == 503, "it never was ready");
        Ok(said.contains("broken").then_some(said))
    })?;
    ensure!(said == "lane 0 is broken\n", "{said}");
    ensure!(get(&address, "/healthz")?.0 == 200);
    ensure!(value(&get(&address, "/metrics")?.1, "sakia_lanes{state=\"broken\"}")? == 1.0);
    Ok(())
}

#[test]
fn a_bound_topic_that_cannot_be_read_makes_a_process_not_ready_and_the_remedy_helps() -> Result<()> {
    let app = after_two_jobs()?;
    let input = cluster().topic("input", 1, &[])?;
    let mut writer = cluster().writer(&[])?;
    for n in 0..4 {
        writer.put(&input, 0, &format!("n-{n}"), &n.to_string())?;
    }
    writer.drain()?;
    let group = || cluster().group_client(app.name(), &[]);
    group()?.commit(&input, 0, 1)?;
    cluster().delete_records(&input, 0, 3)?;
    let environment = [("SAKIA_INSTANCE_ID", ""), ("WORKER_IN", &*input), PORT];
    let worker = app.worker("w", &environment)?;
    let port = address(&worker)?;
    let gone = format!("topic {input} partition 0 is not read\n");
    until("it says what it cannot read", PATIENCE, || Ok((get(&port, "/readyz")?.1 == gone).then_some(())))?;
    until("it says what to do", PATIENCE, || Ok(worker.log().contains("--reset-offsets").then_some(())))?;
    ensure!(worker.stop(PATIENCE)?.success(), "it did not end well");
    group()?.commit(&input, 0, 3)?;
    let worker = app.worker("again", &environment)?;
    let port = address(&worker)?;
    until("it is ready", PATIENCE, || Ok((get(&port, "/readyz")?.0 == 200).then_some(())))?;
    until("the rest is moved", PATIENCE, || {
        Ok((cluster().group_offset(app.name(), &input)? == Some(4)).then_some(()))
    })
}

#[test]
fn a_port_that_is_taken_or_open_to_others_is_refused_with_the_remedy() -> Result<()> {
    let app = App::new(&cluster(), WORKER, 1)?;
    let taken = std::net::TcpListener::bind("127.0.0.1:0")?;
    let taken = taken.local_addr().map(|address| (address.to_string(), taken))?;
    for (address, remedy) in [(taken.0.as_str(), "choose another port"), ("0.0.0.0:0", "http_insecure")] {
        let mut worker = app.worker(&format!("w-{remedy}"), &[("SAKIA_HTTP_ADDRESS", address)])?;
        let status = until("the worker ends", PATIENCE, || worker.ended())?;
        ensure!(!status.success(), "it should have failed");
        let log = worker.log();
        ensure!(log.contains("http_address") && log.contains(remedy), "it says: {log}");
    }
    Ok(())
}
