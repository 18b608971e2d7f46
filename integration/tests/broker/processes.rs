//! Groups with a member in another process, which leaves, dies, or comes back.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use sakia_integration::kit::{Cluster, Consumer};
use sakia_integration::process::MemberProcess;

use crate::cluster;

const DEADLINE: Duration = Duration::from_secs(40);
/// Longer than any rebalance takes: what happens sooner is not the end of a session.
const LONG_SESSION: (&str, &str) = ("session.timeout.ms", "20000");
const COOPERATIVE: (&str, &str) = ("partition.assignment.strategy", "cooperative-sticky");
const ALL: [i32; 6] = [0, 1, 2, 3, 4, 5];

/// A group of two: one member here, one in its own process, three partitions each.
struct Pair {
    cluster: Cluster,
    topic: String,
    group: String,
    here: Consumer,
    there: MemberProcess,
}

impl Pair {
    fn start(here: &[(&str, &str)], there: &[(&str, &str)]) -> Result<Self> {
        let cluster = cluster()?;
        let topic = cluster.topic("pair", 6, &[])?;
        let group = cluster.unique("group");
        let mut there = member_process(&cluster, &group, &topic, there)?;
        let here = cluster.member(&group, &topic, here)?;
        poll_until("three partitions each", &here, |here| Ok(here.len() == 3 && there.owned()?.len() == 3))?;
        Ok(Self { cluster, topic, group, here, there })
    }
}

fn member_process(
    cluster: &Cluster,
    group: &str,
    topic: &str,
    settings: &[(&str, &str)],
) -> Result<MemberProcess> {
    let program = Path::new(env!("CARGO_BIN_EXE_group_member"));
    MemberProcess::start(program, cluster, group, topic, settings)
}

/// Polls the member until the condition on its partitions holds; tells how long that took.
fn poll_until(
    what: &str,
    member: &Consumer,
    mut reached: impl FnMut(&[i32]) -> Result<bool>,
) -> Result<Duration> {
    let began = Instant::now();
    loop {
        member.poll(Duration::from_millis(10))?;
        let owned = member.owned_partitions()?;
        if reached(&owned)? {
            return Ok(began.elapsed());
        }
        ensure!(began.elapsed() < DEADLINE, "{what}: not reached, {owned:?} owned here");
    }
}

#[test]
fn a_killed_members_partitions_move_when_its_session_is_over() -> Result<()> {
    let pair = Pair::start(&[COOPERATIVE], &[COOPERATIVE])?;
    pair.there.kill()?;
    poll_until("the survivor owns all", &pair.here, |owned| Ok(owned == ALL))?;
    Ok(())
}

fn hand_over_within_two_seconds(ask: impl FnOnce(&mut MemberProcess) -> Result<()>) -> Result<MemberProcess> {
    let settings = [COOPERATIVE, LONG_SESSION];
    let mut pair = Pair::start(&settings, &settings)?;
    ask(&mut pair.there)?;
    let took = poll_until("the survivor owns all", &pair.here, |owned| Ok(owned == ALL))?;
    assert!(took < Duration::from_secs(2), "it took {took:?}");
    Ok(pair.there)
}

#[test]
fn a_member_that_closes_hands_its_partitions_over_within_two_seconds() -> Result<()> {
    hand_over_within_two_seconds(MemberProcess::ask_to_leave)?.await_exit()
}

#[test]
fn a_member_that_unsubscribes_hands_its_partitions_over_within_two_seconds() -> Result<()> {
    let mut there = hand_over_within_two_seconds(MemberProcess::ask_to_unsubscribe)?;
    assert!(there.owned()?.is_empty());
    Ok(())
}

/// The second member is stopped by `stop` and started again with the same name: it must get the same partitions
/// back, and the first member must not notice.
fn restart_of_a_static_member(stop: impl FnOnce(MemberProcess) -> Result<()>) -> Result<()> {
    let there = [COOPERATIVE, LONG_SESSION, ("group.instance.id", "there")];
    let here = [COOPERATIVE, LONG_SESSION, ("group.instance.id", "here")];
    let mut pair = Pair::start(&here, &there)?;
    let ours = pair.here.owned_partitions()?;
    let theirs = pair.there.owned()?.to_vec();
    let generation = pair.here.metadata()?;
    stop(pair.there)?;
    let mut again = member_process(&pair.cluster, &pair.group, &pair.topic, &there)?;
    poll_until("the restarted member has its partitions", &pair.here, |owned| {
        ensure!(owned == ours, "the other member went from {ours:?} to {owned:?}");
        Ok(again.owned()? == theirs)
    })?;
    // A late rebalance would come with one of the next heartbeats.
    let quiet = Instant::now();
    poll_until("three seconds without a change", &pair.here, |owned| {
        ensure!(owned == ours, "the other member went from {ours:?} to {owned:?}");
        ensure!(again.owned()? == theirs, "the restarted member lost its partitions again");
        Ok(quiet.elapsed() > Duration::from_secs(3))
    })?;
    // Not even a rebalance that gives everyone the same: the old generation is still the current one.
    let mut owner = pair.cluster.owner_of(&pair.cluster.unique("id"))?;
    owner.begin()?;
    owner.put(&pair.topic, 0, "key", "value")?;
    owner.send_offset(&pair.topic, 0, &generation)?;
    owner.commit()
}

#[test]
fn a_static_member_that_is_killed_and_restarted_inside_its_session_moves_nothing() -> Result<()> {
    restart_of_a_static_member(MemberProcess::kill)
}

#[test]
fn a_static_member_that_ends_cleanly_and_restarts_inside_its_session_moves_nothing() -> Result<()> {
    restart_of_a_static_member(|mut member| {
        member.ask_to_leave()?;
        member.await_exit()
    })
}
