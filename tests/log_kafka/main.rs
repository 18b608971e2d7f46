//! The Kafka log against a broker: `SAKIA_TEST_BOOTSTRAP=host:port`, or the embedded one.
#![cfg(feature = "engine")]
#![expect(clippy::unwrap_used, reason = "helpers of tests; clippy exempts only the test functions")]

use bytes::Bytes;
use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use rdkafka::config::ClientConfig;
use rdkafka::producer::{BaseRecord, Producer, ThreadedProducer};
use sakia::log::kafka::{
    Admin, CommandFeed, FeedSink, IdempotentProducer, IngressWriter, KafkaConfig, KafkaLog, Membership,
    MembershipEvent, Offer, TopicPartition, partition_for,
};
use sakia::log::{Appended, Isolation, JournalAcks, LaneNames, Log, LogError, LogReader, NewRecord, Record};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

const WAIT: Duration = Duration::from_secs(30);

mod transactions;

mod broker {
    use super::KafkaConfig;
    use sakia_broker::{Broker, BrokerConfig};
    use std::sync::OnceLock;
    use std::time::Duration;

    /// The broker that the environment names, or one embedded broker for all tests of the process. It answers
    /// CONCURRENT_TRANSACTIONS for a while after each transaction, as a real cluster does.
    pub(super) fn config() -> KafkaConfig {
        static EMBEDDED: OnceLock<Broker> = OnceLock::new();
        KafkaConfig::new(std::env::var("SAKIA_TEST_BOOTSTRAP").unwrap_or_else(|_| {
            let window = Duration::from_millis(2);
            let settings = BrokerConfig { concurrent_transactions_window: window, ..BrokerConfig::default() };
            EMBEDDED.get_or_init(|| Broker::start(settings).unwrap()).bootstrap()
        }))
    }
}

fn fresh(what: &str) -> String {
    static N: AtomicU64 = AtomicU64::new(0);
    let t = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_micros();
    format!("{what}-{t}-{}", N.fetch_add(1, Ordering::SeqCst))
}

fn topic(c: &KafkaConfig, what: &str, partitions: i32) -> String {
    let name = fresh(what);
    assert!(Admin::new(c).unwrap().create_topic(&name, partitions, None, &[]).unwrap());
    name
}

struct Acks(Sender<Appended>);
impl JournalAcks for Acks {
    fn appended(&self, what: Appended) {
        drop(self.0.send(what));
    }
}

fn acks() -> (Arc<Acks>, Receiver<Appended>) {
    let (tx, rx) = unbounded();
    (Arc::new(Acks(tx)), rx)
}

fn lane(c: &KafkaConfig) -> LaneNames {
    LaneNames {
        app: fresh("app").into(),
        partition: 1,
        journal: topic(c, "journal", 2).into(),
        changelog: topic(c, "changelog", 2).into(),
    }
}

fn record(topic: &str, partition: Option<i32>, key: &str, value: &str) -> NewRecord {
    NewRecord {
        topic: topic.into(),
        partition,
        key: Some(Bytes::copy_from_slice(key.as_bytes())),
        value: Some(Bytes::copy_from_slice(value.as_bytes())),
        headers: vec![("h".into(), Bytes::from_static(b"1")), ("h".into(), Bytes::new())],
    }
}

fn durable(rx: &Receiver<Appended>) -> (u64, i64) {
    match rx.recv_timeout(WAIT).unwrap() {
        Appended::Durable { seq, offset } => (seq, offset),
        Appended::Lost(e) => panic!("lost: {e}"),
    }
}

/// Reads until the position has reached the end that ListOffsets tells.
fn read_all(log: &KafkaLog, topic: &str, partition: i32, isolation: Isolation) -> Vec<Record> {
    let range = log.offsets(topic, partition, isolation).unwrap();
    let mut r = log.read(topic, partition, range.start, isolation).unwrap();
    read_to(&mut *r, range.end)
}

fn read_to(r: &mut dyn LogReader, end: i64) -> Vec<Record> {
    let began = Instant::now();
    let mut all = Vec::new();
    while r.position().unwrap() < end {
        all.extend(r.next(Duration::from_millis(100)).unwrap());
        assert!(began.elapsed() < WAIT, "position {} never reached {end}", r.position().unwrap());
    }
    all
}

fn values(records: &[Record]) -> Vec<String> {
    records.iter().map(|r| String::from_utf8_lossy(r.value.as_deref().unwrap_or(b"-")).into_owned()).collect()
}

fn raw_transaction(
    c: &KafkaConfig,
    topic: &str,
    value: &str,
) -> ThreadedProducer<rdkafka::producer::DefaultProducerContext> {
    let p: ThreadedProducer<_> = ClientConfig::new()
        .set("bootstrap.servers", &c.bootstrap)
        .set("transactional.id", fresh("raw"))
        .create()
        .unwrap();
    p.init_transactions(WAIT).unwrap();
    p.begin_transaction().unwrap();
    p.send(BaseRecord::<str, str>::to(topic).partition(0).payload(value)).map_err(|e| e.0).unwrap();
    while p.in_flight_count() > 0 {
        std::thread::yield_now();
    }
    p
}

/// The end for committed readers is the last stable offset, for others the high watermark.
/// A broker that has just started may not know a topic for a moment; a client must not go on believing that.
#[test]
fn a_topic_that_was_unknown_is_found_as_soon_as_it_is_there() {
    let c = broker::config();
    let log = KafkaLog::new(c.clone()).unwrap();
    for _ in 0..3 {
        let name = fresh("late");
        let unknown = log.offsets(&name, 0, Isolation::Committed).unwrap_err();
        assert!(matches!(&unknown, LogError::Unavailable(_)), "{unknown}");
        assert!(Admin::new(&c).unwrap().create_topic(&name, 1, None, &[]).unwrap());
        let began = Instant::now();
        while log.offsets(&name, 0, Isolation::Committed).is_err() {
            assert!(began.elapsed() < WAIT, "it is there, but not for this client");
        }
    }
}

#[test]
fn an_open_transaction_holds_back_the_committed_end() {
    let c = broker::config();
    let log = KafkaLog::new(c.clone()).unwrap();
    let t = topic(&c, "lso", 1);
    let both = || {
        let o = |i| log.offsets(&t, 0, i).unwrap().end;
        (o(Isolation::Committed), o(Isolation::Uncommitted))
    };
    assert_eq!(both(), (0, 0));
    let p = raw_transaction(&c, &t, "x");
    assert_eq!(both(), (0, 1));
    p.commit_transaction(WAIT).unwrap();
    let began = Instant::now();
    while both() != (2, 2) {
        assert!(began.elapsed() < WAIT);
    }
    // A broker that has just started says the same of topics that it has not heard of yet: nothing to stop a lane for.
    let unknown = |topic: &str, partition| match log.offsets(topic, partition, Isolation::Committed) {
        Err(LogError::Unavailable(text)) => text,
        other => panic!("{other:?}"),
    };
    assert!(unknown(&t, 5).contains(&t));
    assert!(unknown("no-such-topic", 0).contains("no-such-topic"));
}

/// Aborted records directly below the last stable offset leave no marker below it: no record and no control record
/// moves the position, but it has to get there.
#[test]
fn the_position_reaches_an_end_behind_aborted_records_without_a_marker() {
    let c = broker::config();
    let log = KafkaLog::new(c.clone()).unwrap();
    let t = topic(&c, "abort", 1);
    let a = raw_transaction(&c, &t, "aborted");
    let b = raw_transaction(&c, &t, "open");
    a.abort_transaction(WAIT).unwrap();
    let began = Instant::now();
    while log.offsets(&t, 0, Isolation::Committed).unwrap().end < 1 {
        assert!(began.elapsed() < WAIT);
    }
    assert_eq!(log.offsets(&t, 0, Isolation::Committed).unwrap().end, 1);
    let began = Instant::now();
    assert!(read_all(&log, &t, 0, Isolation::Committed).is_empty());
    println!("position without records or markers: {:?}", began.elapsed());
    assert_eq!(values(&read_all(&log, &t, 0, Isolation::Uncommitted)), ["aborted", "open"]);
    b.commit_transaction(WAIT).unwrap();
}

#[test]
fn appends_are_acknowledged_in_order_and_survive_rolls() {
    let c = broker::config();
    let log = KafkaLog::new(c.clone()).unwrap();
    let names = lane(&c);
    let (a, rx) = acks();
    let mut w = log.open_lane(&names, a, WAIT).unwrap();
    w.journal.roll().unwrap();
    for seq in 0..300 {
        w.journal.append(seq, Bytes::from(format!("{seq}"))).unwrap();
        if seq % 100 == 50 {
            assert!(
                matches!(w.journal.roll(), Err(LogError::Unavailable(_))),
                "rolled with records in flight"
            );
        }
        if seq % 100 == 99 {
            for s in seq - 99..=seq {
                assert_eq!(durable(&rx).0, s);
            }
            let began = Instant::now();
            w.journal.roll().unwrap();
            assert!(began.elapsed() < Duration::from_millis(80), "a roll took {:?}", began.elapsed());
        }
    }
    let found = read_all(&log, &names.journal, 1, Isolation::Uncommitted);
    assert_eq!(values(&found), (0..300).map(|i| i.to_string()).collect::<Vec<_>>());
    let big = Bytes::from(vec![0; 3 << 20]);
    assert!(matches!(w.journal.append(300, big), Err(LogError::Refused(_))));
    w.journal.append(300, Bytes::from_static(b"last")).unwrap();
    durable(&rx);
    w.journal.close().unwrap();
    assert!(matches!(w.journal.append(301, Bytes::new()), Err(LogError::Lost(_))));
}

/// 10 take-overs in the middle of a stream of appends: what was acknowledged is there, nothing comes after the fence.
#[test]
fn a_new_owner_fences_the_old_one() {
    let c = broker::config();
    let log = KafkaLog::new(c.clone()).unwrap();
    let names = lane(&c);
    let mut acked = Vec::new();
    let mut owners = Vec::new();
    for epoch in 0..5 {
        let (a, rx) = acks();
        let mut w = log.open_lane(&names, a, WAIT).unwrap();
        let at_fence = read_all(&log, &names.journal, 1, Isolation::Uncommitted).len();
        if let Some((mut old, rx)) = owners.pop() {
            let old: &mut sakia::log::LaneWriter = &mut old;
            let rx: Receiver<Appended> = rx;
            let refused = old.journal.append(99, Bytes::from_static(b"zombie"));
            if refused.is_ok() {
                assert!(matches!(rx.recv_timeout(WAIT).unwrap(), Appended::Lost(_)));
            }
            let e = old.journal.append(100, Bytes::from_static(b"zombie")).unwrap_err();
            assert!(matches!(e, LogError::Lost(_)), "{e}");
            println!("old owner: {e}");
            let e = old.checkpoints[0].produce(&[record(&names.changelog, Some(1), "k", "zombie")]);
            assert!(matches!(e, Err(LogError::Lost(_))), "{e:?}");
            println!("old owner: {}", e.unwrap_err());
            assert!(rx.try_recv().is_err(), "only the first loss is reported");
        }
        assert_eq!(read_all(&log, &names.journal, 1, Isolation::Uncommitted).len(), at_fence);
        assert!(at_fence >= acked.len());
        for seq in 0..20 {
            w.journal.append(seq, Bytes::from(format!("{epoch}.{seq}"))).unwrap();
            durable(&rx);
            acked.push(format!("{epoch}.{seq}"));
        }
        owners.push((w, rx));
    }
    assert_eq!(values(&read_all(&log, &names.journal, 1, Isolation::Uncommitted)), acked);
    assert!(read_all(&log, &names.changelog, 1, Isolation::Committed).is_empty());
}

/// A commit is answered when it is decided; its markers, and with them its records' visibility, follow a moment later.
fn read_visible(log: &KafkaLog, topic: &str, count: usize) -> Vec<Record> {
    let deadline = Instant::now() + WAIT;
    loop {
        let found = read_all(log, topic, 1, Isolation::Committed);
        if found.len() >= count || Instant::now() > deadline {
            return found;
        }
    }
}

#[test]
fn a_deleted_start_is_broken_and_says_so() {
    let c = broker::config();
    let log = KafkaLog::new(c.clone()).unwrap();
    let t = topic(&c, "trim", 1);
    let p = IdempotentProducer::new(&c).unwrap();
    for i in 0..10 {
        let d = p.send(&record(&t, Some(0), "k", &i.to_string())).unwrap();
        assert_eq!(futures::executor::block_on(d).unwrap().unwrap(), (0, i));
    }
    log.trim(&t, 0, 6).unwrap();
    log.trim(&t, 0, 3).unwrap();
    assert_eq!(log.offsets(&t, 0, Isolation::Committed).unwrap().start, 6);
    let mut r = log.read(&t, 0, 2, Isolation::Committed).unwrap();
    let began = Instant::now();
    let e = loop {
        match r.next(Duration::from_millis(100)) {
            Ok(None) => assert!(began.elapsed() < WAIT),
            Ok(Some(r)) => panic!("read {r:?}"),
            Err(e) => break e,
        }
    };
    assert!(
        matches!(&e, LogError::Broken(s) if s.contains(&t) && s.contains("offset 2") && s.contains("6..10")),
        "{e}"
    );
}

#[test]
fn the_feed_loses_nothing_behind_a_slow_taker() {
    let c = broker::config();
    let t = topic(&c, "feed", 2);
    let p = IdempotentProducer::new(&c).unwrap();
    let n = 20_000;
    let sent: Vec<_> =
        (0..n).map(|i| p.send(&record(&t, Some(i % 2), "k", &i.to_string())).unwrap()).collect();
    for d in sent {
        futures::executor::block_on(d).unwrap().unwrap();
    }
    let feed = CommandFeed::open(&c).unwrap();
    let (slow, slow_rx) = bounded(1);
    let (fast, fast_rx) = bounded(1000);
    feed.add(&t, 0, 5, slow.clone()).unwrap();
    feed.add(&t, 1, 0, fast).unwrap();
    assert!(matches!(feed.add(&t, 1, 0, slow), Err(LogError::Refused(_))));
    let drain = |rx: &Receiver<Result<Vec<Record>, LogError>>, from: i64, to: i64, nap: u64| {
        let mut next = from;
        while next < to {
            for r in rx.recv_timeout(WAIT).unwrap().unwrap() {
                assert_eq!(r.offset, next);
                next += 1;
            }
            std::thread::sleep(Duration::from_millis(nap));
        }
    };
    let half = i64::from(n / 2);
    drain(&fast_rx, 0, half, 0);
    drain(&slow_rx, 5, half, 30);
    // Live.
    let began = Instant::now();
    drop(p.send(&record(&t, Some(0), "k", "live")).unwrap());
    drain(&slow_rx, half, half + 1, 0);
    println!("live record after {:?}", began.elapsed());
    feed.remove(&t, 0).unwrap();
    assert!(slow_rx.recv_timeout(Duration::from_secs(1)).is_err(), "the sink is dropped");
    // Beyond the end: an error that names it, and the other partition goes on.
    let (lost, lost_rx) = bounded(4);
    feed.add(&t, 0, half + 100, lost).unwrap();
    let e = lost_rx.recv_timeout(WAIT).unwrap().unwrap_err();
    assert!(matches!(&e, LogError::Broken(s) if s.contains(&t)), "{e}");
    drop(p.send(&record(&t, Some(1), "k", "live")).unwrap());
    drain(&fast_rx, half, half + 1, 0);
}

/// Has never room. Tells how many records it was offered.
struct Full(Sender<usize>);

impl FeedSink for Full {
    fn offer(&mut self, batch: Vec<Record>) -> Offer {
        self.0.send(batch.len()).unwrap();
        Offer::Full(batch)
    }
    fn failed(&mut self, error: LogError) {
        panic!("{error}");
    }
}

#[test]
fn a_partition_that_was_removed_while_its_taker_was_full_is_fed_again() {
    let c = broker::config();
    let t = topic(&c, "feed-again", 1);
    let p = IdempotentProducer::new(&c).unwrap();
    // More than may wait.
    let (large, many) = ("v".repeat(900_000), 6);
    for _ in 0..many {
        futures::executor::block_on(p.send(&record(&t, Some(0), "k", &large)).unwrap()).unwrap().unwrap();
    }
    let feed = CommandFeed::open(&c).unwrap();
    let (offered, offers) = unbounded();
    feed.add(&t, 0, 0, Full(offered)).unwrap();
    // At the second such offer the answer to the first one has been acted upon: the partition is paused.
    for _ in 0..2 {
        while offers.recv_timeout(WAIT).unwrap() < many - 1 {}
    }
    feed.remove(&t, 0).unwrap();
    let (taker, taken) = bounded(4);
    feed.add(&t, 0, 0, taker).unwrap();
    let mut next = 0;
    while next < i64::try_from(many).unwrap() {
        for record in taken.recv_timeout(WAIT).unwrap().unwrap() {
            assert_eq!(record.offset, next);
            next += 1;
        }
    }
}

type Events = Receiver<(&'static str, Vec<TopicPartition>)>;

fn join(c: &KafkaConfig, group: &str, t: &str) -> (Membership, Events) {
    join_as(c, group, t, None)
}

fn join_as(c: &KafkaConfig, group: &str, t: &str, static_id: Option<&str>) -> (Membership, Events) {
    let (tx, rx) = unbounded();
    let id = static_id.map(str::to_owned);
    let m = Membership::join(c, group, &[t.to_owned()], id, Duration::from_secs(6), move |e| {
        let told = match e {
            MembershipEvent::Assigned(p) => ("assigned", p),
            MembershipEvent::Revoked { partitions, lost: false } => ("revoked", partitions),
            MembershipEvent::Revoked { partitions, lost: true } => ("lost", partitions),
            MembershipEvent::Failed(e) => panic!("failed: {e}"),
        };
        drop(tx.send(told));
    })
    .unwrap();
    (m, rx)
}

fn count(rx: &Events, what: &str, n: usize) {
    let mut seen = 0;
    while seen < n {
        let (kind, list) = rx.recv_timeout(WAIT).unwrap_or_else(|e| panic!("{what}: {seen} of {n}: {e}"));
        assert_eq!(kind, what, "{list:?}");
        seen += list.len();
    }
    assert_eq!(seen, n);
}

#[test]
fn the_lanes_of_a_static_member_that_ends_cleanly_wait_for_it() {
    let c = broker::config();
    let t = topic(&c, "static", 6);
    let group = fresh("g");
    let (_one, one_rx) = join_as(&c, &group, &t, Some("one"));
    count(&one_rx, "assigned", 6);
    let (two, two_rx) = join_as(&c, &group, &t, Some("two"));
    count(&one_rx, "revoked", 3);
    count(&two_rx, "assigned", 3);
    two.leave();
    count(&two_rx, "revoked", 3);
    let (_again, again_rx) = join_as(&c, &group, &t, Some("two"));
    count(&again_rx, "assigned", 3);
    // Had the group been told, these lanes would have gone to the other member first, and come back from there. It may
    // be told of rebalances that bring nothing.
    assert!(one_rx.try_iter().all(|(_, moved)| moved.is_empty()), "lanes moved");
}

#[test]
fn the_group_hands_out_lanes_and_takes_them_back() {
    let c = broker::config();
    let t = topic(&c, "group", 6);
    let group = fresh("g");
    let (one, one_rx) = join(&c, &group, &t);
    count(&one_rx, "assigned", 6);
    assert_eq!(one.committed(&t, 3).unwrap(), None);
    one.commit_offsets(&[(&t, 3, 17), (&t, 4, 1)]).unwrap();
    let began = Instant::now();
    while one.committed(&t, 3).unwrap() != Some(17) {
        assert!(began.elapsed() < WAIT);
    }
    let (two, two_rx) = join(&c, &group, &t);
    count(&one_rx, "revoked", 3);
    count(&two_rx, "assigned", 3);
    let began = Instant::now();
    two.leave();
    println!("leave took {:?}", began.elapsed());
    count(&two_rx, "revoked", 3);
    count(&one_rx, "assigned", 3);
    // Within a heartbeat or two; without a LeaveGroup it would take the session timeout, 6 s.
    assert!(began.elapsed() < Duration::from_secs(5), "the leave was noticed after {:?}", began.elapsed());
    println!("clean leave to reassignment: {:?}", began.elapsed());
    one.leave();
    count(&one_rx, "revoked", 6);
}

#[test]
fn ingress_moves_records_with_their_offset() {
    let c = broker::config();
    let (from, to, group) = (topic(&c, "from", 1), topic(&c, "to", 4), fresh("g"));
    let log = KafkaLog::new(c.clone()).unwrap();
    let (m, rx) = join(&c, &group, &from);
    count(&rx, "assigned", 1);
    let id = fresh("ingress");
    let mut w = IngressWriter::open(&c, &id, &to, WAIT).unwrap();
    let batch: Vec<_> = (0..20).map(|i| record(&to, None, &format!("key-{i}"), &i.to_string())).collect();
    w.move_batch(&batch, &from, 0, 20, &m).unwrap();
    assert_eq!(m.committed(&from, 0).unwrap(), Some(20));
    w.move_batch(&[], &from, 0, 21, &m).unwrap();
    assert_eq!(m.committed(&from, 0).unwrap(), Some(21));
    // librdkafka's choice of a partition is the one that we compute.
    let mut seen = 0;
    for p in 0..4 {
        for r in read_all(&log, &to, p, Isolation::Committed) {
            assert_eq!(partition_for(r.key.as_deref().unwrap(), 4), p);
            seen += 1;
        }
    }
    assert_eq!(seen, 20);
    let mut new = IngressWriter::open(&c, &id, &to, WAIT).unwrap();
    let e = w.move_batch(&batch, &from, 0, 41, &m).unwrap_err();
    assert!(matches!(e, LogError::Lost(_)), "{e}");
    new.move_batch(&batch, &from, 0, 41, &m).unwrap();
    m.leave();
}

/// A record that the broker refuses (its limit is below the producer's) harms nothing that follows.
#[test]
fn the_clients_producer_survives_a_refused_record() {
    let c = broker::config();
    let t = topic(&c, "plain", 1);
    let p = IdempotentProducer::new(&c).unwrap();
    let send = |r: &NewRecord| futures::executor::block_on(p.send(r).unwrap()).unwrap();
    assert_eq!(send(&record(&t, Some(0), "k", "1")).unwrap(), (0, 0));
    let mut large = record(&t, Some(0), "k", "");
    large.value = Some(Bytes::from(vec![7; 1_500_000]));
    assert!(matches!(send(&large), Err(LogError::Refused(_))));
    assert_eq!(send(&record(&t, Some(0), "k", "2")).unwrap(), (0, 1));
    large.value = Some(Bytes::from(vec![7; 3_000_000]));
    assert!(matches!(p.send(&large), Err(LogError::Refused(_))));
    assert!(matches!(send(&record("no-such-topic", None, "k", "")), Err(LogError::Refused(_))));
}

#[test]
fn the_administrator_knows_topics_and_cluster() {
    let c = broker::config();
    let a = Admin::new(&c).unwrap();
    let t = fresh("admin");
    assert_eq!(a.partitions(&t).unwrap(), None);
    assert!(
        a.create_topic(&t, 3, None, &[("cleanup.policy", "compact"), ("segment.bytes", "67108864")]).unwrap()
    );
    assert!(!a.create_topic(&t, 3, None, &[]).unwrap());
    assert_eq!(a.partitions(&t).unwrap(), Some(3));
    let s = a.settings(&t).unwrap();
    assert_eq!((s["cleanup.policy"].as_str(), s["segment.bytes"].as_str()), ("compact", "67108864"));
    assert!(!a.cluster_id().unwrap().is_empty());
    let e = a.create_topic(&fresh("bad"), 1, None, &[("no.such.setting", "1")]).unwrap_err();
    assert!(matches!(e, LogError::Refused(_)), "{e}");
}
