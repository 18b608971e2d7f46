//! Park: stops one instance until someone acts. It never fails it, skips it or changes its history.

use super::Work;
use crate::core::action::Action;
use crate::core::error::Park;
use crate::core::ids::InstanceKey;
use crate::core::state::{Instance, Status};

pub(super) fn apply(work: &mut Work<'_>, key: InstanceKey, run: u32, park: Park) {
    let Some(mut instance) = work.load(&key) else {
        return work.stray("a park", &key);
    };
    if instance.run == run && instance.status == Status::Running {
        set(work, &key, &mut instance, park);
        work.save(&key, instance);
    }
}

pub(super) fn set(work: &mut Work<'_>, key: &InstanceKey, instance: &mut Instance, park: Park) {
    instance.status = Status::Parked(park.clone());
    instance.updated = work.now;
    work.executor.forget(key);
    work.actions.push(Action::Forget(key.clone()));
    work.actions.push(Action::Parked { key: key.clone(), park });
}
