//! What a dead letter is made of: where the record was and what is wrong with it, in headers. Key, value and own headers
//! stay as they were, so that it can be sent again.

use super::headers::{self, Header};
use crate::core::error::{TEXT_MAX_BYTES, cut};
use bytes::Bytes;

/// Largest dead letter, in bytes: topics of ours take records of 2 MiB. A record can be larger than that, as brokers look at
/// what compression makes of it, and users' topics have limits of their own.
const MAX_BYTES: usize = 2 * 1024 * 1024 - 64 * 1024;

/// Where a record was.
#[derive(Debug, Clone, Copy)]
pub struct Origin<'a> {
    /// Its topic.
    pub topic: &'a str,
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// Its time, in milliseconds since the Unix epoch.
    pub timestamp_ms: i64,
}

/// A record as it goes to the dead-letter topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    /// The record's key.
    pub key: Option<Bytes>,
    /// Its value.
    pub value: Option<Bytes>,
    /// Its own headers, with those of a dead letter behind them.
    pub headers: Vec<Header>,
}

impl Letter {
    /// The letter of a record with this key, value and headers. What would make it too large to be written is left out, which
    /// its text says: the value first, then the record's own headers and its key.
    pub fn new(
        (key, value, own): (Option<&Bytes>, Option<&Bytes>, &[Header]),
        origin: Origin<'_>,
        code: &str,
        text: &str,
    ) -> Letter {
        let of_value = value.map_or(0, Bytes::len);
        let of_rest = key.map_or(0, Bytes::len) + own.iter().map(|(n, v)| n.len() + v.len()).sum::<usize>();
        let mut text = cut(text, TEXT_MAX_BYTES);
        let (with_value, with_rest) = (of_rest + of_value <= MAX_BYTES, of_rest <= MAX_BYTES);
        if !with_value {
            text.push_str(&format!(
                "; its value of {of_value} bytes is not in this letter, which would be too large"
            ));
        }
        if !with_rest {
            text.push_str(&format!("; nor are its key and headers, of {of_rest} bytes"));
        }
        let mut headers = if with_rest { own.to_vec() } else { Vec::new() };
        add(
            &mut headers,
            &[
                (headers::ORIGIN_TOPIC, origin.topic),
                (headers::ORIGIN_PARTITION, &origin.partition.to_string()),
                (headers::ORIGIN_OFFSET, &origin.offset.to_string()),
                (headers::ORIGIN_TIME, &origin.timestamp_ms.to_string()),
                (headers::ERROR_CODE, code),
                (headers::ERROR, &text),
            ],
        );
        Letter {
            key: key.filter(|_| with_rest).cloned(),
            value: value.filter(|_| with_value).cloned(),
            headers,
        }
    }
}

/// Puts headers behind those that are there: for what never was in a topic and so has no [`Origin`].
pub fn add(all: &mut Vec<Header>, more: &[(&str, &str)]) {
    all.extend(more.iter().map(|(name, value)| (headers::name(name), Bytes::from(value.to_string()))));
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORIGIN: Origin<'_> = Origin { topic: "orders", partition: 1, offset: 7, timestamp_ms: 3 };

    fn letter(key: &Bytes, value: &Bytes, own: &[Header]) -> (Letter, String) {
        let letter = Letter::new((Some(key), Some(value), own), ORIGIN, "SAKIA-D02", "it cannot be read");
        let text = letter.headers.iter().find(|(name, _)| name == headers::ERROR).unwrap().1.clone();
        (letter, String::from_utf8(text.to_vec()).unwrap())
    }

    #[test]
    fn a_record_keeps_all_that_it_had() {
        let own = [("trace".into(), Bytes::from("t"))];
        let (letter, text) = letter(&"k".into(), &"v".into(), &own);
        assert_eq!((letter.key.as_deref(), letter.value.as_deref()), (Some(&b"k"[..]), Some(&b"v"[..])));
        assert_eq!((letter.headers[0].clone(), text.as_str()), (own[0].clone(), "it cannot be read"));
    }

    #[test]
    fn what_is_too_large_for_our_topics_is_left_out_and_named() {
        let (small, large) = (Bytes::from("k"), Bytes::from(vec![b'x'; 3 << 20]));
        let (without_value, text) = letter(&small, &large, &[]);
        assert_eq!((without_value.key, without_value.value), (Some(small), None));
        assert!(text.contains("its value of 3145728 bytes is not in this letter"), "{text}");
        let (bare, text) = letter(&large, &"v".into(), &[]);
        assert_eq!((bare.key, bare.value, bare.headers.len()), (None, None, 6));
        assert!(text.contains("nor are its key and headers"), "{text}");
    }
}
