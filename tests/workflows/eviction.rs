//! Instances that have to leave memory.

use crate::kit::registry;
use bytes::Bytes;
use sakia::core::executor::Executor;
use sakia::core::fact::Fact;
use sakia::core::history::{MissingTurn, Op, Turn, TurnInput};
use sakia::core::ids::{InstanceKey, OpId};
use sakia::futures::channel::oneshot;
use sakia::workflow::ReadyQueue;
use sakia::workflow::executor::LaneExecutor;
use sakia::{Ctx, Error, Result, Workflow};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

const WF: Workflow<u32, u32> = Workflow::new("wf");

type Outside = Arc<Mutex<Option<oneshot::Receiver<u32>>>>;

async fn asks_the_outside(ctx: Ctx<Outside>, _: u32) -> Result<u32> {
    let step = ctx.run("ask", async || {
        let answer = ctx.app().lock().unwrap_or_else(PoisonError::into_inner).take();
        answer.ok_or_else(|| Error::msg("asked twice"))?.await.map_err(Error::msg)
    });
    let (answer, slept) = sakia::join!(step, ctx.sleep(Duration::from_secs(1)));
    slept?;
    answer
}

#[test]
fn a_result_that_came_during_another_turn_survives_that_its_instance_should_leave_memory() {
    let (answer, outside) = oneshot::channel();
    let registry = Arc::new(registry(Outside::new(Mutex::new(Some(outside))), WF, asks_the_outside));
    let ready = Arc::new(ReadyQueue::new(|| {}));
    let mut executor = LaneExecutor::new("test".into(), registry, None, ready, 10_000, 0);
    let (first, second) = (InstanceKey::new("wf", "a"), InstanceKey::new("wf", "b"));
    let (step, sleep) = (OpId { branch: 0, number: 0 }, OpId { branch: 0, number: 1 });
    let start = TurnInput::Start(Bytes::from_static(b"1"));
    let none = &mut || Ok(Vec::new());

    assert_eq!(executor.turn(&first, 0, none, 1, &start).ops.len(), 2);
    assert!(executor.start_step(&first, 0, step, 1, 1, none).is_empty(), "its body waits for the outside");
    answer.send(7).unwrap();
    // The timer's turn polls the code, and with it the body, which ends.
    executor.turn(&first, 0, none, 2, &TurnInput::Timer { op: sleep });
    executor.turn(&second, 0, none, 3, &start);

    let facts = executor.poll_ready(4);
    assert!(
        matches!(&facts[..], [Fact::StepEnded { key, outcome: Ok(seven), .. }] if *key == first && &seven[..] == b"7"),
        "{facts:?}"
    );
}

async fn counts_its_steps(ctx: Ctx<Arc<AtomicU32>>, _: u32) -> Result<u32> {
    ctx.run("count", async || Ok(ctx.app().fetch_add(1, Ordering::SeqCst))).await
}

#[test]
fn a_step_begins_on_a_whole_history_only() {
    let begun = Arc::new(AtomicU32::new(0));
    let registry = Arc::new(registry(begun.clone(), WF, counts_its_steps));
    let ready = Arc::new(ReadyQueue::new(|| {}));
    let mut executor = LaneExecutor::new("test".into(), registry, None, ready, 10_000, 0);
    let (key, step) = (InstanceKey::new("wf", "a"), OpId { branch: 0, number: 0 });
    let start = TurnInput::Start(Bytes::from_static(b"1"));
    let asked = executor.turn(&key, 0, &mut || Ok(Vec::new()), 1, &start).ops.iter().map(Op::mark).collect();
    let turn = Turn { at: 1, input: start, asked };
    executor.forget(&key);

    let facts = executor.start_step(&key, 0, step, 1, 1, &mut || Ok(Vec::new()));
    assert!(facts.is_empty(), "the instance has ended: {facts:?}");
    let facts = executor.start_step(&key, 0, step, 1, 1, &mut || Err(MissingTurn(1)));
    let [Fact::Parked { park, .. }] = &facts[..] else { panic!("{facts:?}") };
    assert!(park.message.starts_with("turn 1 of its history is missing"), "{park:?}");
    assert_eq!(begun.load(Ordering::SeqCst), 0);

    let facts = executor.start_step(&key, 0, step, 1, 1, &mut || Ok(vec![turn.clone()]));
    assert!(matches!(&facts[..], [Fact::StepEnded { .. }]), "{facts:?}");
    assert_eq!(begun.load(Ordering::SeqCst), 1);
}
