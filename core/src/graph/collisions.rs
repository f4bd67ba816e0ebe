//! Instances that would write the same file, and outputs whose path is occupied.
//!
//! Arrays whose paths cannot collide are found by looking at their templates; the paths of all
//! others are rendered, and their hashes sorted: 8 bytes for each.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use rustc_hash::{FxHashMap, FxHashSet};

use crate::hash::StableHash;
use crate::ids::{InstanceId, TaskId};
use crate::output::{self, Kind};
use crate::pipeline::{Pipeline, RunContext};
use crate::recipe::{PathShape, Recipe};
use crate::template::Part;
use crate::url::Location;

use super::Graph;

/// Two instances with the same output path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collision {
    /// The path, absolute or relative to the pipeline's directory, or the URL.
    pub path: PathBuf,
    /// The instance that comes first in task and index order.
    pub first: InstanceId,
    /// The position of the output among those of its task.
    pub first_output: usize,
    /// The other.
    pub second: InstanceId,
    /// The position of the output among those of its task.
    pub second_output: usize,
}

/// The maximum number of reports for one task.
const MAX_PER_TASK: usize = 4;
/// Arrays up to this width are always rendered.
const SMALL: u32 = 4096;
/// Templates of this many arrays are compared with everything else; further arrays are rendered.
const MAX_SHAPES: usize = 64;

/// Instances that would write the same file, at most a few for each task.
///
/// Paths are compared without looking at the file system: `a/../b` is `b`. Paths that hold captured
/// values or the number of the attempt are not known before the run and are left out, and so are
/// those of arrays whose width is not known. `graph` is that of the pipeline.
#[must_use]
pub fn collisions(pipeline: &Pipeline, graph: &Graph) -> Vec<Collision> {
    let outputs = outputs(pipeline, graph);
    let (mut proven, mut open) = proven(&outputs);
    let mut rendered = Vec::new();
    let mut hashes = Vec::new();
    while let Some(at) = open.pop() {
        rendered.push(at);
        for index in 0..outputs[at].width {
            let Some(path) = outputs[at].path(index) else { continue };
            hashes.push(StableHash::of(&path));
            // An array that was left out because of its template may contain this path.
            proven.retain(|(other, shape)| {
                let apart = !shape.may_be(&path);
                if !apart {
                    open.push(*other);
                }
                apart
            });
        }
    }
    rendered.sort_unstable();
    report(rendered.into_iter().map(|at| &outputs[at]), &repeated(hashes))
}

/// An output at whose path there is something that is never replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// The instance.
    pub instance: InstanceId,
    /// The position of the output among those of its task.
    pub output: usize,
    /// The path as its author would see it.
    pub path: PathBuf,
    /// Why: a sentence fragment that follows the path.
    pub why: String,
}

/// The maximum number of paths that are examined before a run; the others are examined by their
/// attempts.
const MAX_LOOKED_AT: u32 = 100_000;

/// Outputs whose path is occupied, at most a few for each task, as far as paths are known before
/// the run. `kind` returns what exists at a path, which is relative to the pipeline's directory or
/// absolute.
#[must_use]
pub fn taken(pipeline: &Pipeline, graph: &Graph, kind: &dyn Fn(&Path) -> Kind) -> Vec<Taken> {
    let mut found = Vec::new();
    let mut left = MAX_LOOKED_AT;
    for output in outputs(pipeline, graph) {
        let width = match output.paths {
            Paths::Fixed(_) => output.width.min(1),
            Paths::Rendered(_) => output.width.min(left),
        };
        left = left.saturating_sub(width);
        let mut reported = 0;
        for index in 0..width {
            let Some(text) = output.text(index) else { continue };
            let Ok(Location::Path(path)) = Location::of(&text) else { continue };
            let path = Path::new(OsStr::from_bytes(&path));
            // Without the slash, which would follow a link.
            let end = path.as_os_str().as_bytes().iter().rposition(|byte| *byte != b'/');
            let bare = &path.as_os_str().as_bytes()[..end.map_or(0, |last| last + 1)];
            let standing = kind(Path::new(OsStr::from_bytes(bare)));
            let Some(why) = standing.refusal(output::is_directory(path)) else { continue };
            let instance = InstanceId { task: output.task, index };
            found.push(Taken { instance, output: output.position, path: path.to_owned(), why });
            reported += 1;
            if reported == MAX_PER_TASK {
                break;
            }
        }
    }
    found
}

/// Positions of the large arrays whose paths are known to differ from each other, with the shape of
/// their paths, and positions of all others.
fn proven(outputs: &[Output]) -> (Vec<(usize, PathShape)>, Vec<usize>) {
    let (mut proven, mut open) = (Vec::new(), Vec::new());
    for (at, output) in outputs.iter().enumerate() {
        match output.shape() {
            Some(shape) if proven.len() < MAX_SHAPES => proven.push((at, shape)),
            _ => open.push(at),
        }
    }
    let apart = |(at, shape): &(usize, PathShape)| {
        proven.iter().all(|(other, theirs)| at == other || shape.is_apart(theirs))
    };
    let (proven, mixed): (Vec<_>, Vec<_>) = proven.iter().cloned().partition(apart);
    open.extend(mixed.into_iter().map(|(at, _)| at));
    (proven, open)
}

/// The values that appear more than once.
fn repeated(mut hashes: Vec<u64>) -> FxHashSet<u64> {
    hashes.sort_unstable();
    hashes.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]).collect()
}

/// The instances behind the hashes that several paths have.
fn report<'a>(
    outputs: impl Iterator<Item = &'a Output>,
    suspects: &FxHashSet<u64>,
) -> Vec<Collision> {
    let mut found = Vec::new();
    if suspects.is_empty() {
        return found;
    }
    let mut first_of: FxHashMap<Vec<u8>, (InstanceId, usize)> = FxHashMap::default();
    for output in outputs {
        let mut reported = 0;
        for index in 0..output.width {
            let Some(path) = output.path(index) else { continue };
            if !suspects.contains(&StableHash::of(&path)) {
                continue;
            }
            let this = (InstanceId { task: output.task, index }, output.position);
            let Some(&other) = first_of.get(&path) else {
                first_of.insert(path, this);
                continue;
            };
            let (first, second) = (this.min(other), this.max(other));
            found.push(Collision {
                path: PathBuf::from(OsString::from_vec(path)),
                first: first.0,
                first_output: first.1,
                second: second.0,
                second_output: second.1,
            });
            reported += 1;
            if reported == MAX_PER_TASK {
                break;
            }
        }
    }
    found
}

/// An output of all instances of a task.
struct Output {
    task: TaskId,
    /// Its position among the outputs of the task.
    position: usize,
    width: u32,
    paths: Paths,
}

enum Paths {
    /// The same for all instances.
    Fixed(Vec<u8>),
    /// Rendered from the index.
    Rendered(Rc<Recipe>),
}

impl Output {
    /// The path of an instance, without `.` and `..`; none when it cannot be rendered.
    fn path(&self, index: u32) -> Option<Vec<u8>> {
        self.text(index).map(normal)
    }

    /// The path of an instance as rendered.
    fn text(&self, index: u32) -> Option<Vec<u8>> {
        match &self.paths {
            Paths::Fixed(path) => Some(path.clone()),
            Paths::Rendered(recipe) => recipe.output_text(index, self.position).ok(),
        }
    }

    /// The shape of all paths, when it proves that they differ and rendering them would take time.
    fn shape(&self) -> Option<PathShape> {
        let Paths::Rendered(recipe) = &self.paths else { return None };
        let sample = (self.width > SMALL).then(|| recipe.output_text(0, self.position).ok())??;
        if normal(sample.clone()) != sample {
            return None;
        }
        recipe.output_shape(self.position)
    }
}

/// All outputs whose paths can be known.
fn outputs(pipeline: &Pipeline, graph: &Graph) -> Vec<Output> {
    let context = RunContext {
        run: 0,
        run_dir: PathBuf::from("{run.dir}"),
        base_dir: PathBuf::new(),
        seed: 0,
    };
    let mut outputs = Vec::new();
    for (id, task) in (0..).map(TaskId).zip(&pipeline.tasks) {
        let width = graph.width(id);
        let mut recipe = None;
        for (position, (_, template)) in task.outputs.iter().enumerate() {
            // The number of files that an array of unknown width writes is not known; but a path
            // that all of its instances share is one that no other task may have.
            let (width, paths) = match (template.parts.as_slice(), width) {
                ([Part::Literal(path)], width) => {
                    (width.unwrap_or(1), Paths::Fixed(path.clone().into_bytes()))
                }
                (_, None) => continue,
                (_, Some(width)) => {
                    let made = recipe.get_or_insert_with(|| {
                        Recipe::new(pipeline, id, &context).ok().map(Rc::new)
                    });
                    match made {
                        Some(recipe) if !recipe.reports_outputs() => {
                            (width, Paths::Rendered(recipe.clone()))
                        }
                        _ => continue,
                    }
                }
            };
            outputs.push(Output { task: id, position, width, paths });
        }
    }
    outputs
}

/// A path without empty components, `.` and, as far as possible, `..`; a remote URL is unchanged.
fn normal(path: Vec<u8>) -> Vec<u8> {
    let path = match Location::of(&path) {
        Ok(Location::Path(std::borrow::Cow::Owned(path))) => path,
        Ok(Location::Path(_)) => path,
        Ok(Location::Remote(_)) | Err(_) => return path,
    };
    let absolute = path.starts_with(b"/");
    let odd = |part: &[u8]| matches!(part, b"" | b"." | b"..");
    let inner = if absolute { &path[1..] } else { &path[..] };
    if !inner.split(|&byte| byte == b'/').any(odd) {
        return path;
    }
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in inner.split(|&byte| byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." if parts.last().is_some_and(|last| *last != b"..") => {
                parts.pop();
            }
            b".." if absolute => {}
            _ => parts.push(part),
        }
    }
    let mut out = if absolute { b"/".to_vec() } else { Vec::new() };
    out.extend_from_slice(&parts.join(&b'/'));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_compared_without_detours() {
        for (path, expected) in [
            ("a/b.json", "a/b.json"),
            ("./a//b", "a/b"),
            ("a/../b", "b"),
            ("../a", "../a"),
            ("../../a/..", "../.."),
            ("/../a/./b", "/a/b"),
            ("file:///a/../b", "/b"),
            ("s3://b/a//../c", "s3://b/a//../c"),
        ] {
            assert_eq!(normal(path.into()), expected.as_bytes(), "{path}");
        }
    }
}
