//! What an attempt needs of its worker. Tasks with equal needs share a class: when one of them
//! finds no capacity, none of the others would.

use rustc_hash::FxHashMap;

use super::plan::TaskPlan;
use crate::ids::{TaskId, WorkerId};
use crate::pipeline::Targets;

/// What an attempt needs of its worker.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Needs {
    pub(super) cpus: u32,
    pub(super) memory: u64,
    pub(super) resources: Vec<(String, u64)>,
    pub(super) names: Option<Vec<String>>,
    /// The function that it calls, and the signature that it must have.
    pub(super) function: Option<(String, Option<u64>)>,
    /// The worker that its task follows.
    pub(super) pin: Option<WorkerId>,
    /// A task whose instances are each for a worker of their own has a class of its own.
    pub(super) own: Option<(u64, TaskId)>,
    /// Workers that will not do, sorted: they were tried in vain.
    pub(super) except: Vec<WorkerId>,
}

impl Needs {
    pub(super) fn of(plan: &TaskPlan, submitted: u64, task: TaskId) -> Needs {
        Needs {
            cpus: plan.conduct.slots(),
            memory: plan.conduct.memory,
            resources: plan
                .conduct
                .resources
                .iter()
                .filter(|(_, amount)| *amount > 0)
                .cloned()
                .collect(),
            names: match &plan.conduct.targets {
                Targets::Named(names) => Some(names.clone()),
                Targets::Any | Targets::Each => None,
            },
            function: plan.function.clone(),
            pin: None,
            own: (plan.conduct.targets == Targets::Each).then_some((submitted, task)),
            except: Vec::new(),
        }
    }

    /// Whether slots are all that matters, and any worker will do.
    pub(super) fn is_plain(&self) -> bool {
        self.only_slots()
            && self.names.is_none()
            && self.function.is_none()
            && self.pin.is_none()
            && self.own.is_none()
            && self.except.is_empty()
    }

    /// Whether it occupies nothing but slots.
    pub(super) fn only_slots(&self) -> bool {
        self.memory == 0 && self.resources.is_empty()
    }
}

/// A class of needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct ClassId(u32);

#[derive(Debug)]
struct Class {
    needs: Needs,
    tasks: u32,
}

/// The classes of all tasks of all runs; those that no task has are forgotten.
#[derive(Debug, Default)]
pub(super) struct Classes {
    classes: Vec<Option<Class>>,
    free: Vec<u32>,
    ids: FxHashMap<Needs, ClassId>,
}

impl Classes {
    /// The class of one more task.
    pub(super) fn join(&mut self, needs: Needs) -> ClassId {
        if let Some(&id) = self.ids.get(&needs) {
            if let Some(Some(class)) = self.classes.get_mut(id.0 as usize) {
                class.tasks += 1;
            }
            return id;
        }
        let at = self.free.pop().unwrap_or_else(|| {
            self.classes.push(None);
            u32::try_from(self.classes.len() - 1).unwrap_or(u32::MAX)
        });
        self.classes[at as usize] = Some(Class { needs: needs.clone(), tasks: 1 });
        self.ids.insert(needs, ClassId(at));
        ClassId(at)
    }

    /// A task has left a class.
    pub(super) fn leave(&mut self, id: ClassId) {
        let Some(slot) = self.classes.get_mut(id.0 as usize) else { return };
        let Some(class) = slot else { return };
        class.tasks -= 1;
        if class.tasks == 0 {
            self.ids.remove(&class.needs);
            *slot = None;
            self.free.push(id.0);
        }
    }

    pub(super) fn get(&self, id: ClassId) -> Option<&Needs> {
        Some(&self.classes.get(id.0 as usize)?.as_ref()?.needs)
    }
}
