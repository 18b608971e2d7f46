//! A group member in a process of its own: `group_member BOOTSTRAP GROUP TOPIC [KEY=VALUE]...`.
//!
//! Prints the partitions that it owns, with commas, whenever they change. On the line `leave` it closes its consumer
//! and ends; when its standard input closes it ends at once.

use std::io::{BufRead, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
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
    let leaving = listen_for_leave();
    let member = Cluster::new(bootstrap.as_str()).member(group, topic, &settings)?;
    let mut told = Vec::new();
    while !leaving.load(Ordering::Relaxed) {
        // Errors pass: the broker may be away, or a rebalance under way.
        let _ = member.poll(Duration::from_millis(50));
        let owned = member.owned_partitions()?;
        if owned != told {
            tell(&owned)?;
            told = owned;
        }
    }
    drop(member);
    Ok(())
}

fn tell(owned: &[i32]) -> Result<()> {
    let text: Vec<String> = owned.iter().map(i32::to_string).collect();
    println!("{}", text.join(","));
    Ok(std::io::stdout().flush()?)
}

fn listen_for_leave() -> Arc<AtomicBool> {
    let leaving = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&leaving);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if line == "leave" {
                flag.store(true, Ordering::Relaxed);
                return;
            }
        }
        std::process::exit(1);
    });
    leaving
}
