//! What one instance can do wrong stays with that instance: whatever it says or asks for fits into the rows and records of
//! its lane.

use super::kit::{Kit, registry};
use super::{GO, OUT, WF, secs};
use sakia::core::error::TEXT_MAX_BYTES;
use sakia::core::state::Status;
use sakia::futures::future::join_all;
use sakia::{Ctx, Error, Result, Retry, Workflow};
use serde::{Deserialize, Deserializer, Serialize};
use std::time::UNIX_EPOCH;

const LONG: usize = 3 << 20;

#[test]
fn an_error_of_megabytes_is_cut_in_its_step_and_at_the_end() {
    let code = |ctx: Ctx<()>, _: u32| async move {
        let body = async || Err::<u32, _>(Error::msg("x".repeat(LONG)));
        let said = ctx.run("calls", body).retry(Retry::times(1)).await.unwrap_err().to_string();
        assert!(said.len() < TEXT_MAX_BYTES + 64, "the step's");
        Err::<u32, _>(Error::msg(format!("{said}{}", "y".repeat(LONG))))
    };
    let mut kit = Kit::new(registry((), WF, code));
    let key = kit.start(WF, "a", 0);
    let failure = kit.failure(&key);
    assert!(failure.len() < TEXT_MAX_BYTES + 64 && failure.starts_with('x'), "{} bytes", failure.len());
    assert!(failure.ends_with("bytes more)"), "it says that it was cut");
    kit.check_replay();
}

#[test]
fn a_panic_of_megabytes_is_cut() {
    let code = |_: Ctx<()>, _: u32| async move { panic!("{}", "x".repeat(LONG)) };
    let mut kit = Kit::new(registry((), Workflow::<u32, u32>::new("wf"), code));
    let key = kit.start(WF, "a", 0);
    assert!(kit.park(&key).starts_with("SAKIA-P02") && kit.park(&key).len() < TEXT_MAX_BYTES + 64);
}

/// A type whose author trusted the data.
#[derive(Serialize)]
struct Trusting(u32);

impl<'de> Deserialize<'de> for Trusting {
    fn deserialize<D: Deserializer<'de>>(input: D) -> std::result::Result<Self, D::Error> {
        let n = u32::deserialize(input)?;
        assert!(n < 100, "{n} is no percentage");
        Ok(Trusting(n))
    }
}

#[test]
fn an_input_whose_type_panics_when_it_is_read_goes_to_the_dead_letters() {
    const CUT: Workflow<Trusting, u32> = Workflow::new("cut");
    let mut kit = Kit::new(registry((), CUT, |_: Ctx<()>, Trusting(n)| async move { Ok(n) }));
    kit.start(CUT, "a", Trusting(101));
    assert!(
        kit.dead[0].starts_with("SAKIA-D02") && kit.dead[0].contains("101 is no percentage"),
        "{:?}",
        kit.dead
    );
    let key = kit.start(CUT, "b", Trusting(99));
    assert_eq!(kit.result::<u32>(&key), 99);
}

/// Waits for so many signals at once, and sends so many records when the first has come or it was cancelled.
async fn wide(ctx: Ctx<()>, (waits, sends): (u32, u32)) -> Result<u32> {
    let first = sakia::select! {
        all = join_all((0..waits).map(|_| async { ctx.recv(GO).await })) => all.into_iter().last().transpose(),
        () = async { ctx.recv(GO).await.map(drop).unwrap_or_default() } => Ok(None),
    };
    for n in 0..sends {
        ctx.send(OUT, &ctx.id(), n);
    }
    first.map(Option::unwrap_or_default)
}

const WIDE: Workflow<(u32, u32), u32> = Workflow::new("wide");

#[test]
fn what_is_dropped_and_sent_does_not_count_as_open() {
    let mut kit = Kit::new(registry((), WIDE, wide));
    let key = kit.start(WIDE, "a", (30, 40));
    kit.cancel(&key);
    assert!(kit.instance(&key).status.has_ended(), "{:?}", kit.instance(&key).status);
    assert_eq!(kit.sent.len(), 40);
    kit.check_replay();
}

#[test]
fn too_many_operations_or_records_at_once_park_with_the_number() {
    let mut kit = Kit::new(registry((), WIDE, wide));
    let key = kit.start(WIDE, "open", (50, 0));
    assert!(kit.park(&key).contains("51 operations are open at once, the limit is 40"), "{}", kit.park(&key));
    let key = kit.start(WIDE, "sent", (0, 41));
    assert!(kit.park(&key).contains("it sends 41 records at once"), "{}", kit.park(&key));
}

#[test]
fn a_child_that_its_lane_would_refuse_parks_its_parent() {
    for id in [String::new(), "far".repeat(342)] {
        let code = |ctx: Ctx<()>, id: String| async move { ctx.call(WF, id, 0).await };
        const CALLS: Workflow<String, u32> = Workflow::new("calls");
        let mut kit = Kit::new(registry((), CALLS, code));
        let key = kit.start(CALLS, "a", id.clone());
        let said = format!("SAKIA-P09: the name of a child has {} bytes", id.len());
        assert!(kit.park(&key).starts_with(&said), "{}", kit.park(&key));
        assert!(kit.far.is_empty(), "nothing has left");
    }
}

#[test]
fn a_child_that_too_many_wait_for_fails_the_next_call() {
    const CALLS: Workflow<u32, u32> = Workflow::new("calls");
    let code = |ctx: Ctx<()>, _: u32| async move { ctx.call(WF, "shared", 0).await };
    let mut registry = registry((), CALLS, code);
    registry.add(&std::sync::Arc::new(()), WF, |ctx: Ctx<()>, _: u32| async move { ctx.recv(GO).await });
    let mut kit = Kit::new(registry);
    let callers = ["a", "b", "c"].map(|id| kit.start(CALLS, id, 0));
    assert!(kit.failure(&callers[2]).contains("wf shared has 2 callers"), "{}", kit.failure(&callers[2]));
    kit.signal(&sakia::core::ids::InstanceKey::new("wf", "shared"), "go", 7);
    assert_eq!(kit.result::<u32>(&callers[0]) + kit.result::<u32>(&callers[1]), 14);
}

#[test]
fn a_caller_that_has_given_up_no_longer_counts() {
    const TRIES: Workflow<u32, u32> = Workflow::new("tries");
    let code = |ctx: Ctx<()>, _: u32| async move {
        sakia::select! {
            found = ctx.call(WF, "shared", 0) => found,
            () = async { ctx.sleep(secs(1)).await.unwrap_or_default() } => Ok(1),
        }
    };
    let mut registry = registry((), TRIES, code);
    registry.add(&std::sync::Arc::new(()), WF, |ctx: Ctx<()>, _: u32| async move { ctx.recv(GO).await });
    let mut kit = Kit::new(registry);
    let shared = kit.start(WF, "shared", 0);
    for n in 0..5 {
        let key = kit.start(TRIES, &format!("t-{n}"), 0);
        kit.advance(secs(2));
        assert_eq!(kit.result::<u32>(&key), 1, "it gave up, and was not refused");
    }
    assert_eq!(kit.instance(&shared).waiters.len(), 1, "the client that started it");
    assert_eq!(kit.instance(&shared).status, Status::Running);
    kit.check_replay();
}

/// Which step its first turn asks for must not depend on where among the facts the start has its place: that is not known
/// yet when the step begins.
#[test]
fn the_first_turn_has_the_time_of_its_record_and_later_ones_that_of_the_lane() {
    let code = |ctx: Ctx<()>, _: u32| async move {
        let ms = || u64::try_from(ctx.now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis());
        let first = ms()?;
        ctx.sleep(secs(1)).await?;
        Ok((first, ms()?))
    };
    const TIMES: Workflow<u32, (u64, u64)> = Workflow::new("wf");
    let mut kit = Kit::new(registry((), TIMES, code));
    kit.now = 50_000;
    kit.start(TIMES, "later", 0);
    kit.now = 2_000;
    let key = kit.start(TIMES, "earlier", 0);
    assert_eq!(kit.instance(&key).started, 2_000);
    assert_eq!(kit.instance(&key).status, Status::Running);
    kit.advance(secs(60));
    let (first, second) = kit.result::<(u64, u64)>(&key);
    assert_eq!(first, 2_000);
    assert!(second >= 50_000, "time does not go back for what comes after: {second}");
    kit.check_replay();
}
