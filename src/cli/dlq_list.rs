//! `dlq list`: the newest dead letters.

use super::args::DlqListOptions;
use super::output::brief;
use super::times::Zone;
use super::topics_init::blocking;
use super::{Command, Exit, Failure, output};
use crate::codec::headers;
use crate::log::kafka::KafkaLog;
use crate::log::{Isolation, Log, LogError, Record};
use serde::Serialize;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

const POLL: Duration = Duration::from_millis(200);
/// A partition that gives nothing for so long is given up.
const SILENCE_MOST: Duration = Duration::from_secs(15);

/// A dead letter, as scripts see it.
#[derive(Debug, Serialize)]
struct Letter {
    time_ms: i64,
    partition: i32,
    offset: i64,
    origin_topic: String,
    origin_partition: String,
    origin_offset: String,
    key: String,
    code: String,
    text: String,
    value: Option<String>,
}

pub(super) async fn run(command: &Command, options: DlqListOptions) -> Result<(), Failure> {
    let (app, config) = (command.app.clone(), command.config.clone());
    let letters = blocking(move || {
        config.reach()?;
        let log = KafkaLog::new(config.kafka_config(&app))?;
        read(&log, &app, options.limit)
    })
    .await?;
    if command.json {
        return output::json(&letters);
    }
    if letters.is_empty() {
        return output::line("no dead letters");
    }
    let zone = Zone::local();
    let rows = letters.iter().map(|l| {
        vec![
            zone.date_time(u64::try_from(l.time_ms).unwrap_or(0)),
            l.code.clone(),
            format!("{} {}@{}", l.origin_topic, l.origin_partition, l.origin_offset),
            brief(&l.key, 40),
            brief(&l.text, 200),
        ]
    });
    let time = format!("TIME ({})", zone.name());
    output::line(&output::table(&[&time, "CODE", "WAS AT", "KEY", "WHAT IS WRONG"], rows.collect()))
}

fn read(log: &KafkaLog, app: &str, limit: usize) -> Result<Vec<Letter>, Failure> {
    let topic = format!("{app}.dlq");
    let Some(partitions) = log.admin().partitions(&topic)? else {
        let text = format!("app {app} has no topic {topic}: correct the app's name, or run `topics init`");
        return Err(Failure::new(Exit::Failed, text));
    };
    let mut all = Vec::new();
    for partition in 0..partitions {
        all.extend(newest(log, &topic, partition, limit)?);
    }
    all.sort_by_key(|l| (l.time_ms, l.partition, l.offset));
    all.drain(..all.len().saturating_sub(limit));
    Ok(all)
}

fn newest(log: &KafkaLog, topic: &str, partition: i32, limit: usize) -> Result<VecDeque<Letter>, LogError> {
    let range = log.offsets(topic, partition, Isolation::Committed)?;
    let mut kept = VecDeque::new();
    if range.start == range.end {
        return Ok(kept);
    }
    let mut reader = log.read(topic, partition, range.start, Isolation::Committed)?;
    let mut heard = Instant::now();
    while reader.position()? < range.end {
        match reader.next(POLL)? {
            Some(record) => {
                heard = Instant::now();
                kept.push_back(letter(&record));
                if kept.len() > limit {
                    kept.pop_front();
                }
            }
            None if heard.elapsed() > SILENCE_MOST => {
                let text = format!(
                    "topic {topic} partition {partition} gave nothing for 15 s; see the broker's log"
                );
                return Err(LogError::Unavailable(text));
            }
            None => {}
        }
    }
    Ok(kept)
}

fn letter(record: &Record) -> Letter {
    // A record that became a dead letter twice has two sets; the last is the latest.
    let header = |name: &str| {
        let found = record.headers.iter().rev().find(|(n, _)| n == name);
        found.map_or_else(|| "?".to_string(), |(_, v)| String::from_utf8_lossy(v).into_owned())
    };
    let text = |bytes: &bytes::Bytes| String::from_utf8_lossy(bytes).into_owned();
    Letter {
        time_ms: record.timestamp_ms,
        partition: record.partition,
        offset: record.offset,
        origin_topic: header(headers::ORIGIN_TOPIC),
        origin_partition: header(headers::ORIGIN_PARTITION),
        origin_offset: header(headers::ORIGIN_OFFSET),
        key: record.key.as_ref().map(text).unwrap_or_default(),
        code: header(headers::ERROR_CODE),
        text: header(headers::ERROR),
        value: record.value.as_ref().map(text),
    }
}
