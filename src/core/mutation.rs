//! Mistakes that a test can make on purpose, to see whether the simulator finds them. Without the feature `mutations`
//! none of them exists in the program.

macro_rules! mutations {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// One mistake: in the protocol of a lane or of its log, or in what the core decides.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[cfg_attr(
            not(feature = "mutations"),
            expect(
                unreachable_pub,
                dead_code,
                reason = "public with the feature, for the simulator, which makes some itself"
            )
        )]
        pub enum Mutation { $($(#[$doc])* $name),* }

        #[cfg(feature = "mutations")]
        impl Mutation {
            /// All of them.
            pub const ALL: &[Mutation] = &[$(Mutation::$name),*];
        }
    };
}

mutations! {
    /// The changelog is read to an end that was asked before the fence.
    EndBeforeFence,
    /// A step starts when the record that it rests on was sent, not when it is durable.
    StepBeforeAck,
    /// A step that a command asked for starts although nothing fixes the command's place among the facts.
    StepBeforeOrder,
    /// The store is written when a checkpoint begins.
    StoreBeforeCommit,
    /// An owner writes under the epoch of its predecessor.
    SameEpoch,
    /// A replay does not look at the epoch of a fact. (And the journal's id is not fenced, or there would be none of an
    /// older owner's.)
    FactEpochIgnored,
    /// A checkpoint has no position record.
    NoPositionRecord,
    /// A commit without an answer is taken for one that failed, and made again.
    UnclearIsAborted,
    /// A journal record does not say how far commands had been applied.
    NextCommandLost,
    /// A journal record says it one too low.
    NextCommandLate,
    /// A restore ends when it has read as many records as there are offsets.
    CountRecords,
    /// A checkpoint does not wait for the journal records that it rests on.
    CommitBeforeAck,
    /// A checkpoint is committed although the one before it is not yet.
    CommitOutOfTurn,
    /// A checkpoint is written although the one before it is not whole yet.
    ProduceOutOfTurn,
    /// A transactional id is used again although the request of its last commit may come once more.
    SpentIdUsed,
    /// A restore does not look whether checkpoints are whole. (And ids are used as in `SpentIdUsed`, or all would be.)
    TornIsWhole,
    /// A store is brought up to date however old it is.
    StaleStoreKept,
    /// A take-over does not look whether a transaction is open behind its fence.
    OpenIgnored,
    /// The journal is trimmed to its end, not to the position.
    TrimToEnd,
    /// Timers fire a little early.
    TimerEarly,
    /// The journal is read committed.
    JournalCommitted,
    /// The changelog is read uncommitted.
    ChangelogUncommitted,
    /// A record that is no command is stepped over.
    LetterLost,
    /// A command that came to the wrong lane is applied there.
    AstrayApplied,
    /// A row that could not be read is taken for one that is not there.
    ReadFailureIgnored,
    /// An instance is parked because its history could not be read.
    ParkUnread,
    /// The store gets the offset of a checkpoint, but not its rows.
    OffsetWithoutRows,
    /// After a take-over a step begins to count its attempts anew.
    AttemptsForgotten,
    /// After a take-over the open timers are forgotten.
    TimersForgotten,
    /// A command that comes twice is applied twice.
    CommandTwice,
    /// What left with a checkpoint leaves with the next one too.
    OutboxKept,
    /// An owner may commit before the journal has accepted a record of its own.
    NoClaim,
    /// The journal's id is fenced after those of the checkpoints. (And as in `OpenIgnored`, which mends most of it.)
    FenceJournalLast,
    /// Only the journal's id is fenced.
    FenceJournalOnly,
    /// Only the ids of the checkpoints are fenced.
    FenceCheckpointsOnly,
    /// The core does not apply a start that the log holds.
    StartLost,
    /// The core does not apply the start of a child on its parent's lane.
    ChildStartLost,
    /// The core drops a signal for which nobody waits yet.
    SignalDropped,
    /// The core keeps a signal that it has delivered, and delivers it again.
    SignalTwice,
    /// The core tells a client that it has noted a cancel, and does nothing else about it.
    CancelLost,
    /// The core does not tell a parent of the end of a child.
    ChildEndLost,
    /// The first turn of a start of the log has the lane's time, not that of the record.
    StartAtLaneTime,
    /// The core lets a call begin in memory, and the first step of a start at once, although they may be of the same id.
    CalleesIgnored,
    /// The core tells a parent that its child failed, however it ended.
    ChildOutcomeLost,
    /// The core does not tell the clients that wait for an instance how it ended.
    WaiterForgotten,
    /// The core loses what an instance sends.
    SendLost,
    /// The core sets a timer for half of the time.
    SleepShort,
}

#[cfg(feature = "mutations")]
impl Mutation {
    /// The one of this name.
    pub fn named(name: &str) -> Option<Mutation> {
        Self::ALL.iter().copied().find(|mutation| format!("{mutation:?}") == name)
    }
}

#[cfg(feature = "mutations")]
mod active {
    use super::Mutation;
    use std::cell::Cell;

    thread_local! {
        static ACTIVE: Cell<Option<Mutation>> = const { Cell::new(None) };
    }

    /// Makes a mistake in all lanes of this thread, or none.
    pub fn mutate(mutation: Option<Mutation>) {
        ACTIVE.set(mutation);
    }

    /// Whether this mistake is to be made.
    pub fn mutated(mutation: Mutation) -> bool {
        ACTIVE.get() == Some(mutation)
    }
}

#[cfg(feature = "mutations")]
pub use active::{mutate, mutated};

/// Whether this mistake is to be made.
#[cfg(not(feature = "mutations"))]
pub(crate) const fn mutated(_: Mutation) -> bool {
    false
}
