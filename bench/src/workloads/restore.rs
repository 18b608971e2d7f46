//! D: a lane of ten million rows whose disk is gone, or several lanes with as many. How long until all answer, against how
//! long it takes only to read the same topic?
//!
//! The changelog is written here, in the form in which a lane writes it: ten million instances that wait for a signal,
//! in checkpoints of 10,000 rows, which is where a lane under load ends one.

use super::{Curves, Ground};
use crate::client::Work;
use crate::figures::ms;
use crate::kafka::{self, Producer, Record};
use crate::peer::Values;
use crate::plan::SAKIA;
use crate::results::Results;
use crate::sides::measured;
use crate::subject::{Make, Subject, folder_mb};
use crate::usage::{peak_mb, resident_mb, seconds as cpu_seconds};
use anyhow::{Result, ensure};
use sakia::codec::group::Group;
use sakia::codec::{headers, key, row};
use sakia::core::history::{Mark, MarkKind, Turn, TurnInput};
use sakia::core::ids::{InstanceKey, OpId};
use sakia::core::state::{Instance, Key, OpenOp, Position, Row};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Instances, of a row each.
const ROWS: u64 = 10_000_000;
const ROUNDS: usize = 3;
/// Lanes that are restored at once, with as many rows in all.
const LANES: i32 = 8;
/// Rows of one checkpoint.
const CHECKPOINT: u64 = 10_000;
/// For one restore.
const LIMIT: Duration = Duration::from_secs(600);
const LOOK: Duration = Duration::from_millis(20);
/// The other side: a plain consumer.
pub(crate) const BARE: &str = "bare read";

pub(super) fn run(ground: &Ground<'_>, results: &mut Results, _curves: &mut Curves) -> Result<()> {
    compare(ground, "D", (1, ROUNDS), results)?;
    compare(ground, "D8", (LANES, 1), results)
}

/// Reads and restores the same rows, on so many lanes, in turn.
fn compare(
    ground: &Ground<'_>,
    workload: &str,
    (lanes, rounds): (i32, usize),
    results: &mut Results,
) -> Result<()> {
    let make = Make { lanes, ..Make::of(&format!("restore-{lanes}")) };
    let mut subject = Subject::down(&ground.places, &ground.broker, make)?;
    let changelog = format!("{}.changelog", subject.name());
    let written = fill(subject.brokers(), &changelog, lanes)?;
    let broker = subject.watched();
    for round in 0..rounds {
        results.add(measured(workload, BARE, round, &broker, || {
            let (began, cpu_s) = (Instant::now(), cpu_seconds(std::process::id())?);
            let records = kafka::read_through(subject.brokers(), &changelog, lanes)?;
            let seconds = began.elapsed().as_secs_f64();
            // The app has written a few more since the first round.
            ensure!(records >= written.records, "{records} records instead of {}", written.records);
            let mut values = figures(seconds, &written);
            values.insert("cpu_s".into(), cpu_seconds(std::process::id())? - cpu_s);
            Ok(values)
        })?);
        results.add(restore(&mut subject, workload, (lanes, round), &written)?);
    }
    Ok(())
}

/// What both sides read.
struct Written {
    /// Those of checkpoints' positions included.
    records: u64,
    /// Of keys, values and headers.
    bytes: u64,
}

fn figures(seconds: f64, written: &Written) -> Values {
    let Written { records, bytes } = *written;
    Values::from([
        ("seconds".into(), seconds),
        ("completed".into(), records as f64),
        ("records_per_second".into(), records as f64 / seconds),
        ("mb_per_second".into(), bytes as f64 / 1e6 / seconds),
    ])
}

/// From the start of a process without a disk to the results of the first command of each lane.
fn restore(
    subject: &mut Subject,
    workload: &str,
    (lanes, round): (i32, usize),
    written: &Written,
) -> Result<crate::results::Sample> {
    let state = subject.state(0);
    if state.exists() {
        std::fs::remove_dir_all(&state)?;
    }
    let mut client = subject.client_in_advance()?;
    let mut open =
        (0..lanes).map(|lane| client.start_on(lane, Work::Empty)).collect::<Result<BTreeSet<_>>>()?;
    client.acknowledged()?;
    let sample = measured(workload, SAKIA, round, &subject.watched(), || {
        let began = Instant::now();
        subject.revive(0)?;
        while !open.is_empty() {
            subject.check()?;
            if let Some((ended, _)) = client.next_result(LOOK)? {
                open.remove(&ended);
            }
            ensure!(began.elapsed() < LIMIT, "not every lane answers");
        }
        let mut values = figures(ms(began.elapsed()) / 1e3, written);
        let process = subject.process(0)?;
        values.insert("cpu_s".into(), cpu_seconds(process)?);
        values.insert("rss_mb".into(), resident_mb(process));
        values.insert("peak_mb".into(), peak_mb(process));
        values.insert("disk_mb".into(), folder_mb(&state));
        Ok(values)
    })?;
    subject.end(0, false)?;
    Ok(sample)
}

/// Writes the rows, as many to each lane.
fn fill(brokers: &str, changelog: &str, lanes: i32) -> Result<Written> {
    let producer = Producer::bulk(brokers, "bench-restore")?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis() as u64;
    let mut written = Written { records: 0, bytes: 0 };
    for (number, first) in (0..ROWS).step_by(CHECKPOINT as usize).enumerate() {
        let lane = i32::try_from(number)? % lanes;
        let checkpoint = number as u64 / lanes as u64 + 1;
        let mut rows = Vec::new();
        for n in first..first + CHECKPOINT {
            rows.push(suspended(n, now));
        }
        rows.push((
            Key::Position,
            Row::Position(Position { epoch: 1, checkpoint, now, ..Position::default() }),
        ));
        let count = u32::try_from(rows.len())?;
        producer.begin()?;
        for (index, (name, value)) in rows.iter().enumerate() {
            let place = Group { epoch: 1, checkpoint, index: u32::try_from(index)?, count };
            let record = Record {
                key: Some(key::encode(name).to_vec()),
                value: Some(row::encode(value).to_vec()),
                headers: vec![(headers::GROUP.into(), place.encode().to_vec())],
            };
            written.records += 1;
            written.bytes += record.size() as u64;
            producer.send_to(changelog, Some(lane), &record)?;
        }
        producer.acknowledged()?;
        producer.commit()?;
    }
    Ok(written)
}

/// The row of an instance that waits for a signal. Ids come in no order, as they do in life.
fn suspended(n: u64, now: u64) -> (Key, Row) {
    // An odd factor: no two numbers have the same product.
    let id = format!("order-{:016x}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let input = format!("{{\"order\":\"{id}\",\"customer\":{n},\"cents\":{}}}", n % 100_000);
    let name = InstanceKey::new("signal", id);
    let mark = Mark { id: OpId { branch: 0, number: 0 }, what: MarkKind::Receive(Arc::from("go")) };
    let open = OpenOp { mark: mark.clone(), since: now, until: 0 };
    let turn = Turn { at: now, input: TurnInput::Start(input.into()), asked: vec![mark] };
    let instance = Instance { turns: 1, open: vec![open], recent: vec![turn], ..Instance::new(now, None) };
    (Key::Instance(name), Row::Instance(Box::new(instance)))
}
