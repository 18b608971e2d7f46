//! What a broker can be told at start.
use std::path::PathBuf;
use std::time::Duration;

/// Settings of one embedded broker. `BrokerConfig::default()` is an in-memory broker on a free port.
#[derive(Clone, Debug)]
pub struct BrokerConfig {
    /// TCP port on 127.0.0.1; 0 takes any free one.
    pub port: u16,
    /// Folder for the log and everything else that must survive; `None` keeps it all in memory.
    pub data_dir: Option<PathBuf>,
    /// Wait for the disk (fsync) before a write is acknowledged. Off, an acknowledged write survives the
    /// end of the process but not of the machine, as with Kafka's defaults.
    pub sync_writes: bool,
    /// How long a transaction takes to complete after `EndTxn` was answered. For that time the same
    /// transactional id gets `CONCURRENT_TRANSACTIONS`, as on a real cluster while markers are written.
    /// Zero ends a transaction within the request.
    pub concurrent_transactions_window: Duration,
    /// How often timed-out transactions are looked for (Kafka: 10 s).
    pub transaction_sweep: Duration,
    /// Added to every answer.
    pub request_latency: Duration,
    /// How long the first join of an empty group waits for others (Kafka: 3 s).
    pub group_initial_rebalance_delay: Duration,
    /// The shortest session timeout a group member may ask for (Kafka: 6 s).
    pub group_min_session_timeout: Duration,
    /// Whether asking for an unknown topic makes it.
    pub auto_create_topics: bool,
    /// Partitions of a topic that was created without saying how many.
    pub default_partitions: i32,
    /// How often compacted topics are looked at (Kafka: 15 s).
    pub compaction_interval: Duration,
    /// How few new records make a compaction not worth while.
    pub compaction_min_records: u64,
    /// How often retention by time and size is applied (Kafka: 5 min). Old batches go one by one, not by
    /// segment.
    pub retention_interval: Duration,
    /// Cache for reads of old data, in bytes. The log itself is never held in memory.
    pub block_cache_bytes: usize,
}

impl Default for BrokerConfig {
    fn default() -> Self {
        Self {
            port: 0,
            data_dir: None,
            sync_writes: false,
            concurrent_transactions_window: Duration::ZERO,
            transaction_sweep: Duration::from_secs(1),
            request_latency: Duration::ZERO,
            group_initial_rebalance_delay: Duration::from_millis(100),
            group_min_session_timeout: Duration::from_secs(6),
            auto_create_topics: false,
            default_partitions: 1,
            compaction_interval: Duration::from_secs(2),
            compaction_min_records: 100,
            retention_interval: Duration::from_secs(300),
            block_cache_bytes: 32 << 20,
        }
    }
}
