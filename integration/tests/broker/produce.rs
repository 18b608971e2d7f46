//! Producing without transactions, and reading it back.

use std::time::Duration;

use anyhow::{Context, Result};
use rdkafka::message::{Header, Headers, Message, OwnedHeaders};
use sakia_integration::kit::Isolation;

use crate::cluster;

const POLL_PATIENCE: Duration = Duration::from_secs(10);

#[test]
fn idempotent_records_are_read_back_in_order_at_gapless_offsets() -> Result<()> {
    let cluster = cluster()?;
    let topic = cluster.topic("order", 3, &[])?;
    let mut writer = cluster.writer(&[("linger.ms", "5")])?;
    for number in 0..3000 {
        writer.put(&topic, number % 3, &format!("k{number}"), &format!("v{number}"))?;
    }
    assert_eq!(writer.drain()?, 3000);
    let reading = cluster.read(&topic, &[0, 1, 2], Isolation::Uncommitted)?;
    assert_eq!(reading.records.len(), 3000);
    for partition in 0..3 {
        let own = reading.records.iter().filter(|record| record.partition == partition);
        for (offset, record) in (0..).zip(own) {
            assert_eq!(record.offset, offset);
            assert_eq!(record.value, Some(format!("v{}", offset * 3 + i64::from(partition))));
        }
    }
    Ok(())
}

#[test]
fn headers_timestamps_and_missing_values_are_kept() -> Result<()> {
    let cluster = cluster()?;
    let topic = cluster.topic("details", 1, &[])?;
    let headers = OwnedHeaders::new()
        .insert(Header { key: "h1", value: Some("a") })
        .insert(Header { key: "h2", value: None::<&str> });
    let mut writer = cluster.writer(&[])?;
    writer.put_stamped(&topic, 1_700_000_000_000, headers)?;
    writer.put_tombstone(&topic, 0, "key")?;
    writer.drain()?;

    let reader = cluster.reader(&topic, &[0], Isolation::Committed)?;
    let first = reader.poll(POLL_PATIENCE).context("no first record")??;
    let headers = first.headers().context("no headers")?;
    let headers: Vec<_> = headers.iter().map(|header| (header.key, header.value)).collect();
    assert_eq!(headers, [("h1", Some(b"a".as_slice())), ("h2", None)]);
    assert_eq!(first.timestamp().to_millis(), Some(1_700_000_000_000));
    let second = reader.poll(POLL_PATIENCE).context("no second record")??;
    assert_eq!(second.payload(), None);
    Ok(())
}

#[test]
fn compressed_batches_and_a_record_of_900_kb_are_read_back() -> Result<()> {
    let cluster = cluster()?;
    let topic = cluster.topic("compressed", 1, &[])?;
    let padding = "x".repeat(200);
    let mut sent = Vec::new();
    for codec in ["gzip", "snappy", "lz4", "zstd"] {
        let mut writer = cluster.writer(&[("compression.codec", codec), ("linger.ms", "50")])?;
        for number in 0..50 {
            let value = format!("{codec}-{number}-{padding}");
            writer.put(&topic, 0, codec, &value)?;
            sent.push(value);
        }
        writer.drain().with_context(|| codec)?;
    }
    let mut writer = cluster.writer(&[])?;
    sent.push("x".repeat(900_000));
    writer.put(&topic, 0, "big", &"x".repeat(900_000))?;
    writer.drain()?;
    let reading = cluster.read(&topic, &[0], Isolation::Uncommitted)?;
    assert!(
        reading.values() == sent,
        "{} records read of {}, or not equal",
        reading.records.len(),
        sent.len()
    );
    Ok(())
}
