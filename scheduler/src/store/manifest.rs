//! What an attempt needs on disk or from it: manifests of gathered tasks, and values that the
//! driver no longer holds.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use dagrun_core::ids::RunId;
use dagrun_core::recipe::Input;
use dagrun_core::status::State;
use rusqlite::Connection;

use super::{ManifestJob, PrepareJob, StoreError};
use crate::history::journal;

/// Instances that are read at once.
const WINDOW: u32 = 1_024;

pub(super) fn prepare(
    database: &Connection,
    path: &Path,
    job: &PrepareJob,
) -> Result<Vec<Input>, StoreError> {
    for manifest in &job.manifests {
        write_manifest(database, path, job.run, manifest)?;
    }
    job.values
        .iter()
        .map(|instance| {
            let read = journal::payload(database, job.run, *instance);
            Ok(read.map_err(|source| unreadable(path, source))?.unwrap_or_default())
        })
        .collect()
}

fn unreadable(path: &Path, source: rusqlite::Error) -> StoreError {
    StoreError::Open { path: path.to_owned(), source }
}

fn write_manifest(
    database: &Connection,
    path: &Path,
    run: RunId,
    job: &ManifestJob,
) -> Result<(), StoreError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| StoreError::File { path, source }
    };
    if let Some(dir) = job.path.parent() {
        std::fs::create_dir_all(dir).map_err(failed(dir))?;
    }
    let temporary = temporary_of(&job.path);
    let mut file = BufWriter::new(File::create(&temporary).map_err(failed(&temporary))?);
    let mut from = 0;
    while from < job.width {
        let to = job.width.min(from.saturating_add(WINDOW));
        let window = journal::window(database, run, job.upstream, from..to, true)
            .map_err(|source| unreadable(path, source))?;
        for (index, entry) in (from..to).zip(window) {
            let state = entry.last.as_ref().map_or(State::Blocked, |event| event.state);
            let payload = entry.last.map(|event| event.payload()).unwrap_or_default();
            let line = job.recipe.manifest_line(
                index,
                state.word(),
                payload.value.as_deref(),
                &payload.outputs,
            );
            file.write_all(&line).map_err(failed(&temporary))?;
        }
        from = to;
    }
    file.into_inner().map_err(|error| failed(&temporary)(error.into_error()))?;
    std::fs::rename(&temporary, &job.path).map_err(failed(&job.path))
}

fn temporary_of(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".part");
    path.with_file_name(name)
}
