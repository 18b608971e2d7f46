//! Kafka's frames, as far as a proxy has to understand them: a size, and in requests an API key and a correlation id.

use std::io::{Error, ErrorKind, Result};
use tokio::io::{AsyncRead, AsyncReadExt};

/// Nothing that a broker or a client of ours sends is larger.
const SIZE_MAX: usize = 128 * 1024 * 1024;
/// Size, API key, version, correlation id.
const HEADER: usize = 12;

/// Requests that rules know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Api {
    /// Records to write.
    Produce,
    /// Records to read.
    Fetch,
    /// A member is alive.
    Heartbeat,
    /// A producer takes its id over.
    InitProducerId,
    /// A transaction is committed or aborted.
    EndTxn,
    /// Any other.
    Other,
}

impl Api {
    fn of(key: i16) -> Self {
        match key {
            0 => Api::Produce,
            1 => Api::Fetch,
            12 => Api::Heartbeat,
            22 => Api::InitProducerId,
            26 => Api::EndTxn,
            _ => Api::Other,
        }
    }
}

/// One request or answer, with its size in front.
pub(super) struct Frame {
    pub(super) bytes: Vec<u8>,
}

/// Reads a whole frame; none at the end of the stream.
pub(super) async fn read(from: &mut (impl AsyncRead + Unpin)) -> Result<Option<Frame>> {
    let mut size = [0; 4];
    if let Err(error) = from.read_exact(&mut size).await {
        return if error.kind() == ErrorKind::UnexpectedEof { Ok(None) } else { Err(error) };
    }
    let length = usize::try_from(u32::from_be_bytes(size)).unwrap_or(usize::MAX);
    if !(4..SIZE_MAX).contains(&length) {
        return Err(Error::new(ErrorKind::InvalidData, format!("a frame of {length} bytes")));
    }
    let mut bytes = vec![0; 4 + length];
    bytes[..4].copy_from_slice(&size);
    from.read_exact(&mut bytes[4..]).await?;
    Ok(Some(Frame { bytes }))
}

impl Frame {
    fn number<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        self.bytes.get(at..at + N)?.try_into().ok()
    }

    /// Of a request.
    pub(super) fn api(&self) -> Api {
        match self.number(4) {
            Some(key) if self.bytes.len() >= HEADER => Api::of(i16::from_be_bytes(key)),
            _ => Api::Other,
        }
    }

    /// Of a request.
    pub(super) fn correlation(&self) -> Option<i32> {
        self.number(8).map(i32::from_be_bytes)
    }

    /// Of an answer.
    pub(super) fn answers(&self) -> Option<i32> {
        self.number(4).map(i32::from_be_bytes)
    }

    /// Whether an EndTxn request, of the versions without tagged fields that librdkafka speaks, asks for a commit.
    pub(super) fn commits(&self) -> bool {
        self.number(6).map(i16::from_be_bytes).is_some_and(|version| version < 3)
            && self.bytes.last() == Some(&1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_request_is_known_by_its_header() -> Result<()> {
        let bytes: &[u8] = &[0, 0, 0, 9, 0, 26, 0, 1, 0, 0, 1, 2, 1];
        let frame = read(&mut { bytes }).await?.ok_or(ErrorKind::UnexpectedEof)?;
        assert_eq!((frame.api(), frame.correlation(), frame.commits()), (Api::EndTxn, Some(258), true));
        assert!(read(&mut [].as_slice()).await?.is_none());
        assert!(read(&mut [0xff; 8].as_slice()).await.is_err());
        Ok(())
    }
}
