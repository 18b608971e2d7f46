//! placeholder until the real one is there
pub mod topics;
use crate::log::kafka::KafkaConfig;
use std::collections::BTreeMap;
use std::path::PathBuf;
/// Config
#[derive(Clone)]
pub struct Config { pub brokers: String, pub state_dir: Option<PathBuf>, pub instance_id: Option<String>, pub session_timeout_ms: u64, pub commit_interval_ms: u64, pub journal_roll_ms: u64, pub cache_bytes: usize, pub payload_limit_bytes: usize, pub kafka: BTreeMap<String, String> }
impl Config {
    pub fn from_env() -> Result<Self, String> {
        let v = |k: &str| std::env::var(format!("SAKIA_{k}")).ok();
        Ok(Config { brokers: v("BROKERS").unwrap_or("127.0.0.1:9092".into()), state_dir: v("STATE_DIR").map(Into::into), instance_id: v("INSTANCE_ID"), session_timeout_ms: 6000, commit_interval_ms: 200, journal_roll_ms: 5000, cache_bytes: 64 << 20, payload_limit_bytes: 900_000, kafka: BTreeMap::new() })
    }
    pub fn kafka_config(&self, _app: &str) -> KafkaConfig { KafkaConfig { bootstrap: self.brokers.clone(), client_id: "sakia".into(), extra: self.kafka.clone() } }
    pub fn state_dir(&self, app: &str) -> PathBuf { self.state_dir.clone().unwrap_or_else(|| PathBuf::from(".sakia").join(app)) }
}
