//! Finding the program of an attempt, as `execvp` would, but in the parent.
//!
//! The standard library falls back from `posix_spawn` to `fork` when it is given a bare program
//! name together with a `PATH` for the child; a resolved path keeps the fast path.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use rustix::fs::Access;
use rustix::io::Errno;

/// Why a program cannot be started, in words for people.
pub(crate) type Reason = String;

/// What was found so far.
#[derive(Debug)]
pub(crate) struct Programs {
    /// The worker's own `PATH`.
    path: OsString,
    found: RwLock<HashMap<(OsString, OsString), Arc<Path>>>,
}

impl Programs {
    /// Nothing found yet; the worker's `PATH` is read once.
    pub(crate) fn new() -> Programs {
        let path =
            std::env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into());
        Programs { path, found: RwLock::default() }
    }

    /// The path to execute for `name`, searched in the `PATH` that `env` sets, or the worker's own.
    ///
    /// A name with a slash is used unchanged: the child resolves it in its working directory.
    pub(crate) fn resolve(
        &self,
        name: &OsStr,
        env: &[(OsString, OsString)],
        working_dir: &Path,
    ) -> Result<Arc<Path>, Reason> {
        if name.as_bytes().contains(&b'/') {
            return Ok(Arc::from(Path::new(name)));
        }
        let set = env.iter().rev().find(|(key, _)| key == "PATH").map(|(_, value)| value);
        let path = set.unwrap_or(&self.path);
        let key = (name.to_owned(), path.clone());
        if let Some(known) = self.found.read().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return Ok(known.clone());
        }
        let (program, cacheable) = search(name, path, working_dir)?;
        let program: Arc<Path> = Arc::from(program);
        if cacheable {
            self.found.write().unwrap_or_else(PoisonError::into_inner).insert(key, program.clone());
        }
        Ok(program)
    }

    /// Forgets all that was found, because some of it no longer exists.
    pub(crate) fn forget(&self) {
        self.found.write().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

/// The first executable file called `name`, and whether the answer is independent of `working_dir`.
fn search(name: &OsStr, path: &OsStr, working_dir: &Path) -> Result<(PathBuf, bool), Reason> {
    let mut unusable = false;
    let mut cacheable = true;
    for dir in std::env::split_paths(path) {
        cacheable &= dir.is_absolute();
        let candidate = working_dir.join(&dir).join(name);
        if name.is_empty() || !candidate.is_file() {
            continue;
        }
        if rustix::fs::access(&candidate, Access::EXEC_OK).is_ok() {
            return Ok((candidate, cacheable));
        }
        unusable = true;
    }
    let what = if unusable { "not executable" } else { "no such program" };
    Err(format!("{what}: {}", name.display()))
}

/// Whether starting a program failed as there is nothing here to execute.
pub(crate) fn is_missing(error: &std::io::Error) -> bool {
    const MISSING: [Errno; 3] = [Errno::NOENT, Errno::ACCESS, Errno::NOEXEC];
    Errno::from_io_error(error).is_some_and(|errno| MISSING.contains(&errno))
}

/// Explains why starting `program` in `working_dir` failed with `error`.
pub(crate) fn explain(
    (argv, env): (&[OsString], &[(OsString, OsString)]),
    program: &Path,
    working_dir: &Path,
    error: &std::io::Error,
) -> Reason {
    let name = argv.first().map(OsString::as_os_str).unwrap_or_default().display();
    if !working_dir.is_dir() {
        return format!("no such working directory: {}", working_dir.display());
    }
    let full = working_dir.join(program);
    match error.kind() {
        std::io::ErrorKind::ArgumentListTooLong => too_long(argv, env),
        std::io::ErrorKind::NotFound if !full.exists() => format!("no such program: {name}"),
        std::io::ErrorKind::NotFound => format!("the interpreter of {name} is missing"),
        std::io::ErrorKind::PermissionDenied if full.is_dir() => {
            format!("not a program but a directory: {name}")
        }
        std::io::ErrorKind::PermissionDenied => format!("not executable: {name}"),
        _ if is_missing(error) => format!("no program that can be executed here: {name}"),
        _ => format!("cannot start {name}: {error}"),
    }
}

/// Arguments and environment that exceed what the system takes in all, with the longest of them.
fn too_long(argv: &[OsString], env: &[(OsString, OsString)]) -> Reason {
    let words = argv.iter().zip(0..).map(|(word, at)| (word.len(), format!("argument {at}")));
    let variables = env.iter().map(|(name, value)| {
        (name.len() + 1 + value.len(), format!("variable `{}`", name.display()))
    });
    let sized: Vec<(usize, String)> = words.chain(variables).collect();
    let all: usize = sized.iter().map(|(length, _)| length + 1).sum();
    let (length, what) = sized.into_iter().max().unwrap_or_default();
    format!(
        "its arguments and environment have {all} bytes together, more than the system gives a \
         process; the longest is {what} with {length} bytes: put it into a file"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_first_executable_in_the_childs_path_wins() {
        let dir = tempfile::tempdir().unwrap();
        for (sub, mode) in [("a", 0o644), ("b", 0o755)] {
            std::fs::create_dir(dir.path().join(sub)).unwrap();
            let file = dir.path().join(sub).join("tool");
            std::fs::write(&file, "").unwrap();
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
        }
        let programs = Programs::new();
        let path = std::env::join_paths([dir.path().join("a"), dir.path().join("b")]).unwrap();
        let env = vec![("PATH".into(), path)];
        for _ in 0..2 {
            let found = programs.resolve("tool".as_ref(), &env, Path::new("/")).unwrap();
            assert_eq!(&*found, dir.path().join("b/tool"));
        }
        let only_a = vec![("PATH".into(), dir.path().join("a").into_os_string())];
        let reason = programs.resolve("tool".as_ref(), &only_a, Path::new("/")).unwrap_err();
        assert_eq!(reason, "not executable: tool");
        let reason = programs.resolve("absent".as_ref(), &env, Path::new("/")).unwrap_err();
        assert_eq!(reason, "no such program: absent");
    }

    #[test]
    fn a_relative_search_path_depends_on_the_working_directory() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("tool");
        std::fs::write(&file, "").unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
        let programs = Programs::new();
        let env = vec![("PATH".into(), ".".into())];
        assert!(programs.resolve("tool".as_ref(), &env, dir.path()).is_ok());
        assert!(programs.resolve("tool".as_ref(), &env, Path::new("/proc")).is_err());
    }
}
