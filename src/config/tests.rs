use super::*;
use std::ffi::OsString;

fn from(file: &str, variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("sakia.toml");
    std::fs::write(&path, file).unwrap();
    let variables: Vec<(OsString, OsString)> =
        variables.iter().map(|(n, v)| (OsString::from(n), OsString::from(v))).collect();
    load::load(Some(&path), variables.into_iter())
}

#[test]
fn the_environment_wins_over_the_file_and_the_file_over_the_default() {
    let file = "partitions = 4\ncommit_interval_ms = 50\n";
    let read = from(file, &[("SAKIA_PARTITIONS", "16"), ("HOME", "/root")]).unwrap();
    assert_eq!(read.partitions, 16);
    assert_eq!(read.commit_interval_ms, 50);
    assert_eq!(read.brokers, Config::default().brokers);
}

#[test]
fn kafka_properties_come_from_quoted_and_dotted_keys_and_from_the_environment() {
    let file = "[kafka]\n\"security.protocol\" = \"ssl\"\nlinger.ms = 3\n";
    let read = from(file, &[("SAKIA_KAFKA_SASL_USERNAME", "alice"), ("SAKIA_KAFKA_LINGER_MS", "4")]).unwrap();
    assert_eq!(read.kafka.get("security.protocol").map(String::as_str), Some("ssl"));
    assert_eq!(read.kafka.get("sasl.username").map(String::as_str), Some("alice"));
    assert_eq!(read.kafka.get("linger.ms").map(String::as_str), Some("4"));
}

#[test]
fn all_mistakes_are_listed_at_once_each_with_its_key_and_where_it_came_from() {
    let file =
        "partitons = 4\ncommit_interval_ms = \"soon\"\nbrokers = \"kafka\"\n[kafka]\n\"acks\" = \"1\"\n";
    let error = from(file, &[("SAKIA_SESSION_TIMEOUT_MS", "7"), ("SAKIA_CACHE_BYTES", "lots")]).unwrap_err();
    let text = error.to_string();
    for part in [
        "partitons: there is no such setting (from file ",
        "commit_interval_ms: \"soon\" cannot be used (from file ",
        "cache_bytes: \"lots\" cannot be used (from variable SAKIA_CACHE_BYTES)",
        "brokers: \"kafka\" is not host:port",
        "session_timeout_ms: 7 is not between 1000 and 300000 milliseconds",
        "kafka.acks: the Kafka property `acks` cannot be set",
    ] {
        assert!(text.contains(part), "no {part:?} in {text}");
    }
    assert_eq!(error.problems.len(), 6, "{text}");
}

#[test]
fn a_port_that_others_can_reach_is_refused_unless_it_is_meant() {
    let open = ("SAKIA_HTTP_ADDRESS", "0.0.0.0:9464");
    let error = from("", &[open]).unwrap_err().to_string();
    assert!(error.contains("http_address: it can be reached from other machines"), "{error}");
    let read = from("http_insecure = true\n", &[open]).unwrap();
    assert_eq!(read.http_address.unwrap().port(), 9464);
    for inside in ["127.0.0.1:0", "[::1]:9464"] {
        assert!(from("", &[("SAKIA_HTTP_ADDRESS", inside)]).is_ok(), "{inside}");
    }
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = load::load(Some(Path::new("/nowhere/sakia.toml")), std::iter::empty()).unwrap_err();
    assert!(error.to_string().contains("/nowhere/sakia.toml: cannot be read"), "{error}");
}

#[test]
fn debug_shows_no_secret() {
    let mut config = Config::default();
    config.kafka.insert("sasl.password".into(), "hunter2".into());
    assert!(!format!("{config:?}").contains("hunter2"));
}

#[test]
fn the_state_folder_is_named_after_the_app() {
    let mut config = Config::default();
    assert_eq!(config.state_dir("payments"), Path::new(".sakia/payments"));
    config.state_dir = Some("/var/lib/x".into());
    assert_eq!(config.state_dir("payments"), Path::new("/var/lib/x"));
}
