//! Names of the headers of the public topics.

use bytes::Bytes;
use std::borrow::Cow;

/// A header's name and value. Our own names cost no allocation.
pub type Header = (Cow<'static, str>, Bytes);

/// What a command is: see [`command`](super::command).
pub const KIND: &str = "sakia-kind";
/// The workflow that a command is for.
pub const WORKFLOW: &str = "sakia-workflow";
/// The name of a signal.
pub const NAME: &str = "sakia-name";
/// Where the answer goes: `partition:correlation` of the replies topic.
pub const REPLY: &str = "sakia-reply";
/// Internal: the call that a child answers.
pub const PARENT: &str = "sakia-parent";
/// Internal: the call that ended, and how.
pub const ENDED: &str = "sakia-ended";
/// Of a reply: what happened.
pub const OUTCOME: &str = "sakia-outcome";
/// Of a changelog record: its place in its checkpoint.
pub const GROUP: &str = "sakia-group";
/// Of a dead letter: the topic where the record was.
pub const ORIGIN_TOPIC: &str = "sakia-origin-topic";
/// Of a dead letter: its partition.
pub const ORIGIN_PARTITION: &str = "sakia-origin-partition";
/// Of a dead letter: its offset.
pub const ORIGIN_OFFSET: &str = "sakia-origin-offset";
/// Of a dead letter: its time, in milliseconds since the Unix epoch.
pub const ORIGIN_TIME: &str = "sakia-origin-time-ms";
/// Of a dead letter: the error's code.
pub const ERROR_CODE: &str = "sakia-error-code";
/// Of a dead letter: what happened.
pub const ERROR: &str = "sakia-error";

/// Those that every start has, and every record of the changelog or of the replies.
const FREQUENT: [&str; 7] = [KIND, WORKFLOW, NAME, REPLY, PARENT, OUTCOME, GROUP];

/// A name that was read.
pub fn name(read: &str) -> Cow<'static, str> {
    match FREQUENT.iter().find(|known| **known == read) {
        Some(known) => Cow::Borrowed(known),
        None => Cow::Owned(read.to_owned()),
    }
}
