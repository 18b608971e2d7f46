use super::*;

fn as_planned(spec: &TopicSpec) -> TopicState {
    let settings = spec.settings.iter().map(|(k, v)| (k.to_string(), v.clone())).collect();
    TopicState { partitions: spec.partitions, settings }
}

fn topic(part: &str) -> TopicSpec {
    plan("payments", 8).into_iter().find(|s| s.name == format!("payments.{part}")).unwrap()
}

fn only(found: Vec<Finding>) -> Finding {
    assert_eq!(found.len(), 1, "{found:?}");
    found.into_iter().next().unwrap()
}

#[test]
fn topics_made_as_planned_have_no_findings() {
    for spec in plan("payments", 8) {
        assert_eq!(findings(&spec, Some(&as_planned(&spec))), vec![]);
    }
}

#[test]
fn a_missing_topic_is_found_with_the_command_that_makes_it() {
    let found = only(findings(&topic("journal"), None));
    assert_eq!(found.code, FindingCode::Missing);
    assert!(found.to_string().contains("payments.journal: it does not exist; create it with `topics init`"));
}

#[test]
fn partition_counts_must_agree_for_lane_topics_only() {
    for (part, code) in [
        ("journal", Some(FindingCode::Partitions)),
        ("changelog", Some(FindingCode::Partitions)),
        ("dlq", None),
    ] {
        let spec = topic(part);
        let state = TopicState { partitions: 4, ..as_planned(&spec) };
        assert_eq!(findings(&spec, Some(&state)).first().map(|f| f.code), code, "{part}");
    }
}

#[test]
fn settings_that_would_lose_records_are_found_by_key() {
    for (part, key, value, code) in [
        ("changelog", "cleanup.policy", "delete", FindingCode::CleanupPolicy),
        ("changelog", "cleanup.policy", "compact,delete", FindingCode::CleanupPolicy),
        ("commands", "cleanup.policy", "compact", FindingCode::CleanupPolicy),
        ("journal", "retention.ms", "604800000", FindingCode::Retention),
        ("journal", "retention.bytes", "1000", FindingCode::Retention),
        ("journal", "max.message.bytes", "1048588", FindingCode::RecordSize),
        ("dlq", "max.message.bytes", "1048588", FindingCode::RecordSize),
        ("commands", "message.timestamp.type", "CreateTime", FindingCode::RecordTime),
        ("commands", "retention.ms", "3600000", FindingCode::CommandsLost),
        ("commands", "retention.bytes", "1073741824", FindingCode::CommandsLost),
        ("changelog", "min.compaction.lag.ms", "0", FindingCode::TornUnseen),
        ("changelog", "delete.retention.ms", "60000", FindingCode::DeletesForgotten),
    ] {
        let spec = topic(part);
        let mut state = as_planned(&spec);
        state.settings.insert(key.into(), value.into());
        let found = only(findings(&spec, Some(&state)));
        assert_eq!(found.code, code);
        assert!(code.forbids_start());
        assert!(found.what.contains(key) && found.remedy.contains(key), "{found}");
    }
}

#[test]
fn settings_that_only_cost_speed_are_advice_with_the_wanted_value() {
    for (key, value, wanted) in [
        ("segment.bytes", "1073741824", "segment.bytes=67108864"),
        ("segment.ms", "9223372036854775807", "segment.ms=604800000"),
        ("min.cleanable.dirty.ratio", "0.95", "min.cleanable.dirty.ratio=0.5"),
        ("max.compaction.lag.ms", "60000", "max.compaction.lag.ms=3600000"),
        ("min.compaction.lag.ms", "604800000", "min.compaction.lag.ms=3600000"),
        ("delete.retention.ms", "3600000", "delete.retention.ms=86400000"),
    ] {
        let spec = topic("changelog");
        let mut state = as_planned(&spec);
        state.settings.insert(key.into(), value.into());
        let found = only(findings(&spec, Some(&state)));
        assert!(!found.code.forbids_start(), "{found}");
        assert!(found.what.contains(value) && found.remedy.ends_with(wanted), "{found}");
    }
}

#[test]
fn no_limit_is_more_than_any_number() {
    let spec = topic("commands");
    let mut state = as_planned(&spec);
    state.settings.insert("retention.ms".into(), "-1".into());
    assert_eq!(findings(&spec, Some(&state)), vec![]);
}

#[test]
fn what_brokers_have_by_default_is_fine_for_a_setting_that_the_plan_leaves_alone() {
    let spec = topic("changelog");
    let mut state = as_planned(&spec);
    for (key, value) in
        [("min.cleanable.dirty.ratio", "0.5"), ("max.compaction.lag.ms", "9223372036854775807")]
    {
        assert!(spec.settings.iter().all(|(planned, _)| *planned != key));
        state.settings.insert(key.into(), value.into());
    }
    assert_eq!(findings(&spec, Some(&state)), vec![]);
}
