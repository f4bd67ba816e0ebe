//! What may exist at an output's path, and what may replace it: one rule, for the check before a
//! run and for the code that moves the product into place.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// What exists at a path, without following a link in its last component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Nothing.
    Absent,
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link to this path, whether or not the target exists.
    Link(PathBuf),
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
    /// A device, or something of an unknown kind.
    Device,
}

/// What an output looked like when its instance succeeded, for a later run to compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stamp {
    /// A directory. Its time is not kept: others may add files to it, and a change within a file in it
    /// would not be seen anyway.
    Directory,
    /// A directory that is to be removed, with all that is in it.
    Tree {
        /// How many files, directories and links are in it, at any depth.
        entries: u64,
        /// The size of all files in it.
        bytes: u64,
        /// When it, or anything in it, was last modified: nanoseconds since 1970-01-01 UTC.
        modified: i64,
    },
    /// A regular file.
    File {
        /// Its size.
        bytes: u64,
        /// When it was last modified: nanoseconds since 1970-01-01 UTC.
        modified: i64,
    },
}

impl Stamp {
    /// Whether an output that is `now` like this is what it was then.
    ///
    /// File systems differ in the resolution of times, and a file may be looked at through two of them:
    /// a time of whole seconds equals any time within that second.
    #[must_use]
    pub fn matches(&self, now: &Stamp) -> bool {
        match (*self, *now) {
            (Stamp::Directory, Stamp::Directory) => true,
            (
                Stamp::Tree { entries, bytes, modified },
                Stamp::Tree { entries: entries_now, bytes: bytes_now, modified: modified_now },
            ) => (entries, bytes) == (entries_now, bytes_now) && same_time(modified, modified_now),
            (
                Stamp::File { bytes, modified },
                Stamp::File { bytes: bytes_now, modified: modified_now },
            ) => bytes == bytes_now && same_time(modified, modified_now),
            _ => false,
        }
    }
}

/// Whether two times, in nanoseconds, can be one.
fn same_time(one: i64, other: i64) -> bool {
    const SECOND: i64 = 1_000_000_000;
    let whole = one % SECOND == 0 || other % SECOND == 0;
    one == other || (whole && one.div_euclid(SECOND) == other.div_euclid(SECOND))
}

impl Kind {
    /// The kind in words: `a named pipe`, ``a symbolic link to `x` ``.
    #[must_use]
    pub fn words(&self) -> String {
        match self {
            Kind::Absent => "nothing".to_owned(),
            Kind::File => "a regular file".to_owned(),
            Kind::Directory => "a directory".to_owned(),
            Kind::Link(to) => format!("a symbolic link to `{}`", to.display()),
            Kind::Fifo => "a named pipe".to_owned(),
            Kind::Socket => "a socket".to_owned(),
            Kind::Device => "a device".to_owned(),
        }
    }

    /// Why an output may not replace what exists at its path, if it may not: a sentence fragment
    /// that follows the path. `directory`: the path ends with a slash, which declares a directory.
    #[must_use]
    pub fn refusal(&self, directory: bool) -> Option<String> {
        match self {
            Kind::Absent | Kind::Directory => None,
            Kind::File if !directory => None,
            Kind::File => {
                Some("is a regular file, but the slash at its end means a directory".to_owned())
            }
            Kind::Link(_) => Some(format!(
                "is {}, which is never replaced: remove the link, or write another path",
                self.words()
            )),
            Kind::Fifo | Kind::Socket | Kind::Device => Some(format!(
                "is {}: only regular files and directories are replaced",
                self.words()
            )),
        }
    }

    /// Why the product of an attempt cannot replace `self`, which [`Kind::refusal`] accepts: a
    /// sentence fragment that follows the name of the output.
    #[must_use]
    pub fn mismatch(&self, product: &Kind, directory: bool) -> Option<String> {
        match (product, self) {
            (Kind::File, _) if directory => {
                Some("is a regular file, but the slash at its end means a directory".to_owned())
            }
            (Kind::File, Kind::Directory) => {
                Some("is a regular file, but a directory is in its place".to_owned())
            }
            (Kind::Directory, Kind::File) => {
                Some("is a directory, but a regular file is in its place".to_owned())
            }
            (Kind::File | Kind::Directory, _) => None,
            (other, _) if directory => Some(format!("is no directory: it is {}", other.words())),
            (other, _) => Some(format!("is no regular file: it is {}", other.words())),
        }
    }
}

/// Whether an output's path, as rendered, ends with a slash, which declares a directory.
#[must_use]
pub fn is_directory(path: &Path) -> bool {
    use std::os::unix::ffi::OsStrExt as _;
    path.as_os_str().as_bytes().ends_with(b"/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_and_directories_give_way_and_only_to_their_kind() {
        let link = || Kind::Link("/dev/null".into());
        for (at, slash, fits) in [
            (Kind::Absent, false, true),
            (Kind::Absent, true, true),
            (Kind::File, false, true),
            (Kind::File, true, false),
            (Kind::Directory, false, true),
            (Kind::Directory, true, true),
            (link(), false, false),
            (link(), true, false),
            (Kind::Fifo, false, false),
            (Kind::Socket, true, false),
            (Kind::Device, false, false),
        ] {
            assert_eq!(at.refusal(slash).is_none(), fits, "{at:?} {slash}");
        }
        assert!(link().refusal(false).unwrap().contains("`/dev/null`"));
        for (product, at, slash, fits) in [
            (Kind::File, Kind::Absent, false, true),
            (Kind::File, Kind::File, false, true),
            (Kind::File, Kind::Directory, false, false),
            (Kind::File, Kind::Absent, true, false),
            (Kind::Directory, Kind::Absent, false, true),
            (Kind::Directory, Kind::Absent, true, true),
            (Kind::Directory, Kind::Directory, true, true),
            (Kind::Directory, Kind::File, false, false),
            (link(), Kind::Absent, false, false),
            (Kind::Fifo, Kind::File, false, false),
            (Kind::Socket, Kind::Directory, true, false),
        ] {
            assert_eq!(at.mismatch(&product, slash).is_none(), fits, "{product:?} {at:?} {slash}");
        }
    }
}
