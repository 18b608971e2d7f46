//! Volume: everything arrives exactly once. The rates are printed (`--nocapture`), never judged.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use sakia_integration::kit::{Cluster, Isolation, Writer};

use crate::cluster;

const RECORDS: usize = 100_000;
const RECORDS_PER_TRANSACTION: usize = 100;
const PARTITIONS: [i32; 4] = [0, 1, 2, 3];
const READ_DEADLINE: Duration = Duration::from_secs(180);

/// Reads until every number has come once; a number that comes twice, or out of its partition's order, is an error.
fn read_each_once(cluster: &Cluster, topic: &str) -> Result<()> {
    let reader = cluster.reader(topic, &PARTITIONS, Isolation::Committed)?;
    let mut next = PARTITIONS.map(i64::from);
    let began = Instant::now();
    let mut count = 0;
    while count < RECORDS {
        ensure!(began.elapsed() < READ_DEADLINE, "{count} of {RECORDS} records read");
        let message = match reader.poll(Duration::from_millis(100)) {
            None | Some(Err(KafkaError::PartitionEOF(_))) => continue,
            Some(message) => message?,
        };
        let text = std::str::from_utf8(message.key().context("no key")?)?;
        let expected = &mut next[usize::try_from(message.partition())?];
        ensure!(text.parse() == Ok(*expected), "{text} came instead of {expected}");
        *expected += 4;
        count += 1;
    }
    let end: i64 =
        PARTITIONS.iter().map(|&partition| Ok(cluster.watermarks(topic, partition)?.1)).sum::<Result<_>>()?;
    ensure!(end >= i64::try_from(RECORDS)?, "the log ends at {end}");
    Ok(())
}

fn write_and_read(what: &str, mut writer: Writer, per_transaction: Option<usize>) -> Result<()> {
    let cluster = cluster()?;
    let topic = cluster.topic("volume", 4, &[])?;
    let began = Instant::now();
    let reader = {
        let (cluster, topic) = (cluster.clone(), topic.clone());
        std::thread::spawn(move || read_each_once(&cluster, &topic))
    };
    let value = "x".repeat(1024);
    for number in 0..RECORDS {
        let starts = per_transaction.is_some_and(|size| number % size == 0);
        if starts {
            writer.begin()?;
        }
        writer.put(&topic, i32::try_from(number % 4)?, &number.to_string(), &value)?;
        if per_transaction.is_some_and(|size| number % size == size - 1) {
            writer.commit().with_context(|| format!("at record {number}"))?;
        }
    }
    assert_eq!(writer.drain()?, RECORDS as u64);
    let written = began.elapsed().as_secs_f64();
    reader.join().map_err(|_| anyhow::anyhow!("the reader panicked"))??;
    let read = began.elapsed().as_secs_f64();
    let rate = |seconds: f64| RECORDS as f64 / seconds;
    println!("{what}: {:.0} records/s written, {:.0} records/s end to end", rate(written), rate(read));
    // Nothing more may be in the log than was written: a retry that was stored twice would show here.
    assert_eq!(cluster.read(&topic, &PARTITIONS, Isolation::Committed)?.records.len(), RECORDS);
    Ok(())
}

#[test]
fn a_hundred_thousand_plain_records_arrive_exactly_once() -> Result<()> {
    let writer = cluster()?.writer(&[("linger.ms", "5")])?;
    write_and_read("plain", writer, None)
}

#[test]
fn a_hundred_thousand_records_in_transactions_arrive_exactly_once() -> Result<()> {
    let cluster = cluster()?;
    let writer = cluster.owner_of(&cluster.unique("id"))?;
    write_and_read("transactions of a hundred", writer, Some(RECORDS_PER_TRANSACTION))
}

/// The median and the 99th of a hundred, in milliseconds.
fn percentiles(mut times: Vec<Duration>) -> (f64, f64) {
    times.sort_unstable();
    let at = |percent: usize| times[(times.len() - 1) * percent / 100].as_secs_f64() * 1e3;
    (at(50), at(99))
}

#[test]
fn single_records_arrive_exactly_once_plainly_and_in_transactions() -> Result<()> {
    const ROUNDS: usize = 300;
    let cluster = cluster()?;
    let topic = cluster.topic("single", 1, &[])?;
    let mut plain = cluster.writer(&[])?;
    let mut owner = cluster.owner_of(&cluster.unique("id"))?;
    let (mut plain_times, mut transaction_times) = (Vec::new(), Vec::new());
    let value = "x".repeat(200);
    for number in 0..ROUNDS {
        let began = Instant::now();
        plain.put(&topic, 0, &format!("plain-{number}"), &value)?;
        plain.drain()?;
        plain_times.push(began.elapsed());
        let began = Instant::now();
        owner.begin()?;
        owner.put(&topic, 0, &format!("transaction-{number}"), &value)?;
        owner.commit()?;
        transaction_times.push(began.elapsed());
    }
    for (what, times) in [("produce", plain_times), ("transaction", transaction_times)] {
        let (median, slow) = percentiles(times);
        println!("{what} of one record: p50 {median:.1} ms, p99 {slow:.1} ms");
    }
    let reading = cluster.read(&topic, &[0], Isolation::Committed)?;
    let keys: Vec<&str> = reading.records.iter().filter_map(|record| record.key.as_deref()).collect();
    let expected: Vec<String> =
        (0..ROUNDS).flat_map(|n| [format!("plain-{n}"), format!("transaction-{n}")]).collect();
    assert_eq!(keys, expected);
    Ok(())
}
