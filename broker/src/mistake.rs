//! Deliberate mistakes: tests switch one on and must notice it, which tests the tests. Outside of tests none
//! can be made, and the compiler drops the branches.

macro_rules! mistakes {
    ($($name:ident),* $(,)?) => {
        /// What could be wrong in the broker. Named after what the broker then does.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Mistake { $($name),* }

        #[cfg(test)]
        impl Mistake {
            pub(crate) const ALL: &[Self] = &[$(Self::$name),*];
        }
    };
}

mistakes! {
    IgnoresEpoch,
    TakesOverWithoutAbort,
    KeepsEpochAtTakeOver,
    TakesUnlistedPartitions,
    CommitsOnTimeout,
    RestartsTimeoutWithEachPartition,
    EndsInTwoWrites,
    ForgetsDecisionAtRestart,
    AcceptsGaps,
    AppendsRetries,
    RemembersFourBatches,
    LosesSequencesAtRestart,
    IgnoresOpenTransactions,
    StopsAtNewestTransaction,
    TellsOnlyAbortsThatBeginLater,
    LosesAbortsAtRestart,
    CommitsOffsetsOnAbort,
    LetsOlderOffsetsWin,
    ShowsOffsetsTooEarly,
    LosesPendingOffsetsAtRestart,
    CompactsAbortedAsCommitted,
    CompactsBeyondStable,
    DropsTombstonesAtOnce,
    ForgetsAbortsTooEarly,
    DropsEmptyEndOfLog,
    CutsBatchesInHalf,
    ForgetsStartAtRestart,
    TakesOldGenerations,
    LeavesStaticZombies,
    KeepsSilentMembers,
    LosesStaticPlaces,
    GivesOldAssignments,
    CountsLateMembers,
}

/// Whether this thread's broker makes the mistake.
#[cfg(not(test))]
pub(crate) const fn makes(_: Mistake) -> bool {
    false
}

#[cfg(test)]
pub(crate) use switch::{makes, with};

#[cfg(test)]
mod switch {
    use super::Mistake;
    use std::cell::Cell;

    thread_local! {
        static MADE: Cell<Option<Mistake>> = const { Cell::new(None) };
    }

    pub(crate) fn makes(mistake: Mistake) -> bool {
        MADE.get() == Some(mistake)
    }

    /// Runs `body` with a broker that makes the mistake, on this thread only.
    pub(crate) fn with<T>(mistake: Mistake, body: impl FnOnce() -> T) -> T {
        MADE.set(Some(mistake));
        let result = body();
        MADE.set(None);
        result
    }
}
