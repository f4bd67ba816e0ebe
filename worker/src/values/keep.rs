//! Keeps the value of an attempt that has succeeded.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use dagrun_core::ids::RunId;
use dagrun_core::layout;
use dagrun_core::one_line;
use dagrun_core::payload::{self, PayloadError, Stored, Whereabouts};
use dagrun_core::recipe::{INLINE, Keep};
use dagrun_disk::private;

use crate::space;

use super::{Fetch, Keeper, NotFetched, ValueError, ValueId, Values, checksum};

/// The owner of a value, and where it is kept when it is long.
#[derive(Clone, Copy)]
pub struct Keeping<'a> {
    /// The run and the instance.
    pub id: ValueId,
    /// The task's name.
    pub task: &'a str,
    /// Where it is kept.
    pub keep: Keep,
    /// The run's own directory, absolute.
    pub run_dir: &'a Path,
    /// Whether the attempt may still keep it: asked whenever it has waited for space on a full disk.
    pub may: &'a dyn Fn() -> bool,
}

impl std::fmt::Debug for Keeping<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keeping")
            .field("id", &self.id)
            .field("task", &self.task)
            .finish_non_exhaustive()
    }
}

/// Why a value could not be kept.
#[derive(Debug, thiserror::Error)]
enum KeepError {
    #[error(transparent)]
    Store(#[from] ValueError),
    #[error(transparent)]
    Payload(#[from] PayloadError),
    #[error("cannot write {}", path.display())]
    File { path: PathBuf, source: io::Error },
}

impl KeepError {
    fn lacks_space(&self) -> bool {
        match self {
            KeepError::File { source, .. } | KeepError::Store(ValueError::Spill { source, .. }) => {
                space::is_lacking(source)
            }
            _ => false,
        }
    }
}

impl Values {
    /// The payload to report: the value itself, or a reference to it when it is long and its task
    /// keeps it elsewhere.
    fn keep_if_long(&self, of: &Keeping<'_>, payload: Vec<u8>) -> Result<Vec<u8>, KeepError> {
        if payload.len() <= INLINE {
            return Ok(payload);
        }
        match of.keep {
            Keep::Report => Ok(payload),
            Keep::Hold => {
                let payload = bytes::Bytes::from(payload);
                let hold = || Ok(self.hold(of.id, payload.clone())?.to_payload());
                space::insist(of.may, KeepError::lacks_space, hold)
            }
            Keep::File => {
                let write = || Ok(write_file(of, &payload)?.to_payload());
                space::insist(of.may, KeepError::lacks_space, write)
            }
        }
    }
}

/// Writes `RUN_DIR/values/TASK-INDEX.ENDING`; under another name until it is complete.
fn write_file(of: &Keeping<'_>, payload: &[u8]) -> Result<Stored, KeepError> {
    let (ending, content) = payload::file_form(payload)?;
    let name = format!("{}-{}.{ending}", of.task, of.id.instance.index);
    let dir = layout::values(of.run_dir);
    let (path, temporary) = (dir.join(&name), dir.join(format!(".{name}.{}", std::process::id())));
    let written = private::create_dir_all(&dir)
        .and_then(|()| private::create(&temporary)?.write_all(content))
        .and_then(|()| fs::rename(&temporary, &path));
    if let Err(source) = written {
        let _ = fs::remove_file(&temporary);
        return Err(KeepError::File { path, source });
    }
    let (bytes, checksum) = (payload.len() as u64, checksum(payload));
    Ok(Stored { place: Whereabouts::File(path), bytes, checksum })
}

impl Keeper for Values {
    fn keep(&self, of: &Keeping<'_>, payload: Vec<u8>) -> Result<Vec<u8>, String> {
        self.keep_if_long(of, payload).map_err(|error| one_line(&error))
    }
}

impl Fetch for Values {
    fn fetch(&self, run: RunId, stored: &Stored) -> Result<bytes::Bytes, NotFetched> {
        let held = self.get(run, stored, &|| false).map_err(|error| NotFetched {
            reason: one_line(&error),
            absent: stored.place.instance().filter(|_| error.is_absence()),
        })?;
        held.read().map_err(|error| NotFetched { reason: one_line(&error), absent: None })
    }
}
