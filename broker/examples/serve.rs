//! Runs a broker: `serve PORT [DATA_DIR]`.
use sakia_broker::{Broker, BrokerConfig};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt().with_env_filter(tracing_subscriber::EnvFilter::from_default_env()).init();
    let mut args = std::env::args().skip(1);
    let config = BrokerConfig {
        port: args.next().map_or(Ok(9092), |port| port.parse())?,
        data_dir: args.next().map(Into::into),
        ..BrokerConfig::default()
    };
    let started = std::time::Instant::now();
    let broker = Broker::start(config)?;
    println!("listening on {} after {:?}", broker.bootstrap(), started.elapsed());
    loop {
        std::thread::park();
    }
}
