//! The place of a changelog record in its checkpoint. It makes a torn checkpoint visible (rule B): librdkafka speaks
//! the transaction protocol in which a delayed EndTxn can hit the next transaction (KAFKA-17754).

use super::CodecError;
use bytes::{Buf, BufMut, Bytes};

/// Which record of which checkpoint, by which owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Group {
    /// Epoch of the owner.
    pub epoch: u64,
    /// Number of the checkpoint.
    pub checkpoint: u64,
    /// Place of the record in it, from 0.
    pub index: u32,
    /// Records that it has on the changelog; the last one is the position.
    pub count: u32,
}

/// Bytes of the header's value.
pub const LEN: usize = 1 + 8 + 8 + 4 + 4;
const VERSION: u8 = 1;

impl Group {
    /// As the value of a header.
    pub fn encode(&self) -> Bytes {
        let mut out = Vec::with_capacity(LEN);
        self.encode_into(&mut out);
        Bytes::from(out)
    }

    /// The same, behind what is there.
    pub fn encode_into(&self, out: &mut Vec<u8>) {
        out.put_u8(VERSION);
        out.put_u64(self.epoch);
        out.put_u64(self.checkpoint);
        out.put_u32(self.index);
        out.put_u32(self.count);
    }

    /// From the value of a header.
    pub fn decode(mut bytes: &[u8]) -> Result<Self, CodecError> {
        if bytes.len() != LEN || bytes[0] != VERSION {
            return Err(CodecError::new(
                "changelog header",
                "it is not of a known format; upgrade this process",
            ));
        }
        bytes.advance(1);
        Ok(Group {
            epoch: bytes.get_u64(),
            checkpoint: bytes.get_u64(),
            index: bytes.get_u32(),
            count: bytes.get_u32(),
        })
    }

    /// Whether it is the last of its checkpoint.
    pub fn is_last(&self) -> bool {
        self.index + 1 == self.count
    }
}
