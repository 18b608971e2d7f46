//! Transitions of the group state machine.
use super::*;

const SESSION: Duration = Duration::from_secs(6);
const REBALANCE: Duration = Duration::from_secs(30);

fn request(id: &str, instance: Option<&str>, metadata: &str) -> JoinRequest {
    JoinRequest {
        member_id: id.to_owned(),
        instance: instance.map(str::to_owned),
        client_id: "c".to_owned(),
        protocol_type: "consumer".to_owned(),
        protocols: vec![("range".to_owned(), Bytes::copy_from_slice(metadata.as_bytes()))],
        session: SESSION,
        rebalance: REBALANCE,
        id_required: false,
        initial_delay: Duration::ZERO,
    }
}

fn join_new(group: &mut Group, instance: Option<&str>, now: Instant) -> String {
    match group.join(&request("", instance, "m"), now) {
        JoinStep::Wait(id) => id,
        other => panic!("{other:?}"),
    }
}

fn sync_all(group: &mut Group, now: Instant) {
    let ids: Vec<String> = group.members.keys().cloned().collect();
    let assignments: Vec<_> =
        ids.iter().map(|id| (id.clone(), Bytes::copy_from_slice(id.as_bytes()))).collect();
    let leader = group.leader.clone();
    let generation = group.generation;
    for id in ids.iter().filter(|id| **id != leader) {
        assert_eq!(group.sync(id, None, generation, &[], now), SyncStep::Wait);
    }
    assert!(matches!(group.sync(&leader, None, generation, &assignments, now), SyncStep::Done(Ok(_))));
}

/// Two members, stable.
fn pair(instance: [Option<&str>; 2], now: Instant) -> (Group, String, String) {
    let mut group = Group::default();
    let a = join_new(&mut group, instance[0], now);
    let b = join_new(&mut group, instance[1], now);
    assert_eq!(group.state, GroupState::PreparingRebalance);
    assert_eq!(group.join(&request(&a, instance[0], "m"), now), JoinStep::Wait(a.clone()));
    assert_eq!(group.state, GroupState::CompletingRebalance);
    sync_all(&mut group, now);
    assert_eq!(group.state, GroupState::Stable);
    (group, a, b)
}

#[test]
fn a_new_member_is_told_its_id_first_when_the_version_asks_for_it() {
    let (mut group, now) = (Group::default(), Instant::now());
    let first = JoinRequest { id_required: true, ..request("", None, "m") };
    let JoinStep::Done(Err(refused)) = group.join(&first, now) else { panic!("accepted") };
    assert_eq!(refused.error, ResponseError::MemberIdRequired);
    let again = JoinRequest { id_required: true, ..request(&refused.member_id, None, "m") };
    assert_eq!(group.join(&again, now), JoinStep::Wait(refused.member_id));
}

#[test]
fn the_first_join_waits_for_others_and_only_then_begins() {
    let (mut group, now) = (Group::default(), Instant::now());
    let delay = Duration::from_millis(100);
    let slow = JoinRequest { initial_delay: delay, ..request("", None, "m") };
    group.join(&slow, now);
    assert_eq!(group.state, GroupState::PreparingRebalance);
    group.tick(now + delay);
    assert_eq!((group.state, group.generation), (GroupState::CompletingRebalance, 1));
}

#[test]
fn leaving_starts_a_rebalance_at_once_and_the_rest_goes_on_alone() {
    let now = Instant::now();
    let (mut group, a, b) = pair([None, None], now);
    group.leave(&a, None, now).unwrap();
    assert_eq!(group.state, GroupState::PreparingRebalance);
    let generation = group.generation;
    assert_eq!(group.heartbeat(&b, None, generation, now), Err(ResponseError::RebalanceInProgress));
    group.join(&request(&b, None, "m"), now);
    assert_eq!((group.state, group.leader.clone()), (GroupState::CompletingRebalance, b.clone()));
    assert!(group.joined(&b, None).unwrap().unwrap().members.len() == 1);
}

#[test]
fn the_last_leave_makes_the_group_empty() {
    let now = Instant::now();
    let (mut group, a, b) = pair([None, None], now);
    group.leave(&a, None, now).unwrap();
    group.leave(&b, None, now).unwrap();
    assert_eq!(group.state, GroupState::Empty);
    assert_eq!(group.leave(&b, None, now), Err(ResponseError::UnknownMemberId));
}

#[test]
fn a_silent_member_is_out_after_its_session() {
    let now = Instant::now();
    let (mut group, a, b) = pair([None, None], now);
    let later = now + SESSION / 2;
    group.heartbeat(&a, None, group.generation, later).unwrap();
    group.tick(now + SESSION + Duration::from_millis(1));
    assert!(group.members.contains_key(&a) && !group.members.contains_key(&b));
    assert_eq!(group.state, GroupState::PreparingRebalance);
}

#[test]
fn a_member_that_does_not_rejoin_is_out_after_the_rebalance_timeout() {
    let now = Instant::now();
    let (mut group, a, b) = pair([None, None], now);
    group.join(&request(&a, None, "changed"), now);
    for second in 1..=30 {
        let at = now + Duration::from_secs(second);
        let generation = group.generation;
        let _ = group.heartbeat(&b, None, generation, at);
        group.tick(at);
    }
    assert_eq!(group.state, GroupState::CompletingRebalance);
    assert_eq!(group.members.keys().collect::<Vec<_>>(), [&a]);
}

#[test]
fn a_static_member_that_returns_takes_its_place_without_a_rebalance() {
    let now = Instant::now();
    let (mut group, a, _) = pair([Some("one"), Some("two")], now);
    let generation = group.generation;
    let JoinStep::Done(Ok(reply)) = group.join(&request("", Some("one"), "restarted"), now) else {
        panic!("rebalanced")
    };
    assert_eq!((reply.generation, group.state), (generation, GroupState::Stable));
    assert_ne!(reply.member_id, a);
    assert_ne!(reply.leader, reply.member_id, "it must not assign again");
    let SyncStep::Done(Ok(sync)) = group.sync(&reply.member_id, Some("one"), generation, &[], now) else {
        panic!("no assignment")
    };
    assert_eq!(sync.assignment, Bytes::copy_from_slice(a.as_bytes()), "it keeps what it had");
}

#[test]
fn the_old_id_of_a_replaced_static_member_is_fenced() {
    let now = Instant::now();
    let (mut group, a, _) = pair([Some("one"), Some("two")], now);
    group.join(&request("", Some("one"), "restarted"), now);
    let generation = group.generation;
    let fenced = Err(ResponseError::FencedInstanceId);
    assert_eq!(group.heartbeat(&a, Some("one"), generation, now), fenced);
    assert_eq!(group.check_commit(&a, Some("one"), generation, now), fenced);
    assert_eq!(
        group.sync(&a, Some("one"), generation, &[], now),
        SyncStep::Done(Err(ResponseError::FencedInstanceId))
    );
}

#[test]
fn a_static_member_keeps_its_place_through_a_rebalance_it_misses() {
    let now = Instant::now();
    let (mut group, a, b) = pair([Some("one"), None], now);
    // session times are long here, so only the rebalance deadline matters
    for member in group.members.values_mut() {
        member.session = Duration::from_secs(300);
    }
    group.join(&request(&b, None, "changed"), now);
    group.tick(now + REBALANCE + Duration::from_millis(1));
    assert_eq!(group.state, GroupState::CompletingRebalance);
    assert!(group.members.contains_key(&a));
    assert_eq!(group.leader, b);
}

#[test]
fn commits_need_the_running_generation_unless_the_group_is_empty() {
    let now = Instant::now();
    let (mut group, a, _) = pair([None, None], now);
    let generation = group.generation;
    assert_eq!(group.check_commit(&a, None, generation, now), Ok(()));
    assert_eq!(group.check_commit(&a, None, generation - 1, now), Err(ResponseError::IllegalGeneration));
    assert_eq!(group.check_commit("", None, -1, now), Err(ResponseError::UnknownMemberId));
    assert_eq!(Group::default().check_commit("", None, -1, now), Ok(()));
}

#[test]
fn members_without_a_common_protocol_are_refused() {
    let now = Instant::now();
    let (mut group, ..) = pair([None, None], now);
    let mut other = request("", None, "m");
    other.protocols[0].0 = "sticky".to_owned();
    let JoinStep::Done(Err(refused)) = group.join(&other, now) else { panic!("accepted") };
    assert_eq!(refused.error, ResponseError::InconsistentGroupProtocol);
}
