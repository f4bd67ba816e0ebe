//! The inputs of an attempt: follows references, and writes values to files for commands.

use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use dagrun_core::engine::{Outcome, Refusal};
use dagrun_core::ids::{AttemptId, RunId};
use dagrun_core::one_line;
use dagrun_core::payload::{self, Kind, PayloadError, Stored, Whereabouts};
use dagrun_core::recipe::{Input, WORD, Wants, WantsFile};

use super::{FetchError, Held, ValueError, Values};
use crate::attempt::{Fault, comes_from_scarcity};

/// The inputs of an attempt. Their files are removed when this is dropped.
#[derive(Debug)]
pub(crate) struct Given {
    /// The inputs, as the recipe needs them.
    pub(crate) inputs: Vec<Input>,
    dir: Option<PathBuf>,
}

impl Drop for Given {
    fn drop(&mut self) {
        if let Some(dir) = &self.dir {
            let _ = std::fs::remove_dir_all(dir);
        }
    }
}

/// Why an input is not ready.
#[derive(Debug, thiserror::Error)]
enum GiveError {
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error(transparent)]
    Value(#[from] ValueError),
    #[error(transparent)]
    Payload(#[from] PayloadError),
    #[error("cannot write it to {}", path.display())]
    File { path: PathBuf, source: io::Error },
}

impl Values {
    /// Prepares the inputs of an attempt; `None` when they can be used unchanged. `name` returns
    /// the name of an input's task.
    ///
    /// # Errors
    /// In words for people, with the instance whose value it is.
    pub(crate) fn give<'n>(
        &self,
        (run, attempt): (RunId, AttemptId),
        inputs: &[Input],
        wants: &[Wants],
        name: impl Fn(usize) -> &'n str,
        cancelled: &dyn Fn() -> bool,
    ) -> Result<Option<Given>, Fault> {
        let to_be_made = |(input, wants): (&Input, &Wants)| {
            let Some(value) = input.value.as_deref() else { return false };
            let elsewhere = wants.here && payload::stored(value).is_some();
            elsewhere || wants_file(wants, value.len() as u64)
        };
        if !inputs.iter().zip(wants).any(to_be_made) {
            return Ok(None);
        }
        let mut given = Given { inputs: inputs.to_vec(), dir: None };
        for (at, wants) in wants.iter().enumerate() {
            let made = |input: &&mut Input| to_be_made((input, wants));
            let Some(input) = given.inputs.get_mut(at).filter(made) else { continue };
            let payload = input.value.take().unwrap_or_default();
            let stored = payload::stored(&payload);
            let made = self.give_one(run, payload, wants, cancelled, || {
                let dir = self.dir.join(format!("attempt-{attempt}"));
                given.dir = Some(dir.clone());
                dir.join(format!("input-{at}"))
            });
            (input.value, input.file) = made.map_err(|error| {
                let task = name(at);
                let whose = match stored.as_ref().and_then(|stored| stored.place.instance()) {
                    Some(instance) => format!("{task}[{}]", instance.index),
                    None => task.to_owned(),
                };
                let reason = format!("the value of {whose}: {}", one_line(&error));
                let absent = stored.and_then(|stored| stored.place.instance());
                match (absent, &error) {
                    (Some(of), GiveError::Fetch(error)) if error.is_absence() => {
                        Fault(Outcome::Refused(Refusal::Value(of)), reason)
                    }
                    _ if comes_from_scarcity(&error) => {
                        Fault(Outcome::Refused(Refusal::Scarce), reason)
                    }
                    _ => Fault::start(reason),
                }
            })?;
        }
        Ok(Some(given))
    }

    fn give_one(
        &self,
        run: RunId,
        payload: Vec<u8>,
        wants: &Wants,
        cancelled: &dyn Fn() -> bool,
        stem: impl FnOnce() -> PathBuf,
    ) -> Result<(Option<Vec<u8>>, Option<PathBuf>), GiveError> {
        let stored = payload::stored(&payload);
        let held = match &stored {
            Some(stored) => self.get(run, stored, cancelled)?,
            None => Held::of(Bytes::from(payload)),
        };
        if !wants_file(wants, held.length()) {
            return Ok((Some(held.read()?.to_vec()), None));
        }
        let file = match ready_file(stored.as_ref()) {
            Some(path) => path.to_owned(),
            None => write_for_command(&held, &stem())?,
        };
        let here = if wants.here { held.read()?.to_vec() } else { b"null".to_vec() };
        Ok((Some(here), Some(file)))
    }
}

/// Whether a file is made of a value of this length.
fn wants_file(wants: &Wants, length: u64) -> bool {
    // Names and quotes take some bytes of what a variable can hold.
    const LONG: u64 = (WORD - 1024) as u64;
    match wants.file {
        WantsFile::Never => false,
        WantsFile::IfLong => length > LONG,
        WantsFile::Always => true,
    }
}

/// A file that can be given to a command unchanged.
fn ready_file(stored: Option<&Stored>) -> Option<&Path> {
    match &stored?.place {
        Whereabouts::File(path) if path.extension().is_some_and(|ending| ending != "msgpack") => {
            Some(path)
        }
        _ => None,
    }
}

/// Writes a value in a form that a command can read: bytes unchanged, anything else as JSON.
fn write_for_command(held: &Held, stem: &Path) -> Result<PathBuf, GiveError> {
    let head = held.head(2).map_err(ValueError::Read)?;
    let is_json = matches!(payload::kind(&head), Ok(Kind::Json(_)));
    let is_bytes = matches!(payload::kind(&head), Ok(Kind::Bytes(_)));
    let path = stem.with_extension(if is_bytes { "bin" } else { "json" });
    let failed = |source| GiveError::File { path: path.clone(), source };
    if let Some(dir) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(failed)?;
    }
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut file = options.open(&path).map_err(failed)?;
    if is_json || is_bytes {
        held.copy_after(if is_bytes { 2 } else { 0 }, &mut file)?;
    } else {
        let payload = held.read()?;
        file.write_all(&payload::to_json(&payload)?).map_err(failed)?;
    }
    Ok(path)
}
