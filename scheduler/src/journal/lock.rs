//! The lock of a run, held by the process that runs it for as long as it does. The kernel takes it back
//! when the process ends, however it ends, so a run whose lock is free is not running.
//!
//! The file says who holds it, and by which socket that process can be asked. It is the owner's alone to
//! read, as it has the token for that socket.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use dagrun_core::ids::RunId;
use dagrun_core::layout;
use dagrun_disk::private;
use rustix::process::{Pid, test_kill_process};
use serde::{Deserialize, Serialize};

/// Who runs a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Owner {
    /// Its process.
    pub pid: u32,
    /// The machine's name.
    pub host: String,
    /// Which boot of the machine.
    pub boot: String,
    /// Where the process answers; nowhere if that could not be.
    pub socket: Option<PathBuf>,
    /// What a client has to present there, in hexadecimal digits.
    pub token: String,
}

impl Owner {
    /// This process.
    pub(crate) fn here() -> Owner {
        let read = |path| std::fs::read_to_string(path).unwrap_or_default().trim().to_owned();
        Owner {
            pid: std::process::id(),
            host: dagrun_disk::host(),
            boot: read("/proc/sys/kernel/random/boot_id"),
            ..Owner::default()
        }
    }
}

/// A lock that is held.
#[derive(Debug)]
pub(crate) struct RunLock {
    path: PathBuf,
    file: File,
}

impl RunLock {
    /// Takes the lock of a run. An error of the kind `WouldBlock` says that a process has it.
    pub(crate) fn take(state_dir: &Path, run: RunId, owner: &Owner) -> io::Result<RunLock> {
        private::create_dir_all(&layout::run_dir(state_dir, run))?;
        let path = layout::run_lock(state_dir, run);
        let mut options = OpenOptions::new();
        let file = options.write(true).create(true).truncate(false).mode(0o600).open(&path)?;
        file.try_lock().map_err(io::Error::from)?;
        // From here on nothing of it stays when it fails.
        let mut lock = RunLock { path, file };
        lock.file.set_len(0)?;
        lock.file.write_all(&serde_json::to_vec(owner)?)?;
        Ok(lock)
    }
}

impl Drop for RunLock {
    fn drop(&mut self) {
        // One that stays is free all the same.
        let _ = std::fs::remove_file(&self.path);
        if let Some(dir) = self.path.parent() {
            // Fails if anything else is in it, as it should.
            let _ = std::fs::remove_dir(dir);
        }
    }
}

/// Whether a process runs a run that has not ended; `pid` is the one that began it.
pub(crate) fn is_held(state_dir: &Path, run: RunId, pid: u32) -> bool {
    let locked = File::open(layout::run_lock(state_dir, run)).map(|file| file.try_lock_shared());
    match locked {
        Ok(Ok(())) => false,
        Ok(Err(TryLockError::WouldBlock)) => true,
        // There is none, or the file system has no locks: runs of earlier versions, and of schedulers
        // whose state nobody else looks at.
        Ok(Err(TryLockError::Error(_))) | Err(_) => {
            let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
            pid.is_some_and(|pid| test_kill_process(pid) != Err(rustix::io::Errno::SRCH))
        }
    }
}

/// Who runs a run, as its lock says.
pub(crate) fn owner(state_dir: &Path, run: RunId) -> Option<Owner> {
    let text = std::fs::read(layout::run_lock(state_dir, run)).ok()?;
    serde_json::from_slice(&text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_held_until_it_is_dropped_and_says_by_whom() {
        let dir = tempfile::tempdir().unwrap();
        let run = RunId(3);
        let nobody = u32::MAX;
        assert!(!is_held(dir.path(), run, nobody));
        assert!(is_held(dir.path(), run, std::process::id()), "no lock: its process lives");
        let mut me = Owner::here();
        me.socket = Some("/run/socket".into());
        let lock = RunLock::take(dir.path(), run, &me).unwrap();
        assert!(is_held(dir.path(), run, nobody));
        assert_eq!(owner(dir.path(), run), Some(me.clone()));
        assert!(RunLock::take(dir.path(), run, &me).is_err(), "only one has it");
        drop(lock);
        assert!(!is_held(dir.path(), run, nobody));
        assert!(!layout::run_dir(dir.path(), run).exists());
    }

    #[test]
    fn a_lock_file_that_was_left_is_free_whatever_process_has_the_number_now() {
        let dir = tempfile::tempdir().unwrap();
        let run = RunId(1);
        std::fs::create_dir_all(layout::run_dir(dir.path(), run)).unwrap();
        std::fs::write(layout::run_lock(dir.path(), run), "no JSON").unwrap();
        assert!(!is_held(dir.path(), run, std::process::id()));
        assert_eq!(owner(dir.path(), run), None);
    }
}
