//! Workflows on the real core and executor, in memory and in virtual time: no Kafka, no RocksDB.

mod bounds;
mod eviction;
mod history;
mod kit;

use kit::{Kit, registry};
use sakia::core::action::Reply;
use sakia::core::ids::InstanceKey;
use sakia::core::input::CommandAsk;
use sakia::core::state::{DigestEnd, Key, Status};
use sakia::core::tables::Tables;
use sakia::futures::{FutureExt, StreamExt};
use sakia::workflow::registry::Registry;
use sakia::{Ctx, Error, Permanent, Result, Retry, Signal, Topic, Workflow};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const WF: Workflow<u32, u32> = Workflow::new("wf");
const TEXT: Workflow<(), Vec<String>> = Workflow::new("text");
const GO: Signal<u32> = Signal::new("go");
const OUT: Topic<String, u32> = Topic::new("out");

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

type Calls = Arc<Mutex<Vec<String>>>;

fn note(calls: &Calls, what: impl Into<String>) {
    calls.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(what.into());
}

async fn pay(ctx: Ctx<Calls>, n: u32) -> Result<u32> {
    let calls = ctx.app();
    let auth: u32 = ctx
        .run("authorize", async || {
            tokio::time::sleep(Duration::from_millis(1)).await;
            note(calls, format!("authorize {}", ctx.idempotency_key()));
            Ok(n + 1)
        })
        .await?;
    let approved = ctx.recv(GO).timeout(secs(3 * 86_400)).await?;
    let out = match approved {
        Some(extra) => Ok(auth + extra),
        None => Err(Error::msg("nobody approved")),
    };
    ctx.send(OUT, &ctx.id(), auth);
    out
}

#[test]
fn a_workflow_runs_its_step_waits_for_a_signal_and_sends() {
    for forgetful in [false, true] {
        let calls = Calls::default();
        let mut kit = Kit::new(registry(calls.clone(), WF, pay));
        kit.forgetful = forgetful;
        let key = kit.start(WF, "a", 1);
        assert_eq!(kit.instance(&key).status, Status::Running);
        kit.advance(secs(100));
        kit.signal(&key, "go", 10);
        assert_eq!(kit.result::<u32>(&key), 12);
        assert_eq!(kit.sent, [("out".to_string(), "2".to_string())]);
        assert_eq!(*calls.lock().unwrap(), ["authorize test/wf/a/0/0"], "a replay runs no step");
        assert!(matches!(&kit.replies[..], [Reply::Ended(Ok(_))]));
        kit.check_replay();
    }
}

#[test]
fn a_timeout_fires_at_its_time_and_not_before() {
    let mut kit = Kit::new(registry(Calls::default(), WF, pay));
    let key = kit.start(WF, "a", 1);
    kit.advance(secs(3 * 86_400) - Duration::from_millis(1));
    assert_eq!(kit.outcome(&key), None);
    kit.advance(Duration::from_millis(1));
    assert_eq!(kit.failure(&key), "nobody approved");
    let digest = kit.instance(&key).digest;
    assert!(
        digest.entries.iter().any(|e| e.end == DigestEnd::Dropped),
        "the receive was dropped: {digest:?}"
    );
    kit.check_replay();
}

#[test]
fn a_second_start_of_an_id_is_the_same_instance() {
    let calls = Calls::default();
    let mut kit = Kit::new(registry(calls.clone(), WF, pay));
    let key = kit.start(WF, "a", 1);
    kit.start(WF, "a", 99);
    kit.signal(&key, "go", 0);
    kit.start(WF, "a", 99);
    assert_eq!(kit.result::<u32>(&key), 2);
    assert_eq!(calls.lock().unwrap().len(), 1);
    let ended = kit.replies.iter().filter(|r| matches!(r, Reply::Ended(Ok(_)))).count();
    assert_eq!(ended, 2, "the waiter once, and the one that came after the end");
}

#[test]
fn a_failing_step_is_retried_with_back_off_and_its_attempts_survive() {
    let tries = Arc::new(AtomicU32::new(0));
    let code = |ctx: Ctx<Arc<AtomicU32>>, _: u32| async move {
        ctx.run("flaky", async || {
            let n = ctx.app().fetch_add(1, Ordering::SeqCst) + 1;
            if n < 4 { Err(Error::msg(format!("try {n}"))) } else { Ok(n) }
        })
        .retry(Retry::times(5).starting_at(secs(1)))
        .await
    };
    let mut kit = Kit::new(registry(tries.clone(), WF, code));
    let key = kit.start(WF, "a", 0);
    kit.advance(secs(1));
    kit.forget_all();
    kit.advance(secs(1));
    assert_eq!(tries.load(Ordering::SeqCst), 2, "the third attempt is due 2 s after the second");
    kit.advance(secs(6));
    assert_eq!(kit.result::<u32>(&key), 4);
    let digest = kit.instance(&key).digest;
    assert_eq!(digest.entries[0].attempts, 4);
    kit.check_replay();
}

#[test]
fn retries_end_with_the_last_error_and_permanent_errors_at_once() {
    let code = |ctx: Ctx<()>, n: u32| async move {
        ctx.run(
            "fails",
            async || {
                if n == 0 { Err(Error::msg("again")) } else { "x".parse::<u32>().permanent() }
            },
        )
        .retry(Retry::times(2).starting_at(secs(1)))
        .await
    };
    let mut kit = Kit::new(registry((), WF, code));
    let again = kit.start(WF, "a", 0);
    assert_eq!(kit.outcome(&again), None);
    kit.advance(secs(1));
    assert_eq!(kit.failure(&again), "again");
    let once = kit.start(WF, "b", 1);
    assert!(kit.failure(&once).contains("invalid digit"));
}

#[test]
fn an_attempt_that_takes_too_long_counts_as_failed() {
    let code = |ctx: Ctx<()>, _: u32| async move {
        ctx.run("slow", async || {
            tokio::time::sleep(secs(60)).await;
            Ok(1)
        })
        .timeout(Duration::from_millis(5))
        .retry(Retry::times(1))
        .await
    };
    let mut kit = Kit::new(registry((), WF, code));
    let key = kit.start(WF, "a", 0);
    assert!(kit.failure(&key).contains("timed out"), "{}", kit.failure(&key));
}

#[test]
fn signals_that_come_early_wait_in_order() {
    let code = |ctx: Ctx<()>, _: ()| async move {
        ctx.sleep(secs(5)).await?;
        let mut got = Vec::new();
        for _ in 0..3 {
            got.push(ctx.recv(GO).await?.to_string());
        }
        Ok(got)
    };
    let mut kit = Kit::new(registry((), TEXT, code));
    let key = kit.start(TEXT, "a", ());
    for n in [3, 1, 2] {
        kit.signal(&key, "go", n);
    }
    kit.advance(secs(5));
    assert_eq!(kit.result::<Vec<String>>(&key), ["3", "1", "2"]);
    kit.check_replay();
}

#[test]
fn select_takes_the_first_and_cancels_the_others() {
    let code = |ctx: Ctx<()>, _: u32| async move {
        let first = sakia::select! {
            n = ctx.recv(GO) => n?,
            _ = ctx.sleep(secs(10)) => 0,
        };
        ctx.run("after", async || Ok(first)).await
    };
    let mut kit = Kit::new(registry((), WF, code));
    let signalled = kit.start(WF, "a", 0);
    kit.signal(&signalled, "go", 7);
    assert_eq!(kit.result::<u32>(&signalled), 7);
    let slept = kit.start(WF, "b", 0);
    kit.advance(secs(11));
    assert_eq!(kit.result::<u32>(&slept), 0);
    assert!(
        kit.tables.0.keys().all(|k| matches!(k, sakia::core::state::Key::Instance(_))),
        "{:?}",
        kit.tables
    );
    kit.check_replay();
}

#[test]
fn join_and_unordered_futures_replay_in_the_order_of_completion() {
    let code = |ctx: Ctx<()>, _: ()| async move {
        let step = |name: &'static str, ms: u64| {
            let ctx = ctx.clone();
            async move {
                ctx.run(name, async || {
                    tokio::time::sleep(Duration::from_millis(ms)).await;
                    Ok(name.to_string())
                })
                .await
            }
        };
        let (a, b) = sakia::join!(step("a", 9), step("b", 1));
        let mut got = vec![a?, b?];
        let mut several: sakia::futures::stream::FuturesUnordered<_> =
            [("x", 20), ("y", 1), ("z", 10)].map(|(n, ms)| step(n, ms).boxed_local()).into_iter().collect();
        while let Some(name) = several.next().await {
            got.push(ctx.run("use", async || Ok(name.clone()?)).await?);
        }
        Ok(got)
    };
    for forgetful in [false, true] {
        let mut kit = Kit::new(registry((), TEXT, code));
        kit.forgetful = forgetful;
        let key = kit.start(TEXT, "a", ());
        let got = kit.result::<Vec<String>>(&key);
        assert_eq!(got.len(), 5);
        kit.check_replay();
    }
}

fn family() -> Registry {
    let mut registry = Registry::default();
    let deps = Arc::new(());
    registry.add(&deps, WF, |ctx: Ctx<()>, n: u32| async move {
        let child = if n > 100 { "far-child" } else { "near-child" };
        Ok(ctx.call(CHILD, child, n).await? + 1)
    });
    registry.add(&deps, CHILD, |ctx: Ctx<()>, n: u32| async move {
        if n == 13 {
            return Err(Error::msg("unlucky"));
        }
        if n == 5 {
            ctx.recv(GO).await?;
        }
        Ok(n * 2)
    });
    registry.add(
        &deps,
        NEPHEW,
        |ctx: Ctx<()>, n: u32| async move { ctx.call(CHILD, "another-child", n).await },
    );
    registry
}

const CHILD: Workflow<u32, u32> = Workflow::new("child");
const NEPHEW: Workflow<u32, u32> = Workflow::new("nephew");

#[test]
fn only_the_first_call_of_a_workflow_on_the_same_lane_is_a_record() {
    let mut kit = Kit::new(family());
    let key = kit.start(WF, "a", 4);
    assert_eq!((kit.result::<u32>(&key), kit.came_back), (9, 1));
    let key = kit.start(NEPHEW, "b", 4);
    assert_eq!((kit.result::<u32>(&key), kit.came_back), (8, 1));
    assert!(kit.far.is_empty());
    kit.check_replay();
}

/// Calls the child that waits for a signal, and goes on at once: in the turn of the call, or after a step.
const IMPATIENT: Workflow<bool, u32> = Workflow::new("impatient");

fn impatient() -> Registry {
    let mut registry = family();
    registry.add(&Arc::new(()), IMPATIENT, |ctx: Ctx<()>, at_once: bool| async move {
        sakia::select! {
            child = ctx.call(CHILD, "near-child", 5) => child,
            n = async { if at_once { Ok(1) } else { ctx.run("quick", async || Ok(5)).await } } => n,
        }
    });
    registry
}

/// A cancel in memory would overtake the start that is on its way through the log, and find nobody.
#[test]
fn a_call_that_is_dropped_while_its_start_is_on_its_way_is_cancelled_all_the_same() {
    let mut kit = Kit::new(impatient());
    kit.holds_back = true;
    let key = kit.start(IMPATIENT, "a", false);
    assert_eq!(kit.result::<u32>(&key), 5);
    kit.holds_back = false;
    kit.come_back();
    let child = kit.instance(&InstanceKey::new(CHILD.name(), "near-child"));
    assert!(matches!(child.status, Status::Cancelled(_)), "{:?}", child.status);
    assert_eq!(kit.came_back, 2);
    kit.check_replay();
}

/// The cancel stays behind the start, in memory as well: the child's code has nothing to do but to end.
#[test]
fn a_call_that_is_dropped_in_the_same_turn_ends_in_it() {
    let mut kit = Kit::new(impatient());
    let caller = kit.start(NEPHEW, "a", 4);
    assert_eq!((kit.result::<u32>(&caller), kit.came_back), (8, 1));
    kit.holds_back = true;
    let key = kit.start(IMPATIENT, "b", true);
    assert_eq!(kit.result::<u32>(&key), 1);
    let child = kit.instance(&InstanceKey::new(CHILD.name(), "near-child"));
    assert!(matches!(child.status, Status::Cancelled(_)), "{:?}", child.status);
    assert_eq!(kit.came_back, 1);
    kit.check_replay();
}

/// The child was a client's already: the call only waits for it.
#[test]
fn a_call_that_is_dropped_while_it_is_on_its_way_waits_for_nothing_afterwards() {
    let mut kit = Kit::new(impatient());
    let child = kit.start(CHILD, "near-child", 5);
    let before = kit.instance(&child).waiters;
    kit.holds_back = true;
    let key = kit.start(IMPATIENT, "b", false);
    assert_eq!(kit.result::<u32>(&key), 5);
    kit.holds_back = false;
    kit.come_back();
    let found = kit.instance(&child);
    assert!(!found.status.has_ended() && found.waiters == before, "{found:?}");
    assert_eq!(kit.came_back, 2);
    kit.check_replay();
}

#[test]
fn a_childs_failure_is_the_failure_of_the_call() {
    let mut kit = Kit::new(family());
    let key = kit.start(WF, "a", 13);
    assert_eq!(kit.failure(&key), "unlucky");
}

#[test]
fn a_child_on_another_lane_is_called_by_a_command_and_answers_by_one() {
    let mut kit = Kit::new(family());
    let key = kit.start(WF, "a", 101);
    let [call] = &kit.far[..] else { panic!("{:?}", kit.far) };
    assert_eq!(&*call.to.id, "far-child");
    let op = kit.instance(&key).open[0].mark.id;
    let outcome = Ok(bytes::Bytes::from_static(b"7"));
    kit.command(key.clone(), CommandAsk::ChildEnded { run: 0, op, outcome: outcome.clone() });
    assert_eq!(kit.result::<u32>(&key), 8);
    kit.command(key.clone(), CommandAsk::ChildEnded { run: 0, op, outcome });
    assert_eq!(kit.result::<u32>(&key), 8, "a second answer changes nothing");
}

#[test]
fn cancelling_a_parent_cancels_its_child_and_shows_as_an_error() {
    let mut kit = Kit::new(family());
    let key = kit.start(WF, "a", 5);
    kit.cancel(&key);
    let cancelled = |status: &Status| matches!(status, Status::Cancelled(_));
    assert!(cancelled(&kit.instance(&key).status));
    let child = sakia::core::ids::InstanceKey::new("child", "near-child");
    assert!(cancelled(&kit.instance(&child).status));
    kit.check_replay();
}

#[test]
fn compensation_runs_to_its_end_after_a_cancel() {
    let code = |ctx: Ctx<Calls>, _: u32| async move {
        let out = ctx.recv(GO).await;
        if out.is_err() {
            ctx.run("void", async || {
                note(ctx.app(), "void");
                Ok(())
            })
            .await?;
        }
        out
    };
    let calls = Calls::default();
    let mut kit = Kit::new(registry(calls.clone(), WF, code));
    let key = kit.start(WF, "a", 0);
    kit.cancel(&key);
    assert!(matches!(kit.instance(&key).status, Status::Cancelled(_)));
    assert_eq!(*calls.lock().unwrap(), ["void"]);
}

async fn two_steps(ctx: Ctx<()>, _: u32) -> Result<u32> {
    ctx.run("one", async || Ok(1)).await?;
    ctx.recv(GO).await?;
    ctx.run("two", async || Ok(2)).await
}

#[test]
fn changed_code_parks_with_both_sides_and_goes_on_when_it_fits_again() {
    let mut kit = Kit::new(registry((), WF, two_steps));
    let key = kit.start(WF, "a", 0);
    kit.deploy(registry((), WF, |ctx: Ctx<()>, _: u32| async move {
        ctx.sleep(secs(3 * 86_400)).await?;
        Ok(0)
    }));
    kit.signal(&key, "go", 0);
    let park = kit.park(&key);
    assert!(park.contains("SAKIA-P01"), "{park}");
    assert!(park.contains("history has run \"one\", code asked sleep 3d"), "{park}");
    kit.deploy(registry((), WF, two_steps));
    kit.retry(&key);
    assert_eq!(kit.result::<u32>(&key), 2);
}

#[test]
fn a_history_that_lacks_a_turn_parks_and_goes_on_when_it_is_whole_again() {
    let mut kit = Kit::new(registry((), WF, two_steps));
    let key = kit.start(WF, "a", 0);
    let turns = Key::Turns(key.clone(), 0);
    let row = kit.tables.take(&turns).unwrap();
    kit.forget_all();
    kit.signal(&key, "go", 0);
    let park = kit.park(&key);
    assert!(park.contains("SAKIA-P01") && park.contains("turn 0 of its history is missing"), "{park}");
    kit.tables.put(turns, row);
    kit.retry(&key);
    assert_eq!(kit.result::<u32>(&key), 2);
}

#[test]
fn a_panic_parks_with_its_line_and_loses_no_input() {
    let mut kit = Kit::new(registry((), WF, |ctx: Ctx<()>, _: u32| async move {
        let n = ctx.recv(GO).await?;
        assert!(n > 5, "too small: {n}");
        Ok(n)
    }));
    let key = kit.start(WF, "a", 0);
    kit.signal(&key, "go", 3);
    let park = kit.park(&key);
    assert!(park.contains("too small: 3") && park.contains("main.rs"), "{park}");
    kit.deploy(registry((), WF, |ctx: Ctx<()>, _: u32| async move { ctx.recv(GO).await }));
    kit.retry(&key);
    assert_eq!(kit.result::<u32>(&key), 3);
}

#[test]
fn a_tokio_timer_outside_of_a_step_parks() {
    let mut kit = Kit::new(registry((), WF, |_: Ctx<()>, _: u32| async move {
        tokio::time::sleep(secs(1)).await;
        Ok(0)
    }));
    let key = kit.start(WF, "a", 0);
    assert!(kit.park(&key).contains("reactor"), "{}", kit.park(&key));
}

#[test]
fn a_wait_for_something_foreign_parks() {
    let mut kit = Kit::new(registry((), WF, |_: Ctx<()>, _: u32| std::future::pending()));
    let key = kit.start(WF, "a", 0);
    assert!(kit.park(&key).contains("SAKIA-P03"), "{}", kit.park(&key));
}

#[test]
fn a_foreign_wake_beside_an_open_operation_is_reported_with_its_line() {
    let mut kit = Kit::new(registry((), WF, |ctx: Ctx<()>, _: u32| async move {
        let (sender, receiver) = tokio::sync::oneshot::channel::<u32>();
        std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(5));
            sender.send(1)
        });
        sakia::select! {
            n = ctx.recv(GO) => n,
            n = receiver => n.map_err(Error::from),
        }
    }));
    let key = kit.start(WF, "a", 0);
    // Finding the line takes a moment on the waking thread.
    kit.settle_until(|kit| kit.instance(&key).status != Status::Running);
    assert!(kit.park(&key).contains("SAKIA-P03"), "{}", kit.park(&key));
    assert!(kit.park(&key).contains("main.rs"), "{}", kit.park(&key));
}

#[test]
fn random_numbers_and_time_are_the_same_in_every_replay() {
    let code = |ctx: Ctx<()>, _: ()| async move {
        let before = format!("{:?} {} {}", ctx.now(), ctx.rand(), ctx.uuid());
        ctx.recv(GO).await?;
        Ok(vec![before, ctx.rand().to_string()])
    };
    let mut kit = Kit::new(registry((), TEXT, code));
    let key = kit.start(TEXT, "a", ());
    kit.advance(secs(9));
    kit.forget_all();
    kit.signal(&key, "go", 1);
    let got = kit.result::<Vec<String>>(&key);
    assert!(got[0].contains("tv_sec: 1,"), "{got:?}");
    kit.check_replay();
}

#[test]
fn bad_input_goes_to_the_dead_letters_with_a_code() {
    let mut kit = Kit::new(registry(Calls::default(), WF, pay));
    let unknown = sakia::core::ids::InstanceKey::new("nope", "a");
    let start =
        |input: &'static [u8]| CommandAsk::Start { input: bytes::Bytes::from_static(input), waiter: None };
    kit.command(unknown, start(b"1"));
    let bytes = sakia::core::ids::InstanceKey::new("wf", "b");
    kit.command(bytes.clone(), start(b"\xff\xfe"));
    kit.signal(&bytes, "go", 1);
    let done = kit.start(WF, "c", 1);
    kit.signal(&done, "go", 1);
    kit.signal(&done, "go", 1);
    let codes: Vec<&str> = kit.dead.iter().map(|d| &d[..9]).collect();
    assert_eq!(codes, ["SAKIA-D03", "SAKIA-D02", "SAKIA-D04", "SAKIA-D05"], "{:?}", kit.dead);
}

#[test]
fn a_result_over_the_limit_fails_its_step_and_nothing_else() {
    let code = |ctx: Ctx<()>, _: u32| async move {
        let big = ctx.run("big", async || Ok("x".repeat(20_000))).await;
        assert!(big.unwrap_err().to_string().contains("limit"));
        Ok(1)
    };
    let mut kit = Kit::new(registry((), WF, code));
    let key = kit.start(WF, "a", 0);
    assert_eq!(kit.result::<u32>(&key), 1);
}

#[test]
fn an_ended_instance_leaves_its_outcome_and_nothing_else() {
    let mut kit = Kit::new(registry(Calls::default(), WF, pay));
    let key = kit.start(WF, "a", 1);
    kit.signal(&key, "other", 5);
    kit.signal(&key, "go", 1);
    assert_eq!(kit.tables.0.len(), 1, "{:?}", kit.tables);
}
