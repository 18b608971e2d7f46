//! All groups under one lock; blocks the connection's thread while a join or sync waits for others.
use super::{Group, JoinRefused, JoinReply, JoinRequest, JoinStep, SyncReply, SyncStep};
use crate::time::Time;
use bytes::Bytes;
use kafka_protocol::ResponseError;
use parking_lot::{Mutex, MutexGuard};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// The groups of a broker. Taken before the lock of `State` where both are needed.
#[derive(Default)]
pub(crate) struct Coordinator {
    groups: Mutex<HashMap<String, Group>>,
    stopping: AtomicBool,
    time: Time,
}

impl Coordinator {
    pub(crate) fn new(time: Time) -> Self {
        Self { time, ..Self::default() }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, HashMap<String, Group>> {
        self.groups.lock()
    }

    pub(crate) fn join(&self, group_id: &str, request: &JoinRequest) -> Result<JoinReply, JoinRefused> {
        let mut groups = self.groups.lock();
        let group = groups.entry(group_id.to_owned()).or_default();
        let changed = group.changed.clone();
        let id = match group.join(request, self.time.instant()) {
            JoinStep::Done(result) => return result,
            JoinStep::Wait(id) => id,
        };
        loop {
            let gone =
                || JoinRefused { error: ResponseError::CoordinatorNotAvailable, member_id: id.clone() };
            if self.stopping.load(Ordering::Acquire) {
                return Err(gone());
            }
            let Some(group) = groups.get(group_id) else { return Err(gone()) };
            if let Some(result) = group.joined(&id, request.instance.as_deref()) {
                return result;
            }
            changed.wait(&mut groups);
        }
    }

    pub(crate) fn sync(
        &self,
        group_id: &str,
        id: &str,
        instance: Option<&str>,
        generation: i32,
        assignments: &[(String, Bytes)],
    ) -> Result<SyncReply, ResponseError> {
        let mut groups = self.groups.lock();
        let group = groups.get_mut(group_id).ok_or(ResponseError::UnknownMemberId)?;
        let changed = group.changed.clone();
        if let SyncStep::Done(result) = group.sync(id, instance, generation, assignments, self.time.instant())
        {
            return result;
        }
        loop {
            if self.stopping.load(Ordering::Acquire) {
                return Err(ResponseError::CoordinatorNotAvailable);
            }
            let group = groups.get(group_id).ok_or(ResponseError::UnknownMemberId)?;
            if let Some(result) = group.synced(id, instance, generation) {
                return result;
            }
            changed.wait(&mut groups);
        }
    }

    pub(crate) fn tick(&self, now: Instant) {
        for group in self.groups.lock().values_mut() {
            group.tick(now);
        }
    }

    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        for group in self.groups.lock().values() {
            group.changed.notify_all();
        }
    }
}
