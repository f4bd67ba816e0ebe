//! The Unix socket of a scheduler within a command: other commands of the same user ask it what happens
//! now, instead of reading the history again and again.
//!
//! It is in `$XDG_RUNTIME_DIR/dagrun`, or in `dagrun-UID` below the temporary directory, which only the
//! user may enter. Whoever would connect learns the path from the lock of a run.

use std::fs::{DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

/// A socket that is listened on; its name is removed at the end.
#[derive(Debug)]
pub(super) struct OwnSocket {
    pub(super) path: PathBuf,
    pub(super) listener: UnixListener,
}

impl OwnSocket {
    /// Listens on a new socket.
    pub(super) fn bind() -> io::Result<OwnSocket> {
        let dir = own_dir()?;
        remove_dead(&dir);
        let mut name = [0; 8];
        getrandom::fill(&mut name).map_err(|error| io::Error::other(error.to_string()))?;
        let path = dir.join(format!("{}.sock", hex::encode(name)));
        let listener = UnixListener::bind(&path)?;
        std::fs::set_permissions(&path, Permissions::from_mode(0o600))?;
        listener.set_nonblocking(true)?;
        Ok(OwnSocket { path, listener })
    }
}

impl Drop for OwnSocket {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// A directory that nobody else may enter.
fn own_dir() -> io::Result<PathBuf> {
    let user = rustix::process::geteuid().as_raw();
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let dir = match runtime.filter(|dir| dir.is_absolute() && dir.is_dir()) {
        Some(runtime) => runtime.join("dagrun"),
        None => std::env::temp_dir().join(format!("dagrun-{user}")),
    };
    match DirBuilder::new().mode(0o700).create(&dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    // Another user may have been here before: a link, or a directory that is open to all.
    let found = std::fs::symlink_metadata(&dir)?;
    if !found.is_dir() || found.uid() != user || found.mode() & 0o077 != 0 {
        let text = format!("{} is not a directory of this user alone", dir.display());
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
    }
    Ok(dir)
}

/// Removes what killed processes have left.
fn remove_dead(dir: &Path) {
    let Ok(entries) = std::fs::read_dir(dir) else { return };
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        let refused = UnixStream::connect(&path)
            .is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused);
        if refused && path.extension().is_some_and(|end| end == "sock") {
            let _ = std::fs::remove_file(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_that_nobody_listens_on_are_removed_and_others_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let [dead, alive, other] = ["a.sock", "b.sock", "c.txt"].map(|name| dir.path().join(name));
        drop(UnixListener::bind(&dead).unwrap());
        let listener = UnixListener::bind(&alive).unwrap();
        std::fs::write(&other, "").unwrap();
        remove_dead(dir.path());
        assert!(!dead.exists() && alive.exists() && other.exists());
        drop(listener);
    }

    #[test]
    fn a_socket_is_its_users_alone_and_leaves_with_its_owner() {
        let socket = OwnSocket::bind().unwrap();
        let path = socket.path.clone();
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(std::fs::metadata(path.parent().unwrap()).unwrap().mode() & 0o777, 0o700);
        drop(socket);
        assert!(!path.exists());
    }
}
