//! Everything that a client can ask, asked of the broker and compared with the model.
use super::log::Row;
use super::requests;
use super::world::{GROUPS, World, partitions};
use crate::state::TopicPartition;
use kafka_protocol::ResponseError;
use rand::Rng as _;

impl World {
    pub(super) fn check(&mut self) {
        for tp in partitions() {
            self.check_bounds(&tp);
            for committed in [true, false] {
                let found = self.read_all(&tp, committed);
                assert_eq!(
                    found,
                    self.model.logs[&tp].view(committed),
                    "{tp:?}, committed only: {committed}"
                );
                self.check_read_from_anywhere(&tp, committed);
            }
        }
        self.check_offsets();
        self.check_ids();
    }

    fn check_bounds(&mut self, tp: &TopicPartition) {
        let time = self.model.now - self.dice.random_range(0..3000);
        let log = &self.model.logs[tp];
        let ask = |time, committed| requests::list_offset(&self.node, tp, time, committed);
        assert_eq!(ask(-2, false), Ok(log.start), "first offset of {tp:?}");
        for committed in [true, false] {
            assert_eq!(ask(-1, committed), Ok(log.end(committed)), "end of {tp:?}, committed: {committed}");
            let expected = log.first_from(time, committed).unwrap_or(-1);
            assert_eq!(ask(time, committed), Ok(expected), "first of {tp:?} from {time}");
        }
        let answer = requests::fetch(&self.node, tp, log.start, true, 1);
        let bounds = (answer.log_start_offset, answer.last_stable_offset, answer.high_watermark);
        assert_eq!(bounds, (log.start, log.stable(), log.next), "bounds of {tp:?} as a fetch tells them");
        let beyond = requests::fetch(&self.node, tp, log.next + 1, true, 1).error_code;
        assert_eq!(beyond, ResponseError::OffsetOutOfRange.code());
    }

    /// As a reader that begins at the first offset and goes on to the end, in small bites.
    pub(super) fn read_all(&mut self, tp: &TopicPartition, committed: bool) -> Vec<Row> {
        let max_bytes = self.dice.random_range(1..600);
        let (mut at, mut rows) = (self.model.logs[tp].start, Vec::new());
        let end = self.model.logs[tp].end(committed);
        while at < end {
            let answer = requests::fetch(&self.node, tp, at, committed, max_bytes);
            assert_eq!(answer.error_code, 0, "fetch of {tp:?} at {at}");
            let (found, next) = requests::read(&answer, at, committed);
            assert!(next > at, "a reader of {tp:?} hangs at {at}, the end is {end}");
            rows.extend(found);
            at = next;
        }
        assert_eq!(at, end, "a reader of {tp:?} goes beyond the end");
        rows
    }

    fn check_read_from_anywhere(&mut self, tp: &TopicPartition, committed: bool) {
        let log = self.model.logs[tp].clone();
        let from = self.dice.random_range(log.start..=log.next);
        let max_bytes = self.dice.random_range(1..600);
        let answer = requests::fetch(&self.node, tp, from, committed, max_bytes);
        let (found, next) = requests::read(&answer, from, committed);
        let expected: Vec<Row> =
            log.view(committed).into_iter().filter(|r| (from..next).contains(&r.offset)).collect();
        assert_eq!(found, expected, "{tp:?} from {from} to {next}, committed only: {committed}");
    }

    fn check_offsets(&self) {
        for group in GROUPS {
            for tp in partitions() {
                let known = self.model.offsets.get(&(group.to_owned(), tp.clone())).map_or(-1, |r| r.offset);
                let now = requests::remembered(&self.node, group, &tp, false);
                assert_eq!(now, Ok(known), "offset of {group} for {tp:?}");
                let stable = if self.model.is_unstable(group, &tp) {
                    Err(ResponseError::UnstableOffsetCommit)
                } else {
                    Ok(known)
                };
                let found = requests::remembered(&self.node, group, &tp, true);
                assert_eq!(found, stable, "stable offset of {group} for {tp:?}");
            }
        }
    }

    fn check_ids(&self) {
        let state = self.node.state();
        assert!(state.txns.keys().eq(self.model.ids.keys()), "transactional ids");
        for (name, id) in &self.model.ids {
            let found = &state.txns[name].meta;
            assert_eq!((found.producer_id, found.epoch), (id.owner.id, id.owner.epoch), "owner of {name}");
            assert_eq!(found.phase.name(), id.stage.name(), "stage of {name}");
            assert_eq!(found.partitions, id.partitions, "partitions of {name}");
            assert_eq!(found.groups, id.groups, "groups of {name}");
        }
    }
}
