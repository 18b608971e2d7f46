//! What reaches a lane: commands (durable in the commands topic) and facts (durable in the journal).

use crate::core::history::Outcome;
use crate::core::ids::{InstanceKey, OpId};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// A record of the commands topic, decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// Whom it is for.
    pub to: InstanceKey,
    /// What is asked.
    pub ask: CommandAsk,
}

/// The kinds of commands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommandAsk {
    /// Start the instance; if there is one of that name already, only note who waits.
    Start {
        /// Payload.
        input: Bytes,
        /// Who wants the result.
        waiter: Option<Waiter>,
    },
    /// Deliver a signal.
    Signal {
        /// Its name.
        name: std::sync::Arc<str>,
        /// Its payload.
        payload: Bytes,
    },
    /// Tell the waiter the result, now or when there is one.
    Await(Waiter),
    /// Cancel the instance. With a parent: only if it is that parent's child.
    Cancel {
        /// The parent that lost interest.
        by: Option<ParentLink>,
        /// Whom to tell that it was noted.
        reply: Option<ReplyTo>,
    },
    /// A child of this instance ended.
    ChildEnded {
        /// Run of the parent that called.
        run: u32,
        /// The call.
        op: OpId,
        /// Its result.
        outcome: Outcome,
    },
    /// Take a parked instance up again, from its history.
    Retry {
        /// Whom to tell.
        reply: Option<ReplyTo>,
    },
}

/// Someone who waits for the result of an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Waiter {
    /// A workflow, by a call.
    Parent(ParentLink),
    /// A client, through the replies topic.
    Client(ReplyTo),
}

/// The call that a child answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParentLink {
    /// The calling instance.
    pub parent: InstanceKey,
    /// Its run.
    pub run: u32,
    /// The call.
    pub op: OpId,
}

/// Where a client listens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplyTo {
    /// Partition of the replies topic.
    pub partition: i32,
    /// Key of the reply.
    pub correlation: Bytes,
}
