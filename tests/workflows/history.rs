//! Where the turns of a history are kept.

use crate::kit::{Kit, limits, registry};
use sakia::core::ids::InstanceKey;
use sakia::core::state::{Instance, Key, Row};
use sakia::core::tables::{Tables, history};
use sakia::{Ctx, Result, Signal, Workflow};

const WF: Workflow<u32, u32> = Workflow::new("wf");
const WORD: Signal<String> = Signal::new("word");

/// Receives so many words.
async fn receives(ctx: Ctx<()>, words: u32) -> Result<u32> {
    let mut length = 0;
    for _ in 0..words {
        length += ctx.recv(WORD).await?.len();
    }
    Ok(u32::try_from(length)?)
}

/// The first turn and the number of turns of each row that holds nothing else; then the turns in the instance's row.
fn layout(kit: &Kit, key: &InstanceKey) -> (Vec<(u32, usize)>, usize) {
    let rows = kit.tables.0.iter().filter_map(|(key, row)| match (key, row) {
        (Key::Turns(_, first), Row::Turns(turns)) => Some((*first, turns.len())),
        _ => None,
    });
    (rows.collect(), kit.instance(key).recent.len())
}

#[test]
fn turns_leave_the_row_of_their_instance_when_they_are_many() {
    let mut kit = Kit::new(registry((), WF, receives));
    let key = kit.start(WF, "a", 5);
    assert_eq!(layout(&kit, &key), (vec![], 1));
    for _ in 0..4 {
        kit.signal(&key, "word", "hello");
    }
    assert_eq!(layout(&kit, &key), (vec![(0, 2), (2, 2)], 1));
    kit.forget_all();
    kit.signal(&key, "word", "hello");
    assert_eq!(kit.result::<u32>(&key), 25);
    assert_eq!(layout(&kit, &key), (vec![], 0), "the history goes at the end, wherever it was");
    assert_eq!(kit.instance(&key).digest.entries.len(), 5);
}

#[test]
fn turns_leave_the_row_of_their_instance_when_they_are_large() {
    let mut kit = Kit::new(registry((), WF, receives));
    let key = kit.start(WF, "a", 3);
    let long = "x".repeat(limits().recent_bytes);
    kit.signal(&key, "word", "a");
    kit.signal(&key, "word", &long);
    assert_eq!(layout(&kit, &key), (vec![(0, 2), (2, 1)], 0), "the long one waits for no other");
    kit.forget_all();
    kit.signal(&key, "word", "b");
    assert_eq!(kit.result::<u32>(&key), u32::try_from(long.len()).unwrap() + 2);
}

#[test]
fn an_instance_whose_turns_have_a_row_each_goes_on() {
    // As version 1 of the rows had it.
    let mut kit = Kit::new(registry((), WF, receives));
    let key = kit.start(WF, "a", 4);
    for _ in 0..3 {
        kit.signal(&key, "word", "hello");
    }
    let instance = kit.instance(&key);
    for (number, turn) in (0..).zip(history(&mut kit.tables, &key, &instance).unwrap()) {
        kit.tables.put(Key::Turns(key.clone(), number), Row::Turns(vec![turn]));
    }
    let instance = Instance { recent: Vec::new(), ..instance };
    kit.tables.put(Key::Instance(key.clone()), Row::Instance(Box::new(instance)));
    assert_eq!(layout(&kit, &key), (vec![(0, 1), (1, 1), (2, 1), (3, 1)], 0));
    kit.forget_all();
    kit.signal(&key, "word", "hello");
    assert_eq!(kit.result::<u32>(&key), 20);
    assert_eq!(layout(&kit, &key), (vec![], 0));
}
