//! A group member in a process of its own: `group_member BOOTSTRAP GROUP TOPIC [KEY=VALUE]...`.
//!
//! Prints the partitions that it owns, with commas, whenever they change. On the line `leave` it closes its consumer
//! and ends; on `unsubscribe` it gives its subscription up and goes on polling; when its standard input closes it ends
//! at once.

use std::io::{BufRead, Write};
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::time::Duration;

use anyhow::{Context, Result};
use sakia_integration::kit::Cluster;

const USAGE: &str = "usage: group_member BOOTSTRAP GROUP TOPIC [KEY=VALUE]...";

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [bootstrap, group, topic, settings @ ..] = arguments.as_slice() else {
        anyhow::bail!(USAGE);
    };
    let settings: Vec<(&str, &str)> =
        settings.iter().map(|setting| setting.split_once('=').context(USAGE)).collect::<Result<_>>()?;
    let orders = listen();
    let member = Cluster::new(bootstrap.as_str()).member(group, topic, &settings)?;
    let mut told = Vec::new();
    loop {
        match orders.try_recv().as_deref() {
            Err(TryRecvError::Empty) => {}
            Err(TryRecvError::Disconnected) => std::process::exit(1),
            // Never close right behind this: librdkafka then forgets, now and then, to tell the broker, and the
            // group waits for the end of the session (seen with 2.12.1 on Kafka 4.3.1 too).
            Ok("unsubscribe") => member.unsubscribe(),
            Ok(_) => break,
        }
        // Errors pass: the broker may be away, or a rebalance under way.
        let _ = member.poll(Duration::from_millis(20));
        let owned = member.owned_partitions()?;
        if owned != told {
            tell(&owned)?;
            told = owned;
        }
    }
    // A close without an unsubscribe before it is the reliable way to leave.
    drop(member);
    Ok(())
}

fn tell(owned: &[i32]) -> Result<()> {
    let text: Vec<String> = owned.iter().map(i32::to_string).collect();
    println!("{}", text.join(","));
    Ok(std::io::stdout().flush()?)
}

fn listen() -> Receiver<String> {
    let (sender, orders) = channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    orders
}
