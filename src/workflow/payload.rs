//! Payloads and keys as bytes.

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// JSON bytes of a value.
pub fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Bytes, String> {
    serde_json::to_vec(value).map(Bytes::from).map_err(|e| e.to_string())
}

/// A value from JSON bytes. No bytes at all are `null`, so that a workflow of `()` needs no payload.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    serde_json::from_slice(if bytes.is_empty() { b"null" } else { bytes }).map_err(|e| e.to_string())
}

/// A type that can be the key of a Kafka record, in the bytes that Kafka's own serializers write.
pub trait RecordKey: Sized {
    /// As the key's bytes.
    fn to_key(&self) -> Bytes;
    /// From the key's bytes.
    fn from_key(bytes: &[u8]) -> Result<Self, String>;
}

impl RecordKey for String {
    fn to_key(&self) -> Bytes {
        Bytes::copy_from_slice(self.as_bytes())
    }
    fn from_key(bytes: &[u8]) -> Result<Self, String> {
        String::from_utf8(bytes.to_vec()).map_err(|e| format!("the key is not UTF-8: {e}"))
    }
}

impl RecordKey for Vec<u8> {
    fn to_key(&self) -> Bytes {
        Bytes::copy_from_slice(self)
    }
    fn from_key(bytes: &[u8]) -> Result<Self, String> {
        Ok(bytes.to_vec())
    }
}

/// As Kafka's `LongSerializer`: eight bytes, most significant first.
impl RecordKey for i64 {
    fn to_key(&self) -> Bytes {
        Bytes::copy_from_slice(&self.to_be_bytes())
    }
    fn from_key(bytes: &[u8]) -> Result<Self, String> {
        let eight = bytes.try_into().map_err(|_| format!("the key has {} bytes, not 8", bytes.len()))?;
        Ok(i64::from_be_bytes(eight))
    }
}
