//! The files that a pipeline names, as they lie on disk or at URLs.
//!
//! Only looks: nothing here writes.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use dagrun_core::output::Kind;
use dagrun_core::parse::{FileError, Files};
use dagrun_core::url::Location;
use dagrun_core::value::RawString;
use dagrun_worker::data::{self, DataError};
use glob::{MatchOptions, Pattern};

/// Shell rules: `*` stops at `/` and does not match the dot of a hidden file.
const OPTIONS: MatchOptions = MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: true,
};

/// Where bytes of a file name that are not UTF-8 go while it is matched: characters that nobody
/// writes into a pattern.
const RAW_BYTES: u32 = 0x10_FF00;

/// The files of a directory, usually that of the pipeline file, and what URLs lead to.
#[derive(Clone, Debug)]
pub struct Disk {
    directory: PathBuf,
}

impl Disk {
    /// Files relative to `directory`.
    #[must_use]
    pub fn new(directory: impl Into<PathBuf>) -> Disk {
        Disk { directory: directory.into() }
    }

    /// The paths below `found` that match the rest of a pattern.
    fn expand(
        &self,
        found: &Path,
        components: &[Component],
        paths: &mut Vec<PathBuf>,
    ) -> Result<(), FileError> {
        let Some((first, rest)) = components.split_first() else {
            paths.push(found.to_owned());
            return Ok(());
        };
        match first {
            Component::Literal(name) => {
                let path = found.join(name);
                // A link to nowhere is there all the same.
                if self.directory.join(&path).symlink_metadata().is_ok() {
                    self.expand(&path, rest, paths)?;
                }
            }
            Component::Pattern(pattern) => {
                for name in self.names(found)? {
                    let here = pattern.matches_with(&matchable(&name), OPTIONS);
                    if here && (rest.is_empty() || self.is_directory(&found.join(&name), true)) {
                        self.expand(&found.join(&name), rest, paths)?;
                    }
                }
            }
            Component::Recursive => self.expand_below(found, components, paths)?,
        }
        Ok(())
    }

    /// The paths below `found`, at any depth, that match the rest of a pattern after its `**`.
    fn expand_below(
        &self,
        found: &Path,
        components: &[Component],
        paths: &mut Vec<PathBuf>,
    ) -> Result<(), FileError> {
        let rest = components.get(1..).unwrap_or_default();
        if !rest.is_empty() {
            self.expand(found, rest, paths)?;
        }
        for name in self.names(found)? {
            if name.as_bytes().starts_with(b".") {
                continue;
            }
            let path = found.join(&name);
            if rest.is_empty() {
                paths.push(path.clone());
            }
            // Links are not followed here: they may lead round in a circle.
            if self.is_directory(&path, false) {
                self.expand(&path, components, paths)?;
            }
        }
        Ok(())
    }

    fn is_directory(&self, path: &Path, follow: bool) -> bool {
        let path = self.directory.join(path);
        let metadata = if follow { path.metadata() } else { path.symlink_metadata() };
        metadata.is_ok_and(|metadata| metadata.is_dir())
    }

    /// The names in a directory; none when there is no such directory.
    fn names(&self, path: &Path) -> Result<Vec<std::ffi::OsString>, FileError> {
        let error = |error: &io::Error| {
            FileError::new(format!("cannot read directory `{}`: {error}", path.display()))
        };
        let entries = match fs::read_dir(self.directory.join(path)) {
            Ok(entries) => entries,
            Err(missing)
                if matches!(
                    missing.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) =>
            {
                return Ok(Vec::new());
            }
            Err(other) => return Err(error(&other)),
        };
        entries.map(|entry| Ok(entry.map_err(|other| error(&other))?.file_name())).collect()
    }
}

impl Disk {
    fn glob_paths(&self, pattern: &str) -> Result<Vec<RawString>, FileError> {
        let mut components = Vec::new();
        for text in pattern.split('/').filter(|text| !text.is_empty()) {
            components.push(Component::new(text)?);
        }
        components.dedup_by(|a, b| matches!((a, b), (Component::Recursive, Component::Recursive)));
        let start = if pattern.starts_with('/') { Path::new("/") } else { Path::new("") };
        let mut paths = Vec::new();
        self.expand(start, &components, &mut paths)?;
        let mut found: Vec<_> = paths
            .into_iter()
            .map(|path| RawString(path.into_os_string().as_bytes().to_vec()))
            .collect();
        found.sort_unstable();
        found.dedup();
        Ok(found)
    }

    /// A path as the system wants it.
    fn path(&self, text: &[u8]) -> PathBuf {
        self.directory.join(OsStr::from_bytes(text))
    }
}

impl Files for Disk {
    fn glob(&self, pattern: &str) -> Result<Vec<RawString>, FileError> {
        match location(pattern)? {
            Location::Path(path) => self.glob_paths(&String::from_utf8_lossy(&path)),
            Location::Remote(url) => {
                let found = data::list(url).map_err(|error| remote(&error))?;
                Ok(found.into_iter().map(|url| RawString(url.into_bytes())).collect())
            }
        }
    }

    fn read(&self, path: &str) -> Result<Vec<u8>, FileError> {
        match location(path)? {
            Location::Path(path) => {
                fs::read(self.path(&path)).map_err(|error| FileError::new(error.to_string()))
            }
            Location::Remote(url) => {
                data::read(url).map(Into::into).map_err(|error| remote(&error))
            }
        }
    }

    fn exists(&self, path: &str) -> Result<bool, FileError> {
        let path = match location(path)? {
            Location::Path(path) => path,
            Location::Remote(url) => return data::exists(url).map_err(|error| remote(&error)),
        };
        match self.path(&path).try_exists() {
            Ok(exists) => Ok(exists),
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => Ok(false),
            Err(error) => Err(FileError::new(error.to_string())),
        }
    }

    fn kind(&self, path: &Path) -> Kind {
        dagrun_disk::kind_of(&self.directory.join(path)).unwrap_or(Kind::Absent)
    }
}

fn location(text: &str) -> Result<Location<'_>, FileError> {
    Location::of(text.as_bytes()).map_err(|error| FileError::new(error.to_string()))
}

fn remote(error: &DataError) -> FileError {
    FileError::new(error.reason())
}

/// A part of a pattern between slashes.
enum Component {
    /// A name as it is.
    Literal(String),
    /// A name with wildcards.
    Pattern(Pattern),
    /// `**`: any number of directories.
    Recursive,
}

impl Component {
    fn new(text: &str) -> Result<Component, FileError> {
        if text == "**" {
            return Ok(Component::Recursive);
        }
        if !text.contains(['*', '?', '[']) {
            return Ok(Component::Literal(text.to_owned()));
        }
        match Pattern::new(text) {
            Ok(pattern) => Ok(Component::Pattern(pattern)),
            Err(error) => Err(FileError::new(format!("malformed pattern: {}", error.msg))),
        }
    }
}

/// A file name as text that patterns can be matched with, one character for each byte that is not
/// UTF-8.
fn matchable(name: &OsStr) -> String {
    let mut text = String::new();
    for chunk in name.as_bytes().utf8_chunks() {
        text.push_str(chunk.valid());
        let raw = chunk.invalid().iter().map(|byte| char::from_u32(RAW_BYTES + u32::from(*byte)));
        text.extend(raw.flatten());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(files: &[&[u8]]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for file in files {
            let path = directory.path().join(OsStr::from_bytes(file));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, file).unwrap();
        }
        directory
    }

    fn glob(directory: &tempfile::TempDir, pattern: &str) -> Vec<String> {
        let found = Disk::new(directory.path()).glob(pattern).unwrap();
        found.iter().map(|path| path.0.escape_ascii().to_string()).collect()
    }

    #[test]
    fn paths_are_relative_sorted_and_without_hidden_files() {
        let files: [&[u8]; 6] =
            [b"d/b.txt", b"d/a.txt", b"d/.c.txt", b"d/e.csv", b"f.txt", b"d/B.txt"];
        let directory = directory(&files);
        assert_eq!(glob(&directory, "d/*.txt"), ["d/B.txt", "d/a.txt", "d/b.txt"]);
        assert_eq!(glob(&directory, "d/.*.txt"), ["d/.c.txt"]);
        assert_eq!(glob(&directory, "?/[ab].txt"), ["d/a.txt", "d/b.txt"]);
        assert_eq!(glob(&directory, "**/*.txt"), ["d/B.txt", "d/a.txt", "d/b.txt", "f.txt"]);
        assert_eq!(glob(&directory, "f.txt"), ["f.txt"]);
        assert_eq!(glob(&directory, "nothing/*"), [""; 0]);
        assert_eq!(glob(&directory, "f.txt/*"), [""; 0]);
        let absolute = format!("{}/d/a*", directory.path().display());
        assert_eq!(glob(&directory, &absolute), [absolute.replace('*', ".txt")]);
        let url = format!("file://{absolute}");
        assert_eq!(glob(&directory, &url), [absolute.replace('*', ".txt")]);
    }

    #[test]
    fn names_that_are_not_utf8_are_found() {
        let directory = directory(&[b"d/\xff\xfe.txt", b"d/a\nb.txt", b"d/$(id).txt"]);
        assert_eq!(glob(&directory, "d/*.txt"), ["d/$(id).txt", "d/a\\nb.txt", "d/\\xff\\xfe.txt"]);
        assert_eq!(glob(&directory, "d/??.txt"), ["d/\\xff\\xfe.txt"]);
    }

    #[test]
    fn circles_of_links_end() {
        let directory = directory(&[b"d/a.txt"]);
        std::os::unix::fs::symlink("..", directory.path().join("d/up")).unwrap();
        assert_eq!(glob(&directory, "**/a.txt"), ["d/a.txt"]);
    }

    #[test]
    fn what_cannot_be_seen_is_told() {
        let directory = directory(&[b"a"]);
        let disk = Disk::new(directory.path());
        assert_eq!(disk.exists("a"), Ok(true));
        assert_eq!(disk.exists("b"), Ok(false));
        assert_eq!(disk.exists("a/b"), Ok(false));
        assert_eq!(disk.read("a").unwrap(), b"a");
        assert!(disk.read("b").unwrap_err().reason.contains("No such file"));
        assert!(disk.glob("[").unwrap_err().reason.contains("malformed pattern"));
        let url = format!("file://{}/a", directory.path().display());
        assert_eq!((disk.exists(&url), disk.read(&url)), (Ok(true), Ok(b"a".to_vec())));
        for problem in [disk.exists("ftp://h/x"), disk.exists("file://h/x")] {
            assert!(problem.unwrap_err().reason.contains("`file://"));
        }
        assert!(disk.glob("https://h/*.csv").unwrap_err().reason.contains("lists nothing"));
    }
}
