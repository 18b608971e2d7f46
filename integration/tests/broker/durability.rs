//! What a broker acknowledged is there after kill -9.
//!
//! Each test has a broker of its own, in another process: the shared one is never killed.

use std::path::Path;

use anyhow::Result;
use sakia_integration::kit::{Isolation, Writer};
use sakia_integration::process::KillableBroker;

const RECORDS: i64 = 500;
const TOPIC: &str = "durable";

fn broker() -> Result<KillableBroker> {
    let broker = KillableBroker::start(Path::new(env!("CARGO_BIN_EXE_broker_process")))?;
    broker.cluster().named_topic(TOPIC, 2, &[("cleanup.policy", "compact")])?;
    Ok(broker)
}

/// 500 records in partition 0, no two of one key.
fn write_plain(broker: &KillableBroker) -> Result<()> {
    let mut writer = broker.cluster().writer(&[("linger.ms", "5")])?;
    for number in 0..RECORDS {
        writer.put(TOPIC, 0, &format!("k{number}"), &format!("plain-{number}"))?;
    }
    writer.drain()?;
    Ok(())
}

/// In partition 1: twenty transactions of which every fourth is aborted, one left open, and a plain record behind it.
fn write_transactions(broker: &KillableBroker, id: &str) -> Result<Writer> {
    let mut owner = broker.cluster().owner_of(id)?;
    for number in 0..20 {
        owner.begin()?;
        owner.put(TOPIC, 1, &format!("t{number}"), &format!("transaction-{number}"))?;
        if number % 4 == 3 {
            owner.abort()?;
        } else {
            owner.commit()?;
        }
    }
    owner.begin()?;
    owner.put(TOPIC, 1, "open", "left open")?;
    owner.drain()?;
    let mut plain = broker.cluster().writer(&[])?;
    plain.put(TOPIC, 1, "behind", "behind it")?;
    plain.drain()?;
    Ok(owner)
}

fn committed_values() -> Vec<String> {
    (0..20).filter(|number| number % 4 != 3).map(|number| format!("transaction-{number}")).collect()
}

#[test]
fn topics_settings_and_records_survive_a_kill() -> Result<()> {
    let mut broker = broker()?;
    write_plain(&broker)?;
    broker.kill_and_restart()?;
    let cluster = broker.cluster();
    assert_eq!(cluster.partition_count(TOPIC)?, 2);
    assert_eq!(cluster.topic_setting(TOPIC, "cleanup.policy")?.as_deref(), Some("compact"));
    let expected: Vec<String> = (0..RECORDS).map(|number| format!("plain-{number}")).collect();
    assert_eq!(cluster.read(TOPIC, &[0], Isolation::Committed)?.values(), expected);
    Ok(())
}

#[test]
fn a_groups_offset_survives_a_kill() -> Result<()> {
    let mut broker = broker()?;
    write_plain(&broker)?;
    broker.cluster().group_client("group", &[])?.commit(TOPIC, 0, 321)?;
    broker.kill_and_restart()?;
    assert_eq!(broker.cluster().group_offset("group", TOPIC)?, Some(321));
    Ok(())
}

#[test]
fn an_open_transaction_still_hides_what_follows_it_after_a_kill() -> Result<()> {
    let mut broker = broker()?;
    let owner = write_transactions(&broker, "id")?;
    broker.kill_and_restart()?;
    let reading = broker.cluster().read(TOPIC, &[1], Isolation::Committed)?;
    assert_eq!(reading.values(), committed_values());
    drop(owner);
    Ok(())
}

#[test]
fn a_transactional_id_is_taken_over_after_a_kill() -> Result<()> {
    let mut broker = broker()?;
    let owner = write_transactions(&broker, "id")?;
    broker.kill_and_restart()?;
    let mut new = broker.cluster().owner_of("id")?;
    new.begin()?;
    new.put(TOPIC, 1, "new", "of the new owner")?;
    new.commit()?;
    let mut expected = committed_values();
    expected.extend(["behind it".to_owned(), "of the new owner".to_owned()]);
    assert_eq!(broker.cluster().read(TOPIC, &[1], Isolation::Committed)?.values(), expected);
    assert!(owner.commit_now().is_err(), "the owner from before the kill is fenced");
    Ok(())
}

#[test]
fn records_written_after_a_kill_continue_the_offsets() -> Result<()> {
    let mut broker = broker()?;
    write_plain(&broker)?;
    broker.kill_and_restart()?;
    let mut writer = broker.cluster().writer(&[])?;
    writer.put(TOPIC, 0, "after", "after")?;
    writer.drain()?;
    assert_eq!(writer.deliveries().last, Some((0, RECORDS)));
    let reading = broker.cluster().read(TOPIC, &[0], Isolation::Committed)?;
    assert_eq!(reading.records.last().map(|record| record.offset), Some(RECORDS));
    Ok(())
}
