//! Prepares what an attempt needs on disk or from disk: manifests of gathered tasks, captured
//! arrays, and values that the driver no longer holds.

use std::fs::File;
use std::io::{BufWriter, Read as _, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dagrun_core::ids::RunId;
use dagrun_core::payload::{self, Stored, Whereabouts};
use dagrun_core::recipe::{Items, values};
use dagrun_core::status::State;
use dagrun_disk::private;
use rusqlite::Connection;

use super::{Fetched, Listed, ManifestJob, PrepareJob, StoreError};
use crate::journal::read;

/// Instances that are read at once.
const WINDOW: u32 = 1_024;
/// Instances between two listed ones that are read with them rather than skipped.
const GAP: u32 = 8;

pub(super) fn prepare(
    database: &Connection,
    path: &Path,
    job: &PrepareJob,
) -> Result<Fetched, StoreError> {
    let unreadable = |source| StoreError::Open { path: path.to_owned(), source };
    let mut fetched = Fetched::default();
    for wanted in &job.missing_items {
        let items = read::items(database, job.run, &wanted.scatter, wanted.width);
        fetched.items.push((wanted.task, Arc::new(items.map_err(unreadable)?)));
    }
    for manifest in &job.manifests {
        let mut known = fetched.items.iter().chain(&job.items);
        let item = manifest.item.and_then(|spec| known.find(|(task, _)| *task == spec.task));
        let items = item.map(|(_, items)| &**items);
        if let Err(error) = write_manifest(database, path, job.run, manifest, items) {
            // On a full disk others need the space.
            let _ = std::fs::remove_file(temporary_of(&manifest.path));
            return Err(error);
        }
    }
    for instance in &job.values {
        let read = read::payload(database, job.run, *instance).map_err(unreadable)?;
        fetched.values.push(read.unwrap_or_default());
    }
    Ok(fetched)
}

fn write_manifest(
    database: &Connection,
    path: &Path,
    run: RunId,
    job: &ManifestJob,
    items: Option<&Items>,
) -> Result<(), StoreError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| StoreError::File { path, source }
    };
    if let Some(dir) = job.path.parent() {
        private::create_dir_all(dir).map_err(failed(dir))?;
    }
    let temporary = temporary_of(&job.path);
    let mut file = BufWriter::new(private::create(&temporary).map_err(failed(&temporary))?);
    if job.values {
        values::write_header(&mut file).map_err(failed(&temporary))?;
    }
    let mut listed = match &job.listed {
        Listed::All(_) => None,
        Listed::Some(instances) => Some(instances.iter().copied().peekable()),
    };
    for window in windows(&job.listed) {
        let entries = read::window(database, run, job.upstream, window.clone(), true)
            .map_err(|source| StoreError::Open { path: path.to_owned(), source })?;
        for (index, entry) in window.zip(entries) {
            if let Some(listed) = &mut listed
                && listed.next_if_eq(&index).is_none()
            {
                continue;
            }
            let written = if job.values {
                write_values(&mut file, index, &entry)
            } else {
                line(job, items, index, &entry).and_then(|line| file.write_all(&line))
            };
            written.map_err(failed(&temporary))?;
        }
    }
    file.into_inner().map_err(|error| failed(&temporary)(error.into_error()))?;
    std::fs::rename(&temporary, &job.path).map_err(failed(&job.path))
}

fn write_values(file: &mut impl Write, index: u32, entry: &read::Newest) -> std::io::Result<()> {
    let state = entry.last.as_ref().map_or(State::Blocked, |event| event.state);
    let payload = entry.last.as_ref().map(|event| event.payload()).unwrap_or_default();
    let value = payload.value.filter(|_| state == State::Succeeded);
    values::write_record(file, index, state, value.as_deref())
}

fn line(
    job: &ManifestJob,
    items: Option<&Items>,
    index: u32,
    entry: &read::Newest,
) -> std::io::Result<Vec<u8>> {
    let state = entry.last.as_ref().map_or(State::Blocked, |event| event.state);
    let payload = entry.last.as_ref().map(|event| event.payload()).unwrap_or_default();
    let item = job.item.and_then(|spec| items?.part(spec.upstream_index(index)));
    let value = payload.value.map(readable).transpose()?;
    Ok(job.recipe.manifest_line_of_item(
        index,
        item.as_deref(),
        state.word(),
        value.as_deref(),
        &payload.outputs,
    ))
}

/// A value as a command can read it: a file of MessagePack has one of JSON beside it.
fn readable(value: Vec<u8>) -> std::io::Result<Vec<u8>> {
    let Some(Stored { place: Whereabouts::File(path), bytes, checksum }) = payload::stored(&value)
    else {
        return Ok(value);
    };
    if path.extension().is_none_or(|ending| ending != "msgpack") {
        return Ok(value);
    }
    let json_path = path.with_extension("json");
    if !json_path.exists() {
        let mut packed = payload::file_head(&path).to_vec();
        File::open(&path)?.read_to_end(&mut packed)?;
        let json = payload::to_json(&packed).map_err(std::io::Error::other)?;
        let temporary = temporary_of(&json_path);
        let written = private::create(&temporary).and_then(|mut file| file.write_all(&json));
        if let Err(error) = written.and_then(|()| std::fs::rename(&temporary, &json_path)) {
            let _ = std::fs::remove_file(&temporary);
            return Err(error);
        }
    }
    // Readers of the line use the path only.
    Ok(Stored { place: Whereabouts::File(json_path), bytes, checksum }.to_payload())
}

/// Ranges to read at once that cover all listed instances and few others.
fn windows(listed: &Listed) -> Vec<Range<u32>> {
    match listed {
        Listed::All(width) => {
            let starts = (0..*width).step_by(WINDOW as usize);
            starts.map(|from| from..from.saturating_add(WINDOW).min(*width)).collect()
        }
        Listed::Some(instances) => {
            let mut windows: Vec<Range<u32>> = Vec::new();
            for &index in instances {
                match windows.last_mut() {
                    Some(last) if index - last.end < GAP && index - last.start < WINDOW => {
                        last.end = index.saturating_add(1);
                    }
                    _ => windows.push(index..index.saturating_add(1)),
                }
            }
            windows
        }
    }
}

fn temporary_of(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".part");
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_holds_all_that_is_listed() {
        assert_eq!(windows(&Listed::All(0)), []);
        assert_eq!(windows(&Listed::All(1_500)), [0..1_024, 1_024..1_500]);
        assert_eq!(windows(&Listed::Some(vec![0, 3, 4, 20, 40, 41])), [0..5, 20..21, 40..42]);
        let many = windows(&Listed::Some((0..1_500).collect()));
        assert_eq!(many, [0..1_024, 1_024..1_500]);
    }
}
