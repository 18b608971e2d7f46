//! Values of rows. What kind a value is follows from its key.

use super::{CodecError, SECOND, pack_into, pack_version_into, unpack, unpack_second};
use crate::core::state::{Key, Row};
use bytes::Bytes;

/// The bytes of a row.
pub fn encode(row: &Row) -> Bytes {
    let mut out = Vec::with_capacity(128);
    encode_into(&mut out, row);
    Bytes::from(out)
}

/// The same, behind what is there.
pub fn encode_into(out: &mut Vec<u8>, row: &Row) {
    match row {
        Row::Position(v) => pack_version_into(out, SECOND, v),
        Row::Instance(v) => pack_version_into(out, SECOND, v),
        Row::Turns(v) => pack_version_into(out, SECOND, v),
        Row::Step(v) => pack_into(out, v),
        Row::Timer(v) => pack_into(out, v),
        Row::Signal(v) => pack_into(out, v),
        Row::Inbox(v) => pack_into(out, v),
    }
}

/// The row of bytes, by its key.
pub fn decode(key: &Key, bytes: &[u8]) -> Result<Row, CodecError> {
    Ok(match key {
        // In version 1 it held no number of lanes and no callees: 0 and an empty list behind the rest.
        Key::Position => Row::Position(unpack_second("position row", bytes, |old| [old, &[0, 0]].concat())?),
        // In version 1 it held no turns: an empty list behind the rest.
        Key::Instance(_) => Row::Instance(unpack_second("instance row", bytes, |old| [old, &[0]].concat())?),
        // In version 1 it was one turn: a list of one.
        Key::Turns(..) => Row::Turns(unpack_second("turn row", bytes, |old| [&[1], old].concat())?),
        Key::Step(..) => Row::Step(unpack("step row", bytes)?),
        Key::Timer(..) => Row::Timer(unpack("timer row", bytes)?),
        Key::Signal(..) => Row::Signal(unpack("signal row", bytes)?),
        Key::Inbox(..) => Row::Inbox(unpack("inbox row", bytes)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::history::{Mark, MarkKind, Turn, TurnInput};
    use crate::core::ids::{InstanceKey, OpId};
    use crate::core::state::{Instance, OpenOp, Position};

    const STARTED: u64 = 1_700_000_000_000;
    const SLEPT: u64 = STARTED + 500;

    fn sleep() -> Mark {
        Mark { id: OpId { branch: 0, number: 1 }, what: MarkKind::Sleep(60_000) }
    }

    fn instance() -> Instance {
        let open = OpenOp { mark: sleep(), since: SLEPT, until: SLEPT + 60_000 };
        Instance { turns: 2, updated: SLEPT, open: vec![open], ..Instance::new(STARTED, None) }
    }

    fn turn() -> Turn {
        let op = OpId { branch: 0, number: 0 };
        let input = TurnInput::Step { op, attempts: 2, outcome: Ok("17".into()) };
        Turn { at: SLEPT, input, asked: vec![sleep()] }
    }

    fn position() -> Position {
        let (epoch, checkpoint, next_command) = (3, 300, 4_711);
        let (journal_seq, journal_offset, now) = (9_000, 9_301, SLEPT);
        Position { epoch, checkpoint, next_command, journal_seq, journal_offset, now, ..Position::default() }
    }

    fn of_instance() -> Key {
        Key::Instance(InstanceKey::new("pay", "a-1"))
    }

    fn of_turns() -> Key {
        Key::Turns(InstanceKey::new("pay", "a-1"), 1)
    }

    #[test]
    fn rows_of_version_1_can_be_read() {
        let old = include_bytes!("../../tests/fixtures/version-1/instance-row");
        assert_eq!(decode(&of_instance(), old), Ok(Row::Instance(Box::new(instance()))));
        let old = include_bytes!("../../tests/fixtures/version-1/turn-row");
        assert_eq!(decode(&of_turns(), old), Ok(Row::Turns(vec![turn()])));
        let old = include_bytes!("../../tests/fixtures/version-1/position-row");
        assert_eq!(decode(&Key::Position, old), Ok(Row::Position(position())));
    }

    #[test]
    fn turns_survive_a_round_trip_in_either_row() {
        let recent = Row::Instance(Box::new(Instance { recent: vec![turn()], ..instance() }));
        assert_eq!(decode(&of_instance(), &encode(&recent)), Ok(recent));
        let turns = Row::Turns(vec![turn(), turn()]);
        assert_eq!(decode(&of_turns(), &encode(&turns)), Ok(turns));
    }

    #[test]
    fn a_row_of_a_later_version_is_refused() {
        for key in [of_instance(), of_turns(), Key::Position] {
            let error = decode(&key, &[SECOND + 1, 0]).unwrap_err().to_string();
            assert!(error.contains("format version 3 is not known"), "{error}");
        }
    }
}
