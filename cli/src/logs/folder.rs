//! Logs as files: one for each stream of each attempt that wrote anything.

use std::collections::HashSet;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use dagrun_core::status::{LogChunk, Stream};

use crate::exit::{Exit, Failure};

/// A directory with the logs of attempts. None of its files stays open: there may be any number of them.
pub(super) struct Folder {
    dir: PathBuf,
    /// The files that were begun by this process; others of these names are replaced.
    begun: HashSet<String>,
}

impl Folder {
    /// The directory, which is made where it is not there.
    pub(super) fn create(dir: &Path) -> Result<Folder, Failure> {
        fs::create_dir_all(dir).map_err(|error| failed(dir, &error))?;
        Ok(Folder { dir: dir.to_owned(), begun: HashSet::new() })
    }

    /// Appends what an attempt wrote to its file.
    pub(super) fn write(&mut self, task: &str, chunk: &LogChunk) -> Result<(), Failure> {
        let attempt = match chunk.attempt {
            0 | 1 => String::new(),
            attempt => format!(".attempt-{attempt}"),
        };
        let stream = if chunk.stream == Stream::Stdout { "stdout" } else { "stderr" };
        let name = format!("{task}-{}{attempt}.{stream}", chunk.instance.index);
        let path = self.dir.join(&name);
        let is_new = self.begun.insert(name);
        let written = OpenOptions::new()
            .create(true)
            .write(true)
            .append(!is_new)
            .truncate(is_new)
            .open(&path)
            .and_then(|mut file| match chunk.stream {
                Stream::Note => {
                    let note = String::from_utf8_lossy(&chunk.bytes);
                    writeln!(file, "[dagrun: {}]", note.trim_end())
                }
                Stream::Stdout | Stream::Stderr => file.write_all(&chunk.bytes),
            });
        written.map_err(|error| failed(&path, &error))
    }

    /// How much was written where.
    pub(super) fn summary(&self) -> String {
        let files = self.begun.len();
        let word = crate::check::plural(files as u64, "file");
        format!("{files} {word} in {}", self.dir.display())
    }
}

fn failed(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(Exit::Failed, format!("cannot write {}: {error}", path.display()))
}
