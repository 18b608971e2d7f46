//! What is so at one moment, gathered when somebody asks.

/// What a lane is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LaneState {
    /// It is fenced, restored and replayed.
    TakingOver,
    /// It applies commands.
    Running,
    /// It was lost, and is taken over again in a moment.
    Waiting,
    /// It has stopped, and an operator has to look.
    Broken,
    /// It was told to end.
    Ending,
}

impl LaneState {
    /// All of them, as each is shown, also with no lane in it.
    pub const ALL: [LaneState; 5] =
        [LaneState::TakingOver, LaneState::Running, LaneState::Waiting, LaneState::Broken, LaneState::Ending];

    /// As the label says it.
    pub fn name(self) -> &'static str {
        match self {
            LaneState::TakingOver => "taking_over",
            LaneState::Running => "running",
            LaneState::Waiting => "waiting",
            LaneState::Broken => "broken",
            LaneState::Ending => "ending",
        }
    }
}

/// A lane.
#[derive(Debug, Clone, Copy)]
pub struct LanePicture {
    /// Which.
    pub partition: i32,
    /// What it does.
    pub state: LaneState,
    /// Offset of the next command after its last checkpoint, once it has run.
    pub command_offset: Option<i64>,
}

/// Memory of all stores of the process, in bytes.
#[derive(Debug, Clone, Copy, Default)]
pub struct StoreMemory {
    /// Blocks, indexes and filters in the one cache.
    pub cache: usize,
    /// Of them, those that cannot be evicted now.
    pub cache_pinned: usize,
    /// What the cache may hold.
    pub cache_limit: usize,
    /// Writes that are not on disk yet.
    pub write_buffers: usize,
    /// The size of them at which the largest is flushed.
    pub write_buffers_limit: usize,
    /// What open files need beside the cache, by RocksDB's own estimate.
    pub table_readers: usize,
}

/// A restore that is under way.
#[derive(Debug, Clone, Copy)]
pub struct RestorePicture {
    /// Of which lane.
    pub partition: i32,
    /// Records read so far.
    pub records: u64,
    /// Offsets that are left to read.
    pub offsets_left: u64,
    /// What it holds in memory, in bytes.
    pub bytes: usize,
}

/// Everything.
#[derive(Debug, Clone, Default)]
pub struct Picture {
    /// Lanes that the group has given to this process.
    pub lanes: Vec<LanePicture>,
    /// Memory of their stores.
    pub stores: StoreMemory,
    /// Restores under way.
    pub restores: Vec<RestorePicture>,
    /// What restores may hold in memory together, in bytes.
    pub restore_limit: usize,
}
