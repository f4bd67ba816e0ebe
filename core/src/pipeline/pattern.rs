//! How the instances of a task relate to those of others.

use serde::{Deserialize, Serialize};

use crate::ids::TaskId;

/// How the instances of a task relate to those of others.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pattern {
    /// As many instances as its sweep has points, one without a sweep.
    #[default]
    Own,
    /// Element-wise over the instances of another task.
    Map(TaskId),
    /// One instance after all instances of these tasks.
    Gather(Vec<TaskId>),
    /// One instance for each distinct combination of these parameters of the task's, after its
    /// instances of that combination.
    GatherBy(TaskId, Vec<String>),
    /// One instance for each block of this many consecutive instances of the task, after these; the
    /// last block may have fewer. Its parameter `part` counts them. At least one.
    GatherEvery(TaskId, u32),
    /// As many instances as the JSON array that the upstream captures has elements or parts.
    Scatter(Scatter),
}

impl Pattern {
    /// The tasks whose instances this pattern relates to.
    #[must_use]
    pub fn upstreams(&self) -> &[TaskId] {
        match self {
            Pattern::Own => &[],
            Pattern::Map(upstream)
            | Pattern::GatherBy(upstream, _)
            | Pattern::GatherEvery(upstream, _)
            | Pattern::Scatter(Scatter { from: upstream, .. }) => std::slice::from_ref(upstream),
            Pattern::Gather(upstreams) => upstreams,
        }
    }

    /// The same, to be changed.
    #[must_use]
    pub fn upstreams_mut(&mut self) -> &mut [TaskId] {
        match self {
            Pattern::Own => &mut [],
            Pattern::Map(upstream)
            | Pattern::GatherBy(upstream, _)
            | Pattern::GatherEvery(upstream, _)
            | Pattern::Scatter(Scatter { from: upstream, .. }) => std::slice::from_mut(upstream),
            Pattern::Gather(upstreams) => upstreams,
        }
    }

    /// The tasks that it gathers.
    #[must_use]
    pub fn gathered(&self) -> &[TaskId] {
        match self {
            Pattern::Gather(_) | Pattern::GatherBy(..) | Pattern::GatherEvery(..) => {
                self.upstreams()
            }
            _ => &[],
        }
    }

    /// The task whose instances it gathers in groups.
    #[must_use]
    pub fn grouped(&self) -> Option<TaskId> {
        match self {
            Pattern::GatherBy(upstream, _) | Pattern::GatherEvery(upstream, _) => Some(*upstream),
            _ => None,
        }
    }
}

/// A dynamic fan-out over a captured JSON array.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scatter {
    /// The task that captures the array; of several instances, their arrays one after the other.
    pub from: TaskId,
    /// The part of it that each instance gets.
    pub split: Split,
    /// More elements than this are an error.
    pub max_items: Option<u32>,
}

/// The part of an array that an instance of a scatter gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    /// One element.
    Each,
    /// An array of up to this many consecutive elements.
    Chunk(u32),
    /// One of this many contiguous, balanced arrays; never an empty one.
    Parts(u32),
}

impl Split {
    /// How many instances `items` elements make.
    #[must_use]
    pub fn width(self, items: u64) -> u64 {
        match self {
            Split::Each => items,
            Split::Chunk(chunk) => items.div_ceil(u64::from(chunk.max(1))),
            Split::Parts(parts) => items.min(parts.into()),
        }
    }

    /// The elements of part `part`: the first, and how many.
    #[must_use]
    pub fn elements(self, items: u64, part: u64) -> (u64, u64) {
        match self {
            Split::Each => (part, 1),
            Split::Chunk(chunk) => {
                let first = part * u64::from(chunk);
                (first, items.saturating_sub(first).min(chunk.into()))
            }
            Split::Parts(_) => {
                let width = self.width(items).max(1);
                let (least, larger) = (items / width, items % width);
                (part * least + part.min(larger), least + u64::from(part < larger))
            }
        }
    }
}
