//! Start, stop, start again, and what goes wrong with ports and folders. Talks to the broker in bytes.
#![expect(clippy::expect_used, reason = "a test helper may panic")]

use sakia_broker::{Api, Broker, BrokerConfig, BrokerError};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// One ApiVersions request, version 0, without a client id; gives the correlation id of the answer.
fn ask(stream: &mut TcpStream) -> std::io::Result<i32> {
    let request = [0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 77, 0xff, 0xff];
    stream.write_all(&request)?;
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let mut body = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut body)?;
    Ok(i32::from_be_bytes([body[0], body[1], body[2], body[3]]))
}

fn connect(broker: &Broker) -> TcpStream {
    let stream = TcpStream::connect(broker.bootstrap()).expect("the broker listens");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout that is not zero");
    stream
}

#[test]
fn a_stopped_broker_starts_again_at_once_on_the_same_port_and_folder() {
    let dir = tempfile::tempdir().unwrap();
    let folder = Some(dir.path().join("data"));
    let mut port = 0;
    for _ in 0..5 {
        let config = BrokerConfig { port, data_dir: folder.clone(), ..BrokerConfig::default() };
        let mut broker = Broker::start(config).unwrap();
        port = broker.port();
        let mut client = connect(&broker);
        assert_eq!(ask(&mut client).unwrap(), 77);
        broker.stop();
        assert!(ask(&mut client).is_err(), "the connection is closed");
    }
}

#[test]
fn a_port_in_use_is_named_in_the_error() {
    let first = Broker::start(BrokerConfig::default()).unwrap();
    let began = Instant::now();
    let error = Broker::start(BrokerConfig { port: first.port(), ..BrokerConfig::default() }).unwrap_err();
    assert!(matches!(error, BrokerError::PortInUse { port } if port == first.port()), "{error:?}");
    assert!(error.to_string().contains(&format!("port {} on 127.0.0.1 is already in use", first.port())));
    assert!(began.elapsed() < Duration::from_secs(10));
}

#[test]
fn a_folder_in_use_is_named_in_the_error() {
    let dir = tempfile::tempdir().unwrap();
    let config = BrokerConfig { data_dir: Some(dir.path().to_owned()), ..BrokerConfig::default() };
    let first = Broker::start(config.clone()).unwrap();
    let error = Broker::start(config.clone()).unwrap_err();
    assert!(matches!(error, BrokerError::DataDirLocked { .. }), "{error:?}");
    drop(first);
    Broker::start(config).unwrap();
}

#[test]
fn a_folder_that_cannot_be_made_is_named_in_the_error() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let config = BrokerConfig { data_dir: Some(file.path().join("data")), ..BrokerConfig::default() };
    let error = Broker::start(config).unwrap_err();
    assert!(matches!(error, BrokerError::DataDirNotWritable { .. }), "{error:?}");
}

#[test]
fn two_brokers_live_in_one_process() {
    let (a, b) =
        (Broker::start(BrokerConfig::default()).unwrap(), Broker::start(BrokerConfig::default()).unwrap());
    assert_ne!(a.port(), b.port());
    assert_eq!(ask(&mut connect(&a)).unwrap(), 77);
    assert_eq!(ask(&mut connect(&b)).unwrap(), 77);
}

#[test]
fn answers_are_dropped_held_and_counted_on_request() {
    let broker = Broker::start(BrokerConfig::default()).unwrap();
    let faults = broker.faults();
    faults.drop_next_answers(Api::ApiVersions, 1);
    assert!(ask(&mut connect(&broker)).is_err());
    let held = Duration::from_millis(150);
    faults.hold_next_answers(Api::ApiVersions, 1, held);
    let began = Instant::now();
    assert_eq!(ask(&mut connect(&broker)).unwrap(), 77);
    assert!(began.elapsed() >= held);
    assert_eq!(faults.requests_seen(Api::ApiVersions), 2);
}

#[test]
fn nonsense_closes_the_connection_and_hurts_nobody_else() {
    let broker = Broker::start(BrokerConfig::default()).unwrap();
    for nonsense in [
        &[0xff; 64][..],
        &[0, 0, 0, 2, 0, 0],
        &[0, 0, 0, 8, 0, 0, 0, 99, 1, 2, 3, 4],
        b"GET / HTTP/1.1\r\n\r\n",
    ] {
        let mut bad = connect(&broker);
        bad.write_all(nonsense).unwrap();
        let mut rest = Vec::new();
        let _ = bad.read_to_end(&mut rest);
        assert!(rest.is_empty());
    }
    assert_eq!(ask(&mut connect(&broker)).unwrap(), 77);
}
