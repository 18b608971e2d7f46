//! Requests that rdkafka's safe interface does not offer, written by hand.

use std::io::{Read, Write};
use std::net::TcpStream;

use anyhow::{Context, Result, ensure};

use super::cluster::{Cluster, REQUEST_TIMEOUT};

const INCREMENTAL_ALTER_CONFIGS: i16 = 44;
const RESOURCE_TOPIC: u8 = 2;
const OPERATION_SET: u8 = 0;
const ANSWER_LIMIT_BYTES: usize = 1 << 20;

/// Sets one setting of a topic with IncrementalAlterConfigs (version 0), which leaves all others alone.
pub fn set_topic_config(cluster: &Cluster, topic: &str, key: &str, value: &str) -> Result<()> {
    let mut body = Vec::new();
    put_i32(&mut body, 1);
    body.push(RESOURCE_TOPIC);
    put_string(&mut body, topic)?;
    put_i32(&mut body, 1);
    put_string(&mut body, key)?;
    body.push(OPERATION_SET);
    put_string(&mut body, value)?;
    body.push(0); // validate_only
    let answer = exchange(cluster, INCREMENTAL_ALTER_CONFIGS, 0, &body)?;
    // throttle time, number of answers, then the first answer's error code
    let count = answer.get(4..8).context("the answer is too short")?;
    ensure!(count == [0, 0, 0, 1], "one answer was expected, not {count:?}");
    let code = answer.get(8..10).context("the answer is too short")?;
    ensure!(code == [0, 0], "refused with error code {}", i16::from_be_bytes([code[0], code[1]]));
    Ok(())
}

/// One request with a version 1 header; gives the answer behind its correlation id.
fn exchange(cluster: &Cluster, api_key: i16, version: i16, body: &[u8]) -> Result<Vec<u8>> {
    let address = cluster.bootstrap().split(',').next().unwrap_or_default();
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(REQUEST_TIMEOUT))?;
    let mut request = Vec::new();
    request.extend(api_key.to_be_bytes());
    request.extend(version.to_be_bytes());
    put_i32(&mut request, 1); // correlation id
    put_string(&mut request, "raw")?;
    request.extend(body);
    stream.write_all(&u32::try_from(request.len())?.to_be_bytes())?;
    stream.write_all(&request)?;
    let mut size = [0; 4];
    stream.read_exact(&mut size)?;
    let size = usize::try_from(u32::from_be_bytes(size))?;
    ensure!((4..ANSWER_LIMIT_BYTES).contains(&size), "an answer of {size} bytes");
    let mut answer = vec![0; size];
    stream.read_exact(&mut answer)?;
    Ok(answer.split_off(4))
}

fn put_i32(buffer: &mut Vec<u8>, number: i32) {
    buffer.extend(number.to_be_bytes());
}

fn put_string(buffer: &mut Vec<u8>, text: &str) -> Result<()> {
    buffer.extend(i16::try_from(text.len())?.to_be_bytes());
    buffer.extend(text.as_bytes());
    Ok(())
}
