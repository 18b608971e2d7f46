//! Whether anybody listens at Kafka's address: an answer within seconds, where librdkafka would try for ever.

use super::Config;
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

const CONNECT_WAIT: Duration = Duration::from_secs(3);

/// Nobody listens at any of the addresses.
#[derive(Debug, thiserror::Error)]
#[error(
    "Kafka cannot be reached at {brokers}: {cause}; start it (for development: `sakia dev`), or correct the address \
     (`brokers` in sakia.toml, SAKIA_BROKERS, --brokers)"
)]
pub struct Unreachable {
    /// The addresses.
    pub brokers: String,
    /// What the system said about the last of them.
    pub cause: String,
}

impl Config {
    /// Connects to the first of the brokers that answers, and hangs up. Blocks for a few seconds at most per broker.
    ///
    /// # Errors
    /// If none accepts a connection.
    pub fn reach(&self) -> Result<(), Unreachable> {
        let mut cause = "no address is given".to_string();
        for broker in self.brokers.split(',').map(str::trim).filter(|b| !b.is_empty()) {
            match connect(broker) {
                Ok(()) => return Ok(()),
                Err(error) => cause = error.to_string(),
            }
        }
        Err(Unreachable { brokers: self.brokers.clone(), cause })
    }
}

fn connect(broker: &str) -> std::io::Result<()> {
    let mut last = std::io::Error::new(std::io::ErrorKind::NotFound, "the name has no address");
    for address in broker.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, CONNECT_WAIT) {
            Ok(_) => return Ok(()),
            Err(error) => last = error,
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_that_is_away_is_named_with_the_remedy() {
        let config = Config { brokers: "127.0.0.1:1".into(), ..Config::default() };
        let text = config.reach().unwrap_err().to_string();
        assert!(
            text.contains("127.0.0.1:1") && text.contains("sakia dev") && text.contains("SAKIA_BROKERS"),
            "{text}"
        );
    }
}
