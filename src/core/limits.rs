//! Every bound of the core, and what happens at it.

/// Bounds on what one instance may hold.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Largest payload, in bytes, of a start, signal, step result, child result or outgoing record.
    ///
    /// Over it: a start or signal goes to the dead-letter topic (SAKIA-D06); a step's result becomes a permanent
    /// failure of that step; an outgoing record parks its instance (SAKIA-P06). The lane goes on in every case. The texts
    /// and details of failures are cut to bounds of their own, see [`crate::core::error::Failure::bounded`].
    pub payload_bytes: usize,
    /// Signals that may wait in one instance. Over it a signal goes to the dead-letter topic (SAKIA-D07).
    pub mailbox_len: usize,
    /// Operations that one instance may have open at once, and records that it may send in one turn. Over it the instance
    /// parks (SAKIA-P08).
    pub open_ops: usize,
    /// Bytes of the names of all operations that one instance has open or asks for in one turn. Over it the instance parks
    /// (SAKIA-P08).
    pub names_bytes: usize,
    /// Turns in one history. Over it the instance parks (SAKIA-P05).
    pub turns: u32,
    /// Turns that the row of an instance holds itself; when there are so many, they get a row of their own.
    pub recent_turns: usize,
    /// The same by their bytes, about: the row is written with each checkpoint in which the instance changed.
    pub recent_bytes: usize,
    /// Clients that may wait for the result of one instance. Over it the one that waited longest is dropped: it asks
    /// again when its own deadline passes.
    pub waiters: usize,
    /// Workflows that may wait for the result of one instance. Over it a call fails.
    pub parents: usize,
    /// Entries of the summary that an ended instance keeps of its history; later ones are counted, not kept.
    pub digest_len: usize,
    /// Inputs that one command or fact may cause on its own lane (children and signals that stay in memory). Over it
    /// the rest goes through the commands topic like traffic for another lane.
    pub cascade_len: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            payload_bytes: 1024 * 1024 - 64 * 1024,
            mailbox_len: 1_000,
            open_ops: 10_000,
            names_bytes: 512 * 1024,
            turns: 100_000,
            recent_turns: 16,
            recent_bytes: 1024,
            waiters: 64,
            parents: 500,
            digest_len: 200,
            cascade_len: 10_000,
        }
    }
}
