//! What must hold, kept beside the system: which attempts have begun, what is in place, what clients were
//! told.

use std::collections::{BTreeMap, BTreeSet};

use dagrun_core::ids::{InstanceId, RunId};
use dagrun_core::status::{RunState, State};

/// An instance of a run.
pub(crate) type Place = (RunId, InstanceId);

/// What has been seen.
#[derive(Debug, Default)]
pub(crate) struct Oracle {
    /// Attempts that have begun.
    begun: BTreeSet<(Place, u32)>,
    /// The highest number of an attempt that has begun.
    latest: BTreeMap<Place, u32>,
    /// Directories in which attempts write, until they are in place or moved away.
    dirs: BTreeSet<(Place, String, u32)>,
    /// The attempt whose outputs are in place.
    placed: BTreeMap<Place, u32>,
    /// What clients were told of instances.
    told: BTreeMap<Place, State>,
    /// And of runs.
    ended: BTreeMap<RunId, RunState>,
}

impl Oracle {
    /// How many attempts of an instance have begun.
    pub(crate) fn begun(&self, place: Place) -> usize {
        self.begun.range((place, 0)..=(place, u32::MAX)).count()
    }

    /// An attempt begins, after what earlier ones may still place was moved away.
    pub(crate) fn begin(&mut self, place: Place, number: u32, uid: &str) {
        let is_first = self.begun.insert((place, number));
        assert!(is_first, "attempt {number} of {place:?} has begun twice");
        let latest = self.latest.entry(place).or_default();
        *latest = number.max(*latest);
        self.dirs.insert((place, uid.to_owned(), number));
    }

    /// What an attempt wrote is moved away.
    pub(crate) fn fence(&mut self, place: Place, uid: &str, number: u32) {
        self.dirs.remove(&(place, uid.to_owned(), number));
    }

    /// An attempt moves what it wrote to its place; `false` when it is not there any more.
    pub(crate) fn publish(&mut self, place: Place, number: u32, uid: &str) -> bool {
        if !self.dirs.remove(&(place, uid.to_owned(), number)) {
            return false;
        }
        let latest = self.latest.get(&place).copied().unwrap_or_default();
        assert!(
            latest <= number,
            "attempt {number} of {place:?} places its outputs although attempt {latest} has begun"
        );
        self.placed.insert(place, number);
        true
    }

    /// The scheduler hands an instance out.
    pub(crate) fn dispatch(&self, place: Place, number: u32) {
        if let Some(state) = self.told.get(&place) {
            panic!(
                "attempt {number} of {place:?} is handed out although clients know it as {state:?}"
            );
        }
    }

    /// Clients are told how an instance ended.
    pub(crate) fn tell(&mut self, place: Place, state: State) {
        let before = self.told.insert(place, state);
        let same = before.is_none_or(|before| before == state);
        assert!(same, "{place:?} was {before:?} for clients, and is {state:?} now");
    }

    /// And how a run ended.
    pub(crate) fn tell_end(&mut self, run: RunId, state: RunState) {
        let before = self.ended.insert(run, state);
        let same = before.is_none_or(|before| before == state);
        assert!(same, "{run:?} was {before:?} for clients, and is {state:?} now");
    }

    pub(crate) fn end_of(&self, run: RunId) -> Option<RunState> {
        self.ended.get(&run).copied()
    }

    /// What is on disk when all is over must be what clients were told, and what is in place what the
    /// journal says.
    pub(crate) fn check_ends(&self, run: RunId, ends: &BTreeMap<InstanceId, (State, u32)>) {
        for ((of, instance), state) in self.told.iter().filter(|((of, _), _)| *of == run) {
            let on_disk = ends.get(instance).map(|(state, _)| *state);
            assert!(
                on_disk == Some(*state),
                "clients know {instance:?} of {of:?} as {state:?}, on disk it is {on_disk:?}"
            );
        }
        for (instance, (state, number)) in ends {
            let placed = self.placed.get(&(run, *instance));
            assert!(
                *state != State::Succeeded || placed == Some(number),
                "{instance:?} of {run:?} succeeded by attempt {number}, in place is that of {placed:?}"
            );
        }
    }
}
