//! What a read_committed reader sees, and when.

use std::collections::BTreeSet;

use anyhow::Result;
use sakia_integration::kit::{Cluster, Isolation, Writer};

use crate::cluster;

#[test]
fn aborted_records_are_invisible_to_a_committed_reader() -> Result<()> {
    let cluster = cluster()?;
    let topic = cluster.topic("aborted", 1, &[])?;
    let mut owner = cluster.owner_of(&cluster.unique("id"))?;
    owner.begin()?;
    for number in 0..5 {
        owner.put(&topic, 0, "key", &format!("aborted-{number}"))?;
    }
    owner.abort()?;
    owner.begin()?;
    for number in 0..3 {
        owner.put(&topic, 0, "key", &format!("kept-{number}"))?;
    }
    owner.commit()?;
    let committed = cluster.read(&topic, &[0], Isolation::Committed)?;
    assert_eq!(committed.values(), ["kept-0", "kept-1", "kept-2"]);
    assert_eq!(cluster.read(&topic, &[0], Isolation::Uncommitted)?.records.len(), 8);
    Ok(())
}

#[test]
fn a_committed_reader_waits_in_front_of_an_open_transaction() -> Result<()> {
    let cluster = cluster()?;
    let topic = cluster.topic("waits", 1, &[])?;
    let mut owner = cluster.owner_of(&cluster.unique("id"))?;
    let mut plain = cluster.writer(&[])?;
    owner.begin()?;
    owner.put(&topic, 0, "key", "open")?;
    owner.drain()?;
    plain.put(&topic, 0, "key", "plain, after it")?;
    plain.drain()?;
    // The end is told at the last stable offset, so this reading ends while the transaction is open.
    assert_eq!(cluster.read(&topic, &[0], Isolation::Committed)?.records, []);
    assert_eq!(cluster.read(&topic, &[0], Isolation::Uncommitted)?.records.len(), 2);
    owner.commit()?;
    let after = cluster.read(&topic, &[0], Isolation::Committed)?;
    assert_eq!(after.values(), ["open", "plain, after it"]);
    Ok(())
}

#[test]
fn a_reader_reaches_the_end_past_the_markers_of_transactions() -> Result<()> {
    let cluster = cluster()?;
    let topic = cluster.topic("markers", 1, &[])?;
    let mut owner = cluster.owner_of(&cluster.unique("id"))?;
    for number in 0..4 {
        owner.begin()?;
        owner.put(&topic, 0, "key", &number.to_string())?;
        if number % 2 == 0 {
            owner.commit()?;
        } else {
            owner.abort()?;
        }
    }
    // `read` only returns when the end was told.
    let reading = cluster.read(&topic, &[0], Isolation::Committed)?;
    assert_eq!(reading.values(), ["0", "2"]);
    assert_eq!(cluster.watermarks(&topic, 0)?, (0, 8));
    Ok(())
}

/// A small generator, so that a failure can be repeated.
struct Dice(u64);

impl Dice {
    fn throw(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

struct Player {
    writer: Writer,
    open: Option<Vec<String>>,
}

fn players(cluster: &Cluster) -> Result<Vec<Player>> {
    (0..3).map(|_| Ok(Player { writer: cluster.owner_of(&cluster.unique("id"))?, open: None })).collect()
}

#[test]
fn of_three_interleaved_producers_exactly_the_committed_records_are_visible() -> Result<()> {
    const STEPS: i32 = 240;
    let cluster = cluster()?;
    let topic = cluster.topic("interleaved", 2, &[])?;
    let mut players = players(&cluster)?;
    let mut dice = Dice(12_345);
    let mut expected = BTreeSet::new();
    let mut step = 0;
    while step < STEPS || players.iter().any(|player| player.open.is_some()) {
        step += 1;
        let index = usize::try_from(dice.throw(3))?;
        let player = &mut players[index];
        let Some(mut written) = player.open.take() else {
            if step < STEPS {
                player.writer.begin()?;
                player.open = Some(Vec::new());
            }
            continue;
        };
        match dice.throw(4) {
            0 => {
                player.writer.commit()?;
                expected.extend(written);
            }
            1 => player.writer.abort()?,
            _ => {
                let value = format!("{index}-{step}");
                player.writer.put(&topic, step % 2, "key", &value)?;
                player.writer.drain()?;
                written.push(value);
                player.open = Some(written);
            }
        }
    }
    let reading = cluster.read(&topic, &[0, 1], Isolation::Committed)?;
    let visible: BTreeSet<String> = reading.values().into_iter().map(str::to_owned).collect();
    assert_eq!(visible.len(), reading.records.len(), "no record is there twice");
    assert_eq!(visible, expected);
    Ok(())
}
