//! placeholder
use crate::log::kafka::Admin;
pub struct Layout {
    pub partitions: i32,
    pub reply_partitions: i32,
    pub min_compaction_lag_ms: u64,
}
pub fn check(admin: &Admin, app: &str) -> Result<Layout, Box<dyn std::error::Error + Send + Sync>> {
    let n = |t: &str| -> Result<i32, Box<dyn std::error::Error + Send + Sync>> {
        admin
            .partitions(&format!("{app}.{t}"))?
            .ok_or_else(|| format!("topic {app}.{t} is missing: sakia topics init").into())
    };
    Ok(Layout {
        partitions: n("commands")?,
        reply_partitions: n("replies")?,
        min_compaction_lag_ms: 3_600_000,
    })
}
