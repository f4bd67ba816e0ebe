//! Removes temporary outputs that nobody needs any more: only what is still as it was when its
//! instance succeeded, never what somebody has put in its place since.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dagrun_core::ids::{RunId, TaskId};
use dagrun_core::output::Stamp;
use dagrun_core::recipe::Recipe;
use dagrun_core::status::State;
use dagrun_disk::whole_stamp_of;
use rusqlite::{Connection, params};

use crate::journal::rows::{decode_outputs, decode_stamps};

/// The temporary outputs of consecutive instances of a task.
#[derive(Clone, Debug)]
pub(crate) struct Removal {
    pub(crate) run: RunId,
    pub(crate) task: TaskId,
    pub(crate) first: u32,
    pub(crate) count: u32,
    /// Which of the task's outputs they are, by position.
    pub(crate) temp: Arc<[u32]>,
    /// Computes the paths, unless they were reported.
    pub(crate) recipe: Arc<Recipe>,
    /// What reported paths are relative to.
    pub(crate) base_dir: PathBuf,
}

impl Removal {
    /// Removes them. What cannot be removed stays: nobody needs it, and nothing depends on it.
    pub(super) fn perform(&self, database: &Connection) {
        for (index, outputs) in self.rows(database).unwrap_or_default() {
            let stamps = decode_stamps(&outputs);
            let paths = self.paths(index, &outputs);
            for at in self.temp.iter().map(|at| *at as usize) {
                if let (Some(path), Some(Some(stamp))) = (paths.get(at), stamps.get(at)) {
                    remove(path, stamp);
                }
            }
        }
    }

    /// What the journal has of the outputs of those instances that have succeeded.
    fn rows(&self, database: &Connection) -> rusqlite::Result<Vec<(u32, Vec<u8>)>> {
        let mut statement = database.prepare_cached(
            "SELECT first_index, outputs FROM events WHERE run = ?1 AND task = ?2
             AND first_index >= ?3 AND first_index < ?4 AND state = ?5 AND outputs IS NOT NULL",
        )?;
        let end = self.first.saturating_add(self.count);
        let (run, succeeded) = (self.run.0.cast_signed(), State::Succeeded as u8);
        let parameters = params![run, self.task.0, self.first, end, succeeded];
        let rows = statement.query_map(parameters, |row| Ok((row.get(0)?, row.get(1)?)))?;
        rows.collect()
    }

    fn paths(&self, index: u32, outputs: &[u8]) -> Vec<PathBuf> {
        match self.recipe.output_paths(index) {
            Ok(Some(paths)) => paths,
            Ok(None) | Err(_) => {
                let reported = decode_outputs(outputs).into_iter();
                reported.map(|path| self.base_dir.join(OsStr::from_bytes(&path))).collect()
            }
        }
    }
}

/// Removes a file or directory that is still what the stamp says.
fn remove(path: &Path, stamp: &Stamp) {
    if !whole_stamp_of(path).is_some_and(|now| stamp.matches(&now)) {
        return;
    }
    // Best effort: whoever may not remove it keeps it.
    let _ = match stamp {
        Stamp::File { .. } => fs::remove_file(path),
        Stamp::Tree { .. } => fs::remove_dir_all(path),
        // What is in it is not known.
        Stamp::Directory => Ok(()),
    };
}
