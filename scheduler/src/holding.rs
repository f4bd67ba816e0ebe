//! A lock file that says who holds it: of a state directory by the scheduler of a cluster, of a cluster's
//! folder likewise. The kernel takes the lock back when its holder ends, however it ends.

use std::fmt;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::Write as _;
use std::path::Path;

use dagrun_disk::private;
use serde::{Deserialize, Serialize};

/// Who holds a lock.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Holder {
    /// Its process.
    pub pid: u32,
    /// The machine's name.
    pub host: String,
    /// Since when, as RFC 3339.
    pub since: String,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Holder { pid, host, since } = self;
        match *pid {
            0 => f.write_str("a process that did not say which it is"),
            _ => write!(f, "process {pid} on {host}, since {since}"),
        }
    }
}

/// Why a lock could not be taken.
#[derive(Debug)]
pub(crate) enum Untaken {
    /// Somebody holds it.
    Held(Holder),
    /// The file cannot be written.
    Unwritable,
}

/// A lock that is held until this is dropped.
#[derive(Debug)]
pub struct Holding {
    _file: File,
}

impl Holding {
    /// Takes the lock of this file, which is made when it is not there. On a file system without locks
    /// nobody can be kept out, and nobody is.
    pub(crate) fn take(path: &Path) -> Result<Holding, Untaken> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let mut file = private::open(path, &mut options).map_err(|_| Untaken::Unwritable)?;
        if let Err(TryLockError::WouldBlock) = file.try_lock() {
            let said = std::fs::read(path).unwrap_or_default();
            return Err(Untaken::Held(serde_json::from_slice(&said).unwrap_or_default()));
        }
        let holder = Holder {
            pid: std::process::id(),
            host: dagrun_disk::host(),
            since: jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        };
        let written = file.set_len(0).and_then(|()| {
            file.write_all(&serde_json::to_vec(&holder)?)?;
            file.write_all(b"\n")
        });
        // Whoever is kept out learns less if that failed, as on a full disk.
        drop(written);
        Ok(Holding { _file: file })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_says_who_holds_it_and_is_free_when_that_ends() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let held = Holding::take(&path).unwrap();
        match Holding::take(&path) {
            Err(Untaken::Held(holder)) => {
                assert_eq!(holder.pid, std::process::id());
                assert!(holder.to_string().contains(&dagrun_disk::host()), "{holder}");
            }
            other => panic!("{other:?}"),
        }
        drop(held);
        assert!(Holding::take(&path).is_ok());
    }

    #[test]
    fn a_file_that_says_nothing_is_no_reason_to_guess() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let file = File::create(&path).unwrap();
        file.try_lock().unwrap();
        match Holding::take(&path) {
            Err(Untaken::Held(holder)) => assert!(holder.to_string().contains("did not say")),
            other => panic!("{other:?}"),
        }
    }
}
