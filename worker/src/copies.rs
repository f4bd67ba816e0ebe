//! What is at URLs, for attempts that read it as a file: brought to this machine once for a worker and
//! a run, with a checksum, and copied from there for each attempt, which may do with its copy what it
//! likes.

use std::collections::HashMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Seek as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dagrun_core::ids::RunId;
use dagrun_core::url;
use xxhash_rust::xxh3::Xxh3;

use crate::data::{self, DataError, DataErrorKind, Patience};

/// Bytes that are copied at once.
const CHUNK: usize = 256 << 10;

/// Why something is not there.
#[derive(Debug)]
pub(crate) enum Unbrought {
    /// The attempt had to end meanwhile.
    Stopped,
    /// The attempt's time was over meanwhile.
    TimedOut,
    /// The system's error, and the reason.
    System(io::Error, String),
    /// For this reason.
    Failed(String),
}

/// What was brought from a URL.
#[derive(Debug)]
struct Original {
    path: PathBuf,
    checksum: u64,
}

/// One of them, once it has been brought. Whoever holds the lock brings it.
type Place = Arc<Mutex<Option<Original>>>;

/// The originals of a worker, by run and URL.
#[derive(Debug, Default)]
pub(crate) struct Copies {
    /// The worker's own directory; without one nothing is kept between attempts.
    dir: Option<PathBuf>,
    places: Mutex<HashMap<(RunId, String), Place>>,
}

impl Copies {
    /// Keeps originals below a directory of the worker's own.
    pub(crate) fn below(dir: &Path) -> Copies {
        Copies { dir: Some(dir.to_owned()), places: Mutex::default() }
    }

    /// Puts a copy of what is at a URL into its place, in a directory that is there.
    pub(crate) fn bring(
        &self,
        run: RunId,
        url: &str,
        to: &Path,
        patience: Patience<'_>,
    ) -> Result<(), Unbrought> {
        let Some(dir) = &self.dir else {
            return download(url, to, patience).map(drop);
        };
        let place = {
            let mut places = lock(&self.places);
            let number = places.len();
            let place = places.entry((run, url.to_owned())).or_default().clone();
            (place, number)
        };
        let (place, number) = place;
        let mut original = lock(&place);
        for again in [true, false] {
            let known = match original.take() {
                Some(known) => known,
                None => {
                    let path = of_run(dir, run).join(number.to_string());
                    make_dir(&of_run(dir, run))?;
                    let checksum = download(url, &path, patience)?;
                    Original { path, checksum }
                }
            };
            match copy(&known.path, to) {
                Ok(checksum) if checksum == known.checksum => {
                    *original = Some(known);
                    return Ok(());
                }
                // Somebody has changed or removed it: once more.
                Ok(_) if again => {}
                Err(error) if again && error.kind() == io::ErrorKind::NotFound => {}
                Ok(_) => break,
                Err(error) => return Err(system(url, to, error)),
            }
        }
        Err(Unbrought::Failed(format!("{} was changed on its way", url::redacted(url))))
    }

    /// Forgets what was brought for a run.
    pub(crate) fn forget(&self, run: RunId) {
        lock(&self.places).retain(|(of, _), _| *of != run);
        if let Some(dir) = &self.dir {
            // There is none where nothing was brought.
            let _ = fs::remove_dir_all(of_run(dir, run));
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn of_run(dir: &Path, run: RunId) -> PathBuf {
    dir.join(format!("in-{run}"))
}

fn system(url: &str, path: &Path, error: io::Error) -> Unbrought {
    let url = url::redacted(url);
    let reason = format!("cannot bring {url} to {}: {error}", path.display());
    Unbrought::System(error, reason)
}

fn make_dir(dir: &Path) -> Result<(), Unbrought> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.map_err(|error| {
        let reason = format!("cannot create {}: {error}", dir.display());
        Unbrought::System(error, reason)
    })
}

fn create(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(true).mode(0o600).open(path)
}

/// Brings what is at a URL; returns its checksum.
fn download(url: &str, to: &Path, patience: Patience<'_>) -> Result<u64, Unbrought> {
    let local = |error| system(url, to, error);
    let mut file = create(to).map_err(local)?;
    let target = file.try_clone().map_err(local)?;
    data::download(url, target, patience).map_err(|error: DataError| match error.kind() {
        DataErrorKind::Stopped => Unbrought::Stopped,
        DataErrorKind::TimedOut => Unbrought::TimedOut,
        _ => Unbrought::Failed(format!("cannot read input {}: {}", error.url(), error.reason())),
    })?;
    file.rewind().map_err(local)?;
    pass(&mut file, &mut io::sink()).map_err(local)
}

/// Copies a file; returns the checksum of what was copied.
fn copy(from: &Path, to: &Path) -> io::Result<u64> {
    pass(&mut File::open(from)?, &mut create(to)?)
}

fn pass(from: &mut File, to: &mut impl io::Write) -> io::Result<u64> {
    let (mut hasher, mut chunk) = (Xxh3::new(), vec![0; CHUNK]);
    loop {
        match from.read(&mut chunk) {
            Ok(0) => break,
            Ok(length) => {
                hasher.update(&chunk[..length]);
                to.write_all(&chunk[..length])?;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(hasher.digest())
}
