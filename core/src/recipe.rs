//! What a worker needs to run any instance of one task: the task, its space, its run.
//!
//! A recipe is made once for each task of a run, sent once to each worker, and then renders
//! instances from their indices and the inputs that [`RecipeData::inputs`] requests from the
//! scheduler.
//!
//! # Key and seed
//!
//! `{key}` is `name=text` for each parameter, inherited ones first, joined with commas. Bytes other
//! than ASCII letters, digits and `._+-` become `_`; if that lost information, or the whole is
//! longer than 100 bytes and is truncated, `~` and 16 hexadecimal digits follow, which distinguish
//! such keys. Points whose texts are all the same are distinguished by `~` and their index. The key
//! of a task without parameters is its index, `0`, and likewise where the number of instances is
//! known only at run time.
//!
//! `{seed}` is FNV-1a (64 bits), finished with one step of SplitMix64, over: the run's seed in 8
//! bytes, little-endian; the task's name; for each parameter, in the order of the names' bytes, its
//! name and its value. Names and values are encoded by
//! [`Value::write_canonical`](crate::value::Value::write_canonical), names as text. So a seed
//! depends on the value of a number, not on its spelling (`0.1` and `0.10` agree), and neither on
//! the index nor on the order of the axes; points with the same parameters have the same seed. In a
//! scatter and the maps over one the element or chunk counts as a parameter called `item`; with
//! `targets = "each"` the number of the worker counts as one called `index`.
//!
//! # Items
//!
//! The instances of a scatter, and of the maps over one, get elements of a captured array. With a
//! sweep of *w* points (*w* = 1 without one), instance *i* of the scatter gets part *i / w* and
//! point *i mod w*; an instance of a map gets what its upstream instance got. [`Items`] makes the
//! parts; [`RecipeData::inputs`] asks for one with [`InputKind::Item`].

mod build;
mod calling;
mod compile;
mod frame;
mod given;
mod identity;
mod items;
mod keep;
mod length;
mod manifest;
mod render;
mod script;
mod shape;
#[cfg(test)]
mod tests;
pub mod values;
mod wants;

use std::ops::Deref;
use std::path::PathBuf;

use serde::Deserialize;

pub use self::calling::{Argument, Calling, Job};
use self::compile::Compiled;
use self::frame::Frame;
pub use self::given::{
    Input, InputKind, InputSpec, ManifestSpec, RecipeData, RecipeError, RenderError,
};
pub use self::items::{Items, count_items};
pub use self::keep::{INLINE, Keep};
pub use self::length::WORD;
use self::render::Renderer;
pub use self::render::{Checkpoint, Invocation, OutputFile};
pub(crate) use self::shape::PathShape;
pub use self::wants::{Wants, WantsFile};
use crate::ids::{InstanceId, RunId, TaskId};
use crate::pipeline::{Pipeline, RunContext, TaskAction};
use crate::value::Value;

/// How the names of the directories begin that an attempt writes its outputs into. They end there, or
/// with a `-` and what tells several of them apart. `mark` is that of its worker.
#[must_use]
pub fn attempt_dir(mark: &str, run: RunId, instance: InstanceId, attempt: u32) -> String {
    let InstanceId { task, index } = instance;
    match mark {
        "" => format!(".dagrun-{run}-{task}-{index}-{attempt}"),
        mark => format!(".dagrun-{mark}-{run}-{task}-{index}-{attempt}"),
    }
}

/// A recipe ready for rendering: from an index to all that an attempt of that instance needs.
///
/// What it is made of, [`RecipeData`], is sent once per worker; instances are then index ranges.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "RecipeData")]
pub struct Recipe {
    data: RecipeData,
    compiled: Compiled,
}

impl Recipe {
    /// The recipe of a task. Takes time and memory for this task and those it maps or mentions.
    ///
    /// # Errors
    /// When the pipeline is not one that [`crate::graph::Graph::new`] would accept.
    pub fn new(
        pipeline: &Pipeline,
        task: TaskId,
        context: &RunContext,
    ) -> Result<Recipe, RecipeError> {
        Recipe::try_from(RecipeData::new(pipeline, task, context)?)
    }

    /// The same, for attempts of a worker with this mark, which no other worker has: a part of the
    /// names of the directories that its attempts write into.
    #[must_use]
    pub fn marked(mut self, mark: &str) -> Recipe {
        self.data.mark = mark.chars().filter(char::is_ascii_alphanumeric).take(32).collect();
        self
    }

    /// Slots that an attempt occupies; 0: it is a process beside them, which waits for none.
    #[must_use]
    pub fn cpus(&self) -> u32 {
        match self.data.action {
            TaskAction::Call(_) => self.data.cpus.max(1),
            _ => self.data.cpus,
        }
    }

    fn renderer<'a>(
        &'a self,
        index: u32,
        attempt: u32,
        inputs: Option<&'a [Input]>,
    ) -> Renderer<'a> {
        Renderer::new((&self.data, &self.compiled), index, attempt, inputs)
    }

    /// The parameters of an instance, inherited ones first; the item of a scatter is not among
    /// them.
    #[must_use]
    pub fn params(&self, index: u32) -> Vec<(String, Value)> {
        let frame = Frame::new(&self.compiled.own, index);
        frame.params().map(|(name, value)| (name.to_owned(), value.into_owned())).collect()
    }

    /// `{key}` of an instance.
    #[must_use]
    pub fn key(&self, index: u32) -> String {
        Frame::new(&self.compiled.own, index).key()
    }

    /// `{seed}` of an instance; `inputs` as for [`Recipe::invocation`]; they matter where
    /// [`RecipeData::item`] is not `None`.
    ///
    /// # Errors
    /// When the instance's item is missing or is not JSON.
    pub fn seed(&self, index: u32, inputs: &[Input]) -> Result<u64, RenderError> {
        self.renderer(index, 1, Some(inputs)).seed()
    }

    /// The process that attempt number `attempt` (from 1) of instance `index` starts; `inputs` as
    /// [`RecipeData::inputs`] requests them.
    ///
    /// # Errors
    /// When a placeholder has no value for this instance, or an output path names no file.
    pub fn invocation(
        &self,
        index: u32,
        attempt: u32,
        inputs: &[Input],
    ) -> Result<Invocation, RenderError> {
        self.renderer(index, attempt, Some(inputs)).invocation()
    }

    /// What attempt number `attempt` (from 1) of instance `index` does; `inputs` as
    /// [`RecipeData::inputs`] requests them. Values of inputs may be stored elsewhere only where
    /// they are whole arguments of a call, see [`Argument::Input`].
    ///
    /// # Errors
    /// As [`Recipe::invocation`], and when a text is longer than a process can be given.
    pub fn job(&self, index: u32, attempt: u32, inputs: &[Input]) -> Result<Job, RenderError> {
        match &self.data.action {
            TaskAction::Call(call) => {
                self.renderer(index, attempt, Some(inputs)).calling(call).map(Job::Call)
            }
            _ => {
                let invocation = self.invocation(index, attempt, inputs)?;
                self.renderer(index, attempt, Some(inputs)).fits(&invocation)?;
                Ok(Job::Process(invocation))
            }
        }
    }

    /// What [`Recipe::invocation`] would give for the first attempt, before the run: placeholders
    /// whose values are not known yet stay as they are, in braces.
    ///
    /// # Errors
    /// When a placeholder has no value for this instance, or an output path names no file.
    pub fn preview(&self, index: u32) -> Result<Invocation, RenderError> {
        self.renderer(index, 1, None).invocation()
    }

    /// The absolute output paths of an instance, or their URLs, when the index alone decides them.
    ///
    /// # Errors
    /// When a placeholder has no value for this instance.
    pub fn output_paths(&self, index: u32) -> Result<Option<Vec<PathBuf>>, RenderError> {
        if self.data.report_outputs {
            return Ok(None);
        }
        self.renderer(index, 1, None).computed_outputs().map(Some)
    }
}

impl Deref for Recipe {
    type Target = RecipeData;

    fn deref(&self) -> &RecipeData {
        &self.data
    }
}

impl TryFrom<RecipeData> for Recipe {
    type Error = RecipeError;

    fn try_from(data: RecipeData) -> Result<Recipe, RecipeError> {
        let compiled = Compiled::new(&data)?;
        Ok(Recipe { data, compiled })
    }
}
