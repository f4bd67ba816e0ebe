//! The directories that attempts write into, recorded while they are there, so that those of killed
//! workers are found.
//!
//! Each worker has a file of its own below a state directory, locked as long as it lives. It names
//! the directories of the attempts under way, each ended by a zero byte: those that are there no more
//! are not taken out one by one, but left out when the file is written anew. Nothing is searched for
//! by name, so that nothing is removed that was not recorded.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::private;

/// Bytes of a record beyond which it is written anew.
const LONG: u64 = 64 << 10;
/// Where what an exchange in two steps replaces waits, within the directory of the attempt.
const REPLACED: &str = ".dagrun-replaced";

/// The directories of one worker's attempts. What cannot be recorded is made all the same: an attempt
/// never fails for it.
#[derive(Debug)]
pub struct Unfinished {
    path: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    file: Option<(File, u64)>,
    dirs: BTreeSet<PathBuf>,
}

impl Unfinished {
    /// The record of the worker with this mark in `records`; nothing is created yet.
    #[must_use]
    pub fn new(records: &Path, mark: &str) -> Unfinished {
        Unfinished { path: records.join(mark), state: Mutex::default() }
    }

    /// Records a directory that is about to be made.
    pub fn begin(&self, dir: &Path) {
        let mut state = self.lock();
        if state.dirs.insert(dir.to_owned()) {
            // Best effort, see above.
            let _ = state.append(&self.path, dir);
        }
    }

    /// Removes a directory with all that is in it. One that cannot be removed stays recorded.
    pub fn end(&self, dir: &Path) {
        if remove_dir(dir) {
            self.lock().dirs.remove(dir);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        let mut state = self.lock();
        state.dirs.retain(|dir| !remove_dir(dir));
        if state.dirs.is_empty() && state.file.is_some() {
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl State {
    fn append(&mut self, path: &Path, dir: &Path) -> io::Result<()> {
        if self.file.as_ref().is_some_and(|(_, length)| *length > LONG) {
            self.write_anew()?;
            return Ok(());
        }
        let (file, length) = match &mut self.file {
            Some(open) => open,
            None => self.file.insert((open(path)?, 0)),
        };
        let line = line(dir);
        file.write_all(&line)?;
        *length += line.len() as u64;
        Ok(())
    }

    /// Writes what is under way over what was. A crash in between leaves a name cut short at worst,
    /// which is no directory of an attempt.
    fn write_anew(&mut self) -> io::Result<()> {
        let Some((file, length)) = &mut self.file else { return Ok(()) };
        let lines: Vec<u8> = self.dirs.iter().flat_map(|dir| line(dir)).collect();
        io::Seek::rewind(file)?;
        file.write_all(&lines)?;
        file.set_len(lines.len() as u64)?;
        // Not again for each of them, however many there are.
        *length = 0;
        Ok(())
    }
}

fn line(dir: &Path) -> Vec<u8> {
    [dir.as_os_str().as_bytes(), b"\0"].concat()
}

/// The record, locked.
fn open(path: &Path) -> io::Result<File> {
    if let Some(parent) = path.parent() {
        private::create_dir_all(parent)?;
    }
    for _ in 0..10 {
        let file = private::create(path)?;
        match file.try_lock() {
            Ok(()) | Err(TryLockError::Error(_)) => {}
            Err(TryLockError::WouldBlock) => continue,
        }
        // Who cleans up may have taken it for one that was left.
        if file.metadata()?.nlink() > 0 {
            return Ok(file);
        }
    }
    Err(io::Error::other("the record is taken away again and again"))
}

/// Removes what killed workers have left: the directories in the records that nobody holds, and these.
/// An exchange that had come half way is completed. Best effort: what cannot be removed stays, with its
/// record, for the next time.
pub fn clean(records: &Path) {
    let Ok(entries) = fs::read_dir(records) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        let Ok(file) = File::open(&path) else { continue };
        // Where there are no locks, nobody can say whether its worker lives.
        if file.try_lock().is_err() {
            continue;
        }
        let Ok(text) = fs::read(&path) else { continue };
        let dirs = text.split(|byte| *byte == 0).filter(|dir| !dir.is_empty());
        let dirs = dirs.map(|dir| Path::new(OsStr::from_bytes(dir)));
        let left = dirs.filter(|dir| is_attempts(dir) && !remove_dir(dir)).count();
        if left == 0 {
            let _ = fs::remove_file(&path);
        }
    }
}

/// Whether a path can be that of a directory of an attempt: a record may be torn.
fn is_attempts(dir: &Path) -> bool {
    let name = dir.file_name().map(OsStr::as_bytes).unwrap_or_default();
    dir.is_absolute() && name.starts_with(b".dagrun-")
}

/// Where [`Path`] `target` waits while what the attempt has made takes its place, for file systems that
/// cannot exchange the two at once.
#[must_use]
pub fn replaced(attempt_dir: &Path, name: &OsStr) -> PathBuf {
    attempt_dir.join(REPLACED).join(name)
}

/// Removes a directory of an attempt; true when it is there no more. What waits in it because an
/// exchange had come half way takes its place first.
fn remove_dir(dir: &Path) -> bool {
    if let (Ok(waiting), Some(parent)) = (fs::read_dir(dir.join(REPLACED)), dir.parent()) {
        for old in waiting.flatten() {
            let (target, new) = (parent.join(old.file_name()), dir.join(old.file_name()));
            if target.symlink_metadata().is_ok() {
                continue;
            }
            // The product is whole: the attempt had succeeded.
            if fs::rename(&new, &target).is_err() && fs::rename(old.path(), &target).is_err() {
                return false;
            }
        }
    }
    match fs::remove_dir_all(dir) {
        Ok(()) => true,
        Err(error) => {
            matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
        }
    }
}

#[cfg(test)]
mod tests {
    use dagrun_core::layout;

    use super::*;

    #[test]
    fn what_a_killed_worker_left_is_removed_and_what_a_living_one_uses_is_not() {
        let root = tempfile::tempdir().unwrap();
        let records = layout::unfinished(root.path());
        let dir = |name: &str| root.path().join(format!(".dagrun-{name}-1-0-0-1"));
        let living = Unfinished::new(&records, "living");
        let killed = Unfinished::new(&records, "killed");
        for (who, name) in [(&living, "living"), (&killed, "killed"), (&killed, "ended")] {
            who.begin(&dir(name));
            fs::create_dir(dir(name)).unwrap();
            fs::write(dir(name).join("part"), name).unwrap();
        }
        killed.end(&dir("ended"));
        assert!(!dir("ended").exists());
        // A kill closes its files and runs nothing of it.
        killed.lock().file = None;
        killed.lock().dirs.clear();
        clean(&records);
        assert!(dir("living").exists() && !dir("killed").exists());
        assert!(!records.join("killed").exists() && records.join("living").exists());
        drop(living);
        assert!(!dir("living").exists() && !records.join("living").exists());
    }

    #[test]
    fn only_directories_of_attempts_are_removed() {
        let root = tempfile::tempdir().unwrap();
        let records = layout::unfinished(root.path());
        let precious = root.path().join("precious");
        fs::create_dir_all(&precious).unwrap();
        fs::create_dir_all(&records).unwrap();
        fs::write(records.join("torn"), precious.as_os_str().as_bytes()).unwrap();
        clean(&records);
        assert!(precious.exists());
    }

    #[test]
    fn an_exchange_that_had_come_half_way_is_completed() {
        for (made, expected) in [(true, "new"), (false, "old")] {
            let root = tempfile::tempdir().unwrap();
            let records = layout::unfinished(root.path());
            let dir = root.path().join(".dagrun-m-1-0-0-1");
            let killed = Unfinished::new(&records, "m");
            killed.begin(&dir);
            let old = replaced(&dir, OsStr::new("d"));
            fs::create_dir_all(&old).unwrap();
            fs::write(old.join("f"), "old").unwrap();
            if made {
                fs::create_dir(dir.join("d")).unwrap();
                fs::write(dir.join("d/f"), "new").unwrap();
            }
            killed.lock().file = None;
            killed.lock().dirs.clear();
            clean(&records);
            assert_eq!(fs::read_to_string(root.path().join("d/f")).unwrap(), expected);
            assert!(!dir.exists());
        }
    }

    #[test]
    fn a_record_stays_short() {
        let root = tempfile::tempdir().unwrap();
        let records = layout::unfinished(root.path());
        let worker = Unfinished::new(&records, "m");
        let stays = root.path().join(".dagrun-m-0");
        worker.begin(&stays);
        for at in 1..5000 {
            let dir = root.path().join(format!(".dagrun-m-{at}"));
            worker.begin(&dir);
            worker.end(&dir);
        }
        let text = fs::read(records.join("m")).unwrap();
        assert!(text.len() as u64 <= 2 * LONG, "{}", text.len());
        let kept = stays.as_os_str().as_bytes();
        assert!(text.split(|byte| *byte == 0).any(|line| line == kept));
    }
}
