//! Groups whose members live in this process.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use sakia_integration::kit::{Cluster, Consumer, holds_for, joined};

use crate::cluster;

const PARTITIONS: i32 = 6;
const SETTLED: Duration = Duration::from_millis(1500);
const READ_DEADLINE: Duration = Duration::from_secs(30);

/// Writes sixty records and polls the members until all are read, committing each.
fn pass_sixty(cluster: &Cluster, topic: &str, stem: &str, members: &[&Consumer]) -> Result<()> {
    let mut writer = cluster.writer(&[])?;
    for number in 0..60 {
        writer.put(topic, number % PARTITIONS, "key", &format!("{stem}{number}"))?;
    }
    writer.drain()?;
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let began = Instant::now();
    while seen.len() < 60 {
        ensure!(began.elapsed() < READ_DEADLINE, "{} of 60 records read", seen.len());
        for member in members {
            if let Some(record) = member.poll(Duration::from_millis(10))? {
                member.commit_past(topic, &record)?;
                let value = record.value.unwrap_or_default();
                ensure!(value.starts_with(stem), "{value} was read again");
                *seen.entry(value).or_default() += 1;
            }
        }
    }
    ensure!(seen.values().all(|times| *times == 1), "read twice: {seen:?}");
    Ok(())
}

fn two_members_share_join_and_leave(strategy: &str) -> Result<()> {
    let cluster = cluster()?;
    let topic = cluster.topic("shared", PARTITIONS, &[])?;
    let group = cluster.unique("group");
    let settings = [("partition.assignment.strategy", strategy)];
    let first = cluster.member(&group, &topic, &settings)?;
    joined("the first member owns all", &[&first], |owned| owned == [6])?;
    let second = cluster.member(&group, &topic, &settings)?;
    let mut settled = holds_for(SETTLED);
    joined("each member owns half", &[&first, &second], |owned| settled(owned == [3, 3]))?;
    let mut all = first.owned_partitions()?;
    all.extend(second.owned_partitions()?);
    all.sort_unstable();
    assert_eq!(all, [0, 1, 2, 3, 4, 5]);
    pass_sixty(&cluster, &topic, "with two members ", &[&first, &second])?;
    drop(second);
    joined("the first member owns all again", &[&first], |owned| owned == [6])?;
    pass_sixty(&cluster, &topic, "after one left ", &[&first])
}

#[test]
fn two_members_share_by_range_and_lose_nothing_when_one_leaves() -> Result<()> {
    two_members_share_join_and_leave("range")
}

#[test]
fn two_members_share_cooperatively_and_lose_nothing_when_one_leaves() -> Result<()> {
    two_members_share_join_and_leave("cooperative-sticky")
}
