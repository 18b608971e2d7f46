//! The model and the judgement find what they are there to find.

use super::judgement::Judgement;
use super::ledger::Wrong;
use super::model::{Kind, Model, Said, lane_of};

const LANES: i32 = 8;
const TRANSFER: &str = r#"{"n":0,"from":1,"to":2,"amount":70,"refuse":false}"#;

fn lane(id: &str) -> i32 {
    lane_of(id, LANES)
}

fn say(model: &mut Model, workflow: &str, n: u64, said: Said<'_>, payload: &str) -> Vec<Wrong> {
    let id = format!("{workflow}-{n}");
    model.apply(lane(&id), workflow, &id, said, payload).err().into_iter().map(|(wrong, _)| wrong).collect()
}

/// Says all that is said of a job that goes well.
fn run_job(model: &mut Model, n: u64) {
    let payload = n.to_string();
    assert_eq!(say(model, "job", n, Said::Start, &payload), []);
    assert_eq!(say(model, "job", n, Said::Signal("go"), &payload), []);
    if lane(&format!("job-{n}")) != lane(&format!("leaf-{n}")) {
        assert_eq!(say(model, "leaf", n, Said::ChildStart(&format!("job-{n}")), &payload), []);
        assert_eq!(say(model, "job", n, Said::ChildEnded(&format!("completed {}", 2 * n)), ""), []);
    }
    model.learn_token(n, 1000 + n);
}

fn rows_of_job(n: u64) -> [(String, String); 2] {
    let done = format!("completed {{\"token\":{},\"leaf\":{}}}", 1000 + n, 2 * n);
    [(format!("job-{n}"), done), (format!("leaf-{n}"), format!("completed {}", 2 * n))]
}

fn judge(model: &Model, rows: &[(String, String)]) -> Vec<Wrong> {
    let mut judgement = Judgement::new(model);
    for (id, outcome) in rows {
        let workflow = id.split('-').next().unwrap_or_default();
        judgement.saw(lane(id), workflow, id, outcome);
    }
    judgement.end().into_iter().map(|(wrong, _)| wrong).collect()
}

/// A number whose job and child are on different lanes, or on one.
fn job_apart(apart: bool) -> u64 {
    let is = |n: &u64| (lane(&format!("job-{n}")) != lane(&format!("leaf-{n}"))) == apart;
    (0..100).find(is).unwrap_or_default()
}

#[test]
fn a_key_is_on_the_lane_that_kafka_gives_it() {
    // From Kafka's own `UtilsTest.testMurmur2`.
    for (key, hash) in [("21", -973_932_308_i32), ("foobar", -790_332_482), ("abc", 479_470_107)] {
        assert_eq!(lane_of(key, 1 << 30), (hash & 0x7fff_ffff) % (1 << 30), "{key}");
    }
}

#[test]
fn jobs_that_went_well_are_what_the_stores_hold() {
    let mut model = Model::new(LANES);
    (0..50).for_each(|n| run_job(&mut model, n));
    let rows: Vec<_> = (0..50).flat_map(rows_of_job).collect();
    assert_eq!(judge(&model, &rows), []);
}

#[test]
fn a_wrong_a_missing_a_doubled_and_a_foreign_instance_are_found() {
    let mut model = Model::new(LANES);
    (0..50).for_each(|n| run_job(&mut model, n));
    let rows: Vec<_> = (0..50).flat_map(rows_of_job).collect();
    let mut wrong = rows.clone();
    wrong[7].1 = "completed 7".into();
    assert_eq!(judge(&model, &wrong), [Wrong::Changed]);
    assert_eq!(judge(&model, &rows[..99]), [Wrong::Lost]);
    assert_eq!(judge(&model, &[&rows[..], &rows[..1]].concat()), [Wrong::Duplicate]);
    let mut foreign = rows.clone();
    foreign.push(("job-50".into(), "running".into()));
    assert_eq!(judge(&model, &foreign), [Wrong::Changed]);
    let mut judgement = Judgement::new(&model);
    judgement.saw((lane("job-0") + 1) % LANES, "job", "job-0", &rows[0].1);
    assert_eq!(judgement.end()[0].0, Wrong::Changed, "an instance on a lane that is not its own");
}

#[test]
fn what_is_no_longer_known_by_name_is_found_too() {
    let mut model = Model::new(LANES);
    let all = 10_500;
    (0..all).for_each(|n| run_job(&mut model, n));
    assert!(model.jobs.entries.len() <= 10_000, "the model forgets");
    let rows: Vec<_> = (0..all).flat_map(rows_of_job).collect();
    assert_eq!(judge(&model, &rows), []);
    let mut wrong = rows.clone();
    wrong[3].1 = "completed 7".into();
    assert_eq!(judge(&model, &wrong), [Wrong::Changed]);
    assert_eq!(judge(&model, &[&rows[..2], &rows[3..]].concat()), [Wrong::Lost]);
    let n = job_apart(true);
    let again = say(&mut model, "leaf", n, Said::ChildStart(&format!("job-{n}")), &n.to_string());
    assert_eq!(again, [Wrong::Duplicate], "a child's start, long after");
}

#[test]
fn what_lanes_send_each_other_is_there_once() {
    let mut model = Model::new(LANES);
    let n = job_apart(true);
    run_job(&mut model, n);
    let (job, payload, outcome) = (format!("job-{n}"), n.to_string(), format!("completed {}", 2 * n));
    assert_eq!(say(&mut model, "leaf", n, Said::ChildStart(&job), &payload), [Wrong::Duplicate]);
    assert_eq!(say(&mut model, "job", n, Said::ChildEnded(&outcome), ""), [Wrong::Duplicate]);
    let mut model = Model::new(LANES);
    assert_eq!(say(&mut model, "leaf", n, Said::ChildStart("job-99"), &payload), [Wrong::Changed]);
    assert_eq!(say(&mut model, "job", n, Said::ChildEnded("completed 1"), ""), [Wrong::Changed]);
    let own = job_apart(false);
    let end = format!("completed {}", 2 * own);
    let ended = say(&mut model, "job", own, Said::ChildEnded(&end), "");
    assert_eq!(ended, [Wrong::Duplicate], "what is on one lane is told in memory");
}

#[test]
fn a_lane_calls_itself_through_the_log_only_until_it_knows_that_it_is_called() {
    let mut model = Model::new(1);
    let mut call = |n: u64| {
        let parent = format!("job-{n}");
        model.apply(0, "leaf", &format!("leaf-{n}"), Said::ChildStart(&parent), &n.to_string())
    };
    assert!((0..100).all(|n| call(n).is_ok()));
    assert!(matches!(call(100), Err((Wrong::Duplicate, _))));
}

#[test]
fn a_job_whose_child_was_never_started_on_its_lane_is_found() {
    let mut model = Model::new(LANES);
    let n = job_apart(true);
    (0..n).for_each(|n| run_job(&mut model, n));
    let payload = n.to_string();
    assert_eq!(say(&mut model, "job", n, Said::Start, &payload), []);
    assert_eq!(say(&mut model, "job", n, Said::Signal("go"), &payload), []);
    model.learn_token(n, 1000 + n);
    let rows: Vec<_> = (0..=n).flat_map(rows_of_job).collect();
    assert_eq!(judge(&model, &rows), [Wrong::Lost]);
}

#[test]
fn a_transfer_moves_money_once_and_only_if_it_is_not_refused() {
    let mut model = Model::new(LANES);
    for _ in 0..2 {
        assert_eq!(say(&mut model, "transfer", 0, Said::Start, TRANSFER), []);
    }
    let refused = TRANSFER.replace("false", "true").replace("\"n\":0", "\"n\":1");
    assert_eq!(say(&mut model, "transfer", 1, Said::Start, &refused), []);
    assert_eq!(model.balances.into_iter().collect::<Vec<_>>(), [(1, -70), (2, 70)]);
    let mut model = Model::new(LANES);
    let apart = |n: &u64| lane(&format!("transfer-{n}")) != lane(&format!("credit-{n}"));
    let n = (0..100).find(apart).unwrap_or_default();
    assert_eq!(say(&mut model, Kind::Transfer.name(), n, Said::ChildEnded("completed null"), ""), []);
    let refused = refused.replace("\"n\":1", &format!("\"n\":{n}"));
    assert_eq!(
        say(&mut model, "transfer", n, Said::Start, &refused),
        [Wrong::Changed],
        "paid though refused"
    );
}

#[test]
fn an_account_is_the_sum_of_its_first_ten_deposits() {
    let mut model = Model::new(LANES);
    let deposit = |place: u64| format!("{{\"place\":{place},\"amount\":{}}}", 1 << place);
    assert_eq!(say(&mut model, "account", 0, Said::Start, "0"), []);
    // One that came twice counts twice, and the tenth comes too late.
    for place in [0, 1, 1, 2, 3, 4, 5, 6, 7, 8, 9] {
        assert_eq!(say(&mut model, "account", 0, Said::Signal("deposit"), &deposit(place)), []);
    }
    assert!(model.doubled.contains("account-0"));
    let row = |sum: u64| [("account-0".to_string(), format!("completed {sum}"))];
    assert_eq!(judge(&model, &row(0x1ff + 2)), []);
    assert_eq!(judge(&model, &row(0x3ff)), [Wrong::Changed]);
}
