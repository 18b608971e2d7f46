//! What is wrong is named, with its remedy, and nothing is lost.

use crate::{PATIENCE, WORKER, after_two_jobs, cluster};
use anyhow::{Context, Result, ensure};
use sakia::codec::journal;
use sakia::core::fact::{Fact, JournalRecord};
use sakia::core::ids::{InstanceKey, OpId};
use sakia_integration::app::App;
use sakia_integration::kit::{Isolation, until};

const START: (&str, &str) = ("sakia-kind", "start");
const JOB: (&str, &str) = ("sakia-workflow", "job");
/// Without these an app does not run on its changelog, whatever the others are.
const CHANGELOG: [(&str, &str); 2] = [("cleanup.policy", "compact"), ("max.message.bytes", "2097152")];

/// Gives a topic settings, and waits until the broker says so itself.
fn set_topic(topic: &str, settings: &[(&str, &str)]) -> Result<()> {
    cluster().set_topic(topic, settings)?;
    for (key, value) in settings {
        let seen = || Ok((cluster().topic_setting(topic, key)?.as_deref() == Some(value)).then_some(()));
        until(&format!("{key} of {topic} is {value}"), PATIENCE, seen)?;
    }
    Ok(())
}

#[test]
fn bad_records_go_to_the_dead_letters_as_they_were_and_the_lane_goes_on() -> Result<()> {
    let mut app = App::new(&cluster(), WORKER, 2)?;
    let _worker = app.worker("w", &[])?;
    let huge = format!("\"{}\"", "x".repeat(990_000));
    app.command("no-kind", "1", &[])?;
    app.command("no-workflow", "1", &[START])?;
    app.command("unknown-kind", "1", &[("sakia-kind", "explode"), JOB])?;
    app.command("unknown-workflow", "1", &[START, ("sakia-workflow", "nobody")])?;
    app.command("undecodable", "{\"no\": number}", &[START, JOB])?;
    app.command("unknown-instance", "1", &[("sakia-kind", "signal"), JOB, ("sakia-name", "go")])?;
    app.command("huge", &huge, &[START, JOB])?;
    app.command("bad-reply", "1", &[START, JOB, ("sakia-reply", "nowhere")])?;
    app.start_jobs(5)?;
    app.until_all_ended(PATIENCE)?;
    let finished = "job-0";
    app.command(finished, "0", &[START, JOB])?;
    app.command(finished, "0", &[("sakia-kind", "signal"), JOB, ("sakia-name", "go")])?;
    let topic = format!("{}.dlq", app.name());
    let letters = until("nine dead letters", PATIENCE, || {
        let read = app.read(&topic)?;
        Ok((read.records.len() >= 9).then_some(read.records))
    })?;
    ensure!(letters.len() == 9, "a second start of a finished id is no error: {} letters", letters.len());
    let of =
        |key: &str| letters.iter().find(|l| l.key.as_deref() == Some(key)).with_context(|| key.to_string());
    ensure!(of("huge")?.value.as_deref() == Some(&huge), "the bytes are the original ones");
    for (key, code) in [
        ("no-kind", "SAKIA-D01"),
        ("no-workflow", "SAKIA-D01"),
        ("unknown-kind", "SAKIA-D01"),
        ("unknown-workflow", "SAKIA-D03"),
        ("undecodable", "SAKIA-D02"),
        ("unknown-instance", "SAKIA-D04"),
        ("huge", "SAKIA-D06"),
        ("bad-reply", "SAKIA-D01"),
        (finished, "SAKIA-D05"),
    ] {
        let headers = &of(key)?.headers;
        let found =
            headers.iter().find(|(name, _)| name == "sakia-error-code").map(|(_, code)| code.as_str());
        ensure!(found == Some(code), "{key}: {found:?} instead of {code}");
        let text = headers.iter().find(|(name, _)| name == "sakia-error").context("a text")?;
        ensure!(!text.1.is_empty(), "{key} says nothing");
    }
    app.check_output(&app.read(app.out())?)
}

#[test]
fn a_record_that_kafka_refuses_becomes_a_dead_letter_and_holds_up_nobody() -> Result<()> {
    let mut app = App::new(&cluster(), WORKER, 1)?;
    let small = format!("{}-small", app.name());
    cluster().named_topic(&small, 1, &[("max.message.bytes", "2000")])?;
    let missing = format!("{}-missing", app.name());
    let worker = app.worker("w", &[])?;
    let post = [START, ("sakia-workflow", "post")];
    for (id, topic, bytes) in [
        ("too-large", &small, 9_000),
        ("fits", &small, 10),
        ("lost-1", &missing, 10),
        ("lost-2", &missing, 10),
    ] {
        app.command(id, &format!("[\"{topic}\", {bytes}]"), &post)?;
    }
    app.start_jobs(5)?;
    app.until_all_ended(PATIENCE)?;
    let dlq = format!("{}.dlq", app.name());
    let letters = until("three dead letters", PATIENCE, || {
        let read = app.read(&dlq)?.records;
        Ok((read.len() >= 3).then_some(read))
    })?;
    ensure!(worker.stop(PATIENCE)?.success(), "the worker did not end well");
    ensure!(app.read(&dlq)?.records.len() == 3, "each exactly once");
    for (id, topic, bytes) in
        [("too-large", &small, 9_000), ("lost-1", &missing, 10), ("lost-2", &missing, 10)]
    {
        let letter = letters.iter().find(|l| l.key.as_deref() == Some(id)).context(id)?;
        let header = |name: &str| letter.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str());
        ensure!(header("sakia-error-code") == Some("SAKIA-D10"), "{letter:?}");
        ensure!(header("sakia-origin-topic") == Some(topic), "{letter:?}");
        ensure!(header("sakia-error").is_some_and(|text| text.contains(topic)), "{letter:?}");
        ensure!(
            letter.value.as_ref().is_some_and(|v| v.len() == bytes + 2),
            "the bytes are the original ones"
        );
    }
    let sent = app.read(&small)?;
    ensure!(sent.records.len() == 1 && sent.records[0].key.as_deref() == Some("fits"), "{sent:?}");
    app.check_output(&app.read(app.out())?)
}

/// Over the size of any record of Kafka's: neither the journal nor a checkpoint could hold such a text.
#[test]
fn an_error_of_megabytes_ends_its_instance_and_holds_up_nobody() -> Result<()> {
    let mut app = App::new(&cluster(), WORKER, 1)?;
    let worker = app.worker("w", &[])?;
    app.command("loud", "3000000", &[START, ("sakia-workflow", "rant")])?;
    app.start_jobs(5)?;
    app.until_all_ended(PATIENCE)?;
    app.command("loud", "0", &[("sakia-kind", "signal"), ("sakia-workflow", "rant"), ("sakia-name", "go")])?;
    let dlq = format!("{}.dlq", app.name());
    let letter = until("a dead letter", PATIENCE, || Ok(app.read(&dlq)?.records.into_iter().next()))?;
    let code =
        letter.headers.iter().find(|(name, _)| name == "sakia-error-code").map(|(_, code)| code.as_str());
    ensure!(code == Some("SAKIA-D05"), "it has not ended: {letter:?}");
    ensure!(!worker.log().contains("lane lost"), "it says: {}", worker.log());
    app.check_output(&app.read(app.out())?)
}

#[test]
fn a_second_process_on_one_state_folder_is_refused_with_the_folder_and_the_remedy() -> Result<()> {
    let app = App::new(&cluster(), WORKER, 1)?;
    let first = app.worker("first", &[])?;
    app.until_taken_over(&first)?;
    let mut second = app.worker_at("second", &first.state, &[])?;
    let status = until("the second process ends", PATIENCE, || second.ended())?;
    ensure!(!status.success(), "it should have failed");
    let log = second.log();
    ensure!(log.contains("in use by another process") && log.contains("state_dir"), "it says: {log}");
    Ok(())
}

#[test]
fn a_state_folder_of_another_app_is_refused_and_left_alone() -> Result<()> {
    let (mine, other) = (App::new(&cluster(), WORKER, 1)?, App::new(&cluster(), WORKER, 1)?);
    let first = mine.worker("w", &[])?;
    mine.until_taken_over(&first)?;
    let state = first.state.clone();
    ensure!(first.stop(PATIENCE)?.success(), "the first did not end well");
    let mut stranger = other.worker_at("w", &state, &[])?;
    let status = until("the stranger ends", PATIENCE, || stranger.ended())?;
    ensure!(!status.success(), "it should have failed");
    let log = stranger.log();
    ensure!(log.contains("belongs to") && log.contains(mine.name()), "it says: {log}");
    let again = mine.worker("w", &[])?;
    mine.until_taken_over(&again)
}

#[test]
fn a_topic_that_is_missing_or_wrong_is_refused_at_start_with_the_remedy() -> Result<()> {
    let app = App::new(&cluster(), WORKER, 2)?;
    let changelog = format!("{}.changelog", app.name());
    cluster().alter_topic(&changelog, "cleanup.policy", "delete")?;
    let mut worker = app.worker("w", &[])?;
    let status = until("the worker ends", PATIENCE, || worker.ended())?;
    ensure!(!status.success(), "it should have failed");
    let log = worker.log();
    ensure!(log.contains(&changelog) && log.contains("cleanup.policy"), "it says: {log}");
    Ok(())
}

#[test]
fn settings_of_topics_that_break_a_promise_refuse_the_start_all_at_once_and_with_the_remedy() -> Result<()> {
    let app = App::new(&cluster(), WORKER, 1)?;
    let (changelog, commands) = (format!("{}.changelog", app.name()), format!("{}.commands", app.name()));
    let wrong = [
        (&changelog, "min.compaction.lag.ms", "0", "SAKIA-T08", "min.compaction.lag.ms=3600000"),
        (&changelog, "delete.retention.ms", "1000", "SAKIA-T09", "delete.retention.ms=86400000"),
        (&commands, "retention.ms", "60000", "SAKIA-T07", "retention.ms=604800000"),
    ];
    set_topic(&commands, &[("message.timestamp.type", "LogAppendTime"), ("retention.ms", "60000")])?;
    let settings = [("min.compaction.lag.ms", "0"), ("delete.retention.ms", "1000")];
    set_topic(&changelog, &[&CHANGELOG[..], &settings].concat())?;
    let mut worker = app.worker("w", &[])?;
    let status = until("the worker ends", PATIENCE, || worker.ended())?;
    ensure!(!status.success(), "it should have failed");
    let log = worker.log();
    for (topic, key, value, code, remedy) in wrong {
        let line = log.lines().find(|line| line.contains(code)).with_context(|| format!("{code}: {log}"))?;
        ensure!(line.contains(&format!("{code} topic {topic}: its {key} is {value}")), "it says: {line}");
        ensure!(line.contains(&format!("--entity-name {topic} --add-config {remedy}")), "it says: {line}");
    }
    Ok(())
}

#[test]
fn settings_that_only_cost_speed_are_told_once_and_the_app_runs() -> Result<()> {
    let mut app = App::new(&cluster(), WORKER, 1)?;
    let changelog = format!("{}.changelog", app.name());
    let slow = [
        ("segment.bytes", "536870912", "segment.bytes=67108864"),
        ("min.cleanable.dirty.ratio", "0.9", "min.cleanable.dirty.ratio=0.5"),
    ];
    let settings = slow.map(|(key, value, _)| (key, value));
    set_topic(&changelog, &[&CHANGELOG[..], &[("min.compaction.lag.ms", "3600000")], &settings].concat())?;
    let worker = app.worker("w", &[])?;
    app.start_jobs(5)?;
    app.until_all_ended(PATIENCE)?;
    let log = worker.log();
    for (key, value, remedy) in slow {
        let said = format!("SAKIA-T10 topic {changelog}: its {key} is {value}");
        let lines: Vec<&str> = log.lines().filter(|line| line.contains(&said)).collect();
        ensure!(lines.len() == 1 && lines[0].contains(remedy), "{key}: {lines:?} in {log}");
    }
    ensure!(log.matches("SAKIA-T10").count() == slow.len(), "it says more: {log}");
    app.check_output(&app.read(app.out())?)
}

#[test]
fn a_changed_partition_count_is_refused_at_start() -> Result<()> {
    let app = App::new(&cluster(), WORKER, 2)?;
    let first = app.worker("w", &[])?;
    app.until_taken_over(&first)?;
    ensure!(first.stop(PATIENCE)?.success(), "the first did not end well");
    let commands = format!("{}.commands", app.name());
    cluster().grow_topic(&commands, 3)?;
    let mut worker = app.worker("w", &[])?;
    let status = until("the worker ends", PATIENCE, || worker.ended())?;
    ensure!(!status.success(), "it should have failed");
    ensure!(worker.log().contains("partitions"), "it says: {}", worker.log());
    Ok(())
}

/// Without this the folder could be deleted, as the other refusal advises, and ids would begin again on other lanes.
#[test]
fn partitions_added_to_all_topics_are_noticed_without_a_state_folder() -> Result<()> {
    let app = after_two_jobs()?;
    for topic in ["commands", "journal", "changelog"] {
        cluster().grow_topic(&format!("{}.{topic}", app.name()), 4)?;
    }
    let mut worker = app.worker("elsewhere", &[])?;
    let status = until("the worker ends", PATIENCE, || worker.ended())?;
    ensure!(!status.success(), "it should have failed");
    ensure!(worker.log().contains("SAKIA-T11"), "it says: {}", worker.log());
    Ok(())
}

#[test]
fn a_group_that_is_ahead_of_the_state_stops_the_lane() -> Result<()> {
    let app = after_two_jobs()?;
    let commands = format!("{}.commands", app.name());
    let end = cluster().last_offset(&commands, 0, Isolation::Committed)?;
    cluster().group_client(app.name(), &[])?.commit(&commands, 0, end + 10)?;
    let worker = app.worker("w", &[("SAKIA_INSTANCE_ID", "")])?;
    until("the lane stops", PATIENCE, || Ok(worker.log().contains("SAKIA-L06").then_some(())))
}

/// An app comes back to a journal whose last record is this; what it says about it.
fn stopped_by(record: &str, code: &str) -> Result<()> {
    let app = after_two_jobs()?;
    let mut other = cluster().owner_of(&format!("{}-other", app.name()))?;
    other.begin()?;
    other.put(&format!("{}.journal", app.name()), 0, "", record)?;
    other.drain()?;
    other.commit()?;
    let worker = app.worker("w", &[("SAKIA_INSTANCE_ID", "")])?;
    until("the lane stops", PATIENCE, || Ok(worker.log().contains(code).then_some(())))
}

#[test]
fn a_journal_record_of_an_unknown_version_stops_the_lane() -> Result<()> {
    // The first byte is the version.
    stopped_by("\u{7f}", "SAKIA-L05")
}

#[test]
fn a_fact_of_an_earlier_version_that_no_checkpoint_covers_stops_the_lane() -> Result<()> {
    let due = Fact::TimerDue {
        key: InstanceKey::new("job", "1"),
        run: 0,
        op: OpId { branch: 0, number: 0 },
        due: 0,
    };
    let record = JournalRecord { epoch: 1, seq: 127, next_command: 0, at: 0, facts: vec![due] };
    let bytes = journal::encode(&record);
    stopped_by(std::str::from_utf8(&[&[1], &bytes[1..]].concat())?, "SAKIA-L09")
}

#[test]
fn a_lane_begins_only_when_nothing_is_open_on_its_changelog() -> Result<()> {
    let mut app = App::new(&cluster(), WORKER, 1)?;
    let mut other = cluster().owner_of(&format!("{}-other", app.name()))?;
    other.begin()?;
    other.put(&format!("{}.changelog", app.name()), 0, "key", "value")?;
    other.drain()?;
    let worker = app.worker("w", &[])?;
    until("the lane waits", PATIENCE, || Ok(worker.log().contains("SAKIA-L07").then_some(())))?;
    other.abort()?;
    app.start_jobs(2)?;
    app.until_all_ended(PATIENCE)?;
    app.check_output(&app.read(app.out())?)
}

#[test]
fn a_kafka_that_is_away_at_start_is_named_with_the_remedy() -> Result<()> {
    let app = App::new(&cluster(), WORKER, 1)?;
    let mut worker = app.worker("w", &[("SAKIA_BROKERS", "127.0.0.1:1")])?;
    let status = until("the worker ends", PATIENCE, || worker.ended())?;
    ensure!(!status.success(), "it should have failed");
    ensure!(worker.log().contains("127.0.0.1:1"), "it says: {}", worker.log());
    Ok(())
}
