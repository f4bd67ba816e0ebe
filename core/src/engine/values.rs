//! Long values that stay with the workers that made them: noted when they are reported, considered
//! when consumers are placed, released when no instance needs them any more.

use super::held::HeldValues;
use super::needs::Needs;
use super::turn::{Hub, Turn};
use super::workers::Capacity;
use super::{Action, Engine};
use crate::ids::{InstanceId, RunId, WorkerId};
use crate::payload::{self, Whereabouts};
use crate::status::Detail;

impl Turn<'_> {
    /// Notes the value of an instance that is about to succeed, if a worker keeps it.
    pub(super) fn hold_value(
        &mut self,
        instance: InstanceId,
        number: u32,
        worker: WorkerId,
        detail: Option<&Detail>,
    ) {
        if let Some(held) = self.hub.held.get_mut(&self.run.id) {
            held.note_made(instance);
        }
        let value = detail.and_then(|detail| detail.value.as_deref());
        let Some(stored) = value.and_then(payload::stored) else { return };
        if stored.place == Whereabouts::Worker(worker, instance) {
            self.hold(instance, number, worker, stored.bytes);
        }
    }

    /// A worker keeps the value of an instance, which an attempt of this number has made.
    pub(super) fn hold(&mut self, instance: InstanceId, number: u32, worker: WorkerId, bytes: u64) {
        let held = self.hub.held.entry(self.run.id);
        let held = held.or_insert_with(|| HeldValues::new(&self.run.plan));
        held.hold(self.run, instance, number, worker, bytes);
    }

    /// A worker that is not there any more kept it.
    pub(super) fn note_gone(&mut self, instance: InstanceId, number: u32) {
        let held = self.hub.held.entry(self.run.id);
        let held = held.or_insert_with(|| HeldValues::new(&self.run.plan));
        held.note_gone(instance, number);
    }

    /// The worker with capacity that holds the most of an instance's inputs; `None` leaves the
    /// choice to the scheme.
    pub(super) fn near_values(&self, instance: InstanceId, needs: &Needs) -> Option<Capacity> {
        let held = self.hub.held.get(&self.run.id).filter(|_| needs.pin.is_none())?;
        let near = held.near(instance).into_iter();
        let mut near = near.filter(|(_, bytes)| *bytes > 0);
        let (worker, _) = near.find(|(worker, _)| self.hub.workers.could_start(*worker, needs))?;
        Some(Capacity { worker, attempts: 1 })
    }
}

impl Hub {
    /// Instructs workers to release the values that became unneeded since the last call.
    pub(super) fn release(&mut self, out: &mut Vec<Action>) {
        for (&run, held) in &mut self.held {
            for of_worker in held.take_released().chunk_by(|a, b| a.0 == b.0) {
                let values = of_worker.iter().map(|(_, instance)| *instance).collect();
                out.push(Action::Release { worker: of_worker[0].0, run, values });
            }
        }
    }
}

impl Engine {
    /// The worker that holds the value of an instance, if one does.
    #[must_use]
    pub fn holder(&self, run: RunId, instance: InstanceId) -> Option<WorkerId> {
        self.hub.held.get(&run)?.holder(instance)
    }
}
