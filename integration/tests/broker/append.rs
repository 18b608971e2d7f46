//! The fenced append: a record produced inside a long-open transaction and read back uncommitted.
//!
//! The engine's journal stands on two promises. Behind the new owner's `init_transactions` every record that the old
//! owner saw acknowledged can be read; and none of the old owner's comes after that.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Result, anyhow, ensure};
use sakia_integration::kit::{Cluster, Isolation, Writer, until};

use crate::cluster;

const DEADLINE: Duration = Duration::from_secs(30);

/// Where the old owner stands when it loses its id.
#[derive(Clone, Copy)]
enum Standing {
    InTransactionOfTheJournal,
    BetweenTransactions,
    InTransactionOfAnotherPartition,
}

fn journal_values(cluster: &Cluster, topic: &str) -> Result<Vec<String>> {
    let reading = cluster.read(topic, &[0], Isolation::Uncommitted)?;
    Ok(reading.values().into_iter().map(str::to_owned).collect())
}

fn take_over_from(standing: Standing) -> Result<()> {
    let cluster = cluster()?;
    let topic = cluster.topic("journal", 2, &[])?;
    let id = cluster.unique("id");
    let mut old = cluster.owner_of(&id)?;
    old.begin()?;
    let acknowledged: Vec<String> = (0..50).map(|number| format!("old-{number}")).collect();
    for value in &acknowledged {
        old.put(&topic, 0, "key", value)?;
    }
    old.drain()?;
    match standing {
        Standing::InTransactionOfTheJournal => {}
        Standing::BetweenTransactions => old.commit()?,
        Standing::InTransactionOfAnotherPartition => {
            old.commit()?;
            old.begin()?;
            old.put(&topic, 1, "key", "elsewhere")?;
            old.drain()?;
        }
    }
    let mut new = cluster.owner_of(&id)?;
    assert_eq!(journal_values(&cluster, &topic)?, acknowledged, "behind the fence");
    go_on_as_zombie(&mut old, &topic, standing)?;
    new.begin()?;
    new.put(&topic, 0, "key", "new")?;
    new.drain()?;
    let mut expected = acknowledged;
    expected.push("new".to_owned());
    assert_eq!(journal_values(&cluster, &topic)?, expected, "after the new owner's first append");
    new.commit()?;
    assert_eq!(
        cluster.read(&topic, &[1], Isolation::Committed)?.records,
        [],
        "nothing was committed elsewhere"
    );
    Ok(())
}

/// The old owner knows nothing of its end and appends: every record must be refused.
fn go_on_as_zombie(old: &mut Writer, topic: &str, standing: Standing) -> Result<()> {
    let before = old.deliveries().acknowledged;
    if matches!(standing, Standing::BetweenTransactions) {
        old.begin()?;
    }
    for number in 0..20 {
        // Once it has learnt that it is fenced, the client refuses by itself.
        if old.put(topic, 0, "key", &format!("zombie-{number}")).is_err() {
            break;
        }
        old.settle()?;
    }
    let deliveries = old.settle()?;
    assert_eq!(deliveries.acknowledged, before, "a fenced owner's record was acknowledged");
    assert!(!deliveries.refused.is_empty());
    Ok(())
}

#[test]
fn an_owner_fenced_inside_its_transaction_loses_nothing_and_appends_nothing() -> Result<()> {
    take_over_from(Standing::InTransactionOfTheJournal)
}

#[test]
fn an_owner_fenced_between_transactions_loses_nothing_and_appends_nothing() -> Result<()> {
    take_over_from(Standing::BetweenTransactions)
}

#[test]
fn an_owner_fenced_inside_a_transaction_elsewhere_loses_nothing_and_appends_nothing() -> Result<()> {
    take_over_from(Standing::InTransactionOfAnotherPartition)
}

/// Appends one record after another until it is fenced; gives those that were acknowledged.
fn append_until_fenced(
    mut owner: Writer,
    topic: &str,
    commit_every: Option<usize>,
    progress: &AtomicUsize,
) -> Result<Vec<String>> {
    let mut acknowledged = Vec::new();
    owner.begin()?;
    for number in 1.. {
        let value = format!("old-{number}");
        if owner.put(topic, 0, "key", &value).is_err() || owner.drain().is_err() {
            break;
        }
        acknowledged.push(value);
        progress.store(number, Ordering::Relaxed);
        let rolls = commit_every.is_some_and(|every| number % every == 0);
        if rolls && (owner.commit().is_err() || owner.begin().is_err()) {
            break;
        }
    }
    // A commit that meets the fence may only be told that its transaction failed; the abort is told the rest.
    until("the client knows that it is fenced", DEADLINE, || {
        drop(owner.abort());
        Ok(owner.fatal_error())
    })?;
    Ok(acknowledged)
}

/// The old owner never stops appending while the new one takes over.
fn race(round: usize, commit_every: Option<usize>) -> Result<()> {
    let cluster = cluster()?;
    let topic = cluster.topic("race", 1, &[])?;
    let id = cluster.unique("id");
    let progress = Arc::new(AtomicUsize::new(0));
    let old = cluster.owner_of(&id)?;
    let appender = {
        let (topic, progress) = (topic.clone(), Arc::clone(&progress));
        std::thread::spawn(move || append_until_fenced(old, &topic, commit_every, &progress))
    };
    // Another moment each round: early, late, close to a commit and far from one.
    let moment = 60 + 37 * (round % 7);
    until("the old owner is at work", DEADLINE, || {
        ensure!(!appender.is_finished(), "the old owner gave up before the take-over");
        Ok((progress.load(Ordering::Relaxed) >= moment).then_some(()))
    })?;
    let mut new = cluster.owner_of(&id)?;
    let at_fence = journal_values(&cluster, &topic)?;
    new.begin()?;
    new.put(&topic, 0, "key", "new")?;
    new.drain()?;
    let acknowledged = appender.join().map_err(|_| anyhow!("the old owner panicked"))??;
    // A record may be in the log without its acknowledgement having arrived: one at most is under way.
    assert!(at_fence.len() <= acknowledged.len() + 1, "{} for {}", at_fence.len(), acknowledged.len());
    assert_eq!(at_fence[..acknowledged.len()], acknowledged, "an acknowledged record was lost");
    let mut expected = at_fence;
    expected.push("new".to_owned());
    assert_eq!(journal_values(&cluster, &topic)?, expected, "a record came after the fence");
    new.commit()
}

/// Ten rounds, five at a time: each waits for most of its time.
fn ten_races(commit_every: Option<usize>) -> Result<()> {
    for rounds in [0..5, 5..10] {
        std::thread::scope(|scope| {
            let races: Vec<_> = rounds.map(|round| scope.spawn(move || race(round, commit_every))).collect();
            races.into_iter().try_for_each(|race| race.join().map_err(|_| anyhow!("a race panicked"))?)
        })?;
    }
    Ok(())
}

#[test]
fn ten_take_overs_from_an_owner_that_never_stops_lose_nothing() -> Result<()> {
    ten_races(None)
}

#[test]
fn ten_take_overs_from_an_owner_that_commits_in_between_lose_nothing() -> Result<()> {
    ten_races(Some(40))
}
