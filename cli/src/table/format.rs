//! Where rows are written: to a file that appears as a whole, or to standard output.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use dagrun::table::{Form, RowWriter};
use dagrun_core::table::{Kind, Row, Sheet};

use crate::exit::{Exit, Failure};
use crate::terminal;

/// The form that the ending of a path names.
pub(crate) fn form_of(path: &Path) -> Result<Form, Failure> {
    Form::of(path).ok_or_else(|| {
        Failure::usage(format!("{}: its ending names no form of a table", path.display()))
            .help("endings are .csv, .tsv, .json, .jsonl and .parquet; or name it, as in --csv")
    })
}

/// A file that appears under its name when it is complete, or standard output.
pub(crate) struct Target {
    pub(crate) to: Box<dyn Write + Send>,
    /// The file as it is now, and as it is to be called.
    file: Option<(PathBuf, PathBuf)>,
}

impl Target {
    pub(crate) fn open(path: Option<&Path>) -> Result<Target, Failure> {
        let Some(path) = path else {
            return Ok(Target {
                to: Box::new(BufWriter::with_capacity(1 << 16, io::stdout())),
                file: None,
            });
        };
        let (temporary, file) = create_beside(path)?;
        let to = Box::new(BufWriter::with_capacity(1 << 16, file));
        Ok(Target { to, file: Some((temporary, path.to_owned())) })
    }

    /// Writes all of something.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.to.write_all(bytes).map_err(|error| unwritten(&error, self.path()))
    }

    /// Gives the file its name.
    pub(crate) fn finish(mut self) -> Result<(), Failure> {
        self.to.flush().map_err(|error| unwritten(&error, self.path()))?;
        match self.file.take() {
            Some((temporary, path)) => put_in_place(&temporary, &path),
            None => Ok(()),
        }
    }

    fn path(&self) -> Option<&Path> {
        self.file.as_ref().map(|(_, path)| path.as_path())
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        if let Some((temporary, _)) = &self.file {
            let _ = std::fs::remove_file(temporary);
        }
    }
}

/// A new file beside a path, hidden, with the path's ending.
pub(crate) fn create_beside(path: &Path) -> Result<(PathBuf, File), Failure> {
    let name = path
        .file_name()
        .ok_or_else(|| Failure::usage(format!("{} does not name a file", path.display())))?;
    let kind = std::fs::symlink_metadata(path).map(|found| found.file_type());
    if kind.is_ok_and(|kind| !kind.is_file()) {
        let text = format!("{} is no regular file, and is not replaced", path.display());
        return Err(Failure::usage(text));
    }
    let temporary =
        path.with_file_name(format!(".{}-{}", std::process::id(), name.to_string_lossy()));
    let file = File::create(&temporary).map_err(|error| unwritten(&error, Some(path)))?;
    Ok((temporary, file))
}

/// Renames a finished file to where it belongs.
pub(crate) fn put_in_place(temporary: &Path, path: &Path) -> Result<(), Failure> {
    std::fs::rename(temporary, path).map_err(|error| {
        let _ = std::fs::remove_file(temporary);
        unwritten(&error, Some(path))
    })
}

/// The error that something could not be written. A reader of standard output who is not there any
/// more ends the process quietly.
pub(crate) fn unwritten(error: &io::Error, path: Option<&Path>) -> Failure {
    match path {
        None if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
        None => Failure::new(Exit::Failed, format!("standard output: {error}")),
        Some(path) => Failure::new(Exit::Failed, format!("{}: {error}", path.display())),
    }
}

/// Takes rows and writes them.
pub(crate) struct Sink {
    target: Target,
    writer: RowWriter<Box<dyn Write + Send>>,
}

impl Sink {
    pub(crate) fn open(
        form: Form,
        path: Option<&Path>,
        sheet: &Sheet,
        columns: Vec<usize>,
    ) -> Result<Sink, Failure> {
        let mut target = Target::open(path)?;
        let to = std::mem::replace(&mut target.to, Box::new(io::sink()));
        let writer =
            RowWriter::new(form, to, sheet, columns).map_err(|error| match error.kind() {
                io::ErrorKind::Unsupported => Failure::usage(error.to_string()),
                _ => unwritten(&error, path),
            })?;
        Ok(Sink { target, writer })
    }

    /// Writes a row.
    pub(crate) fn row(&mut self, row: &Row) -> Result<bool, Failure> {
        self.writer.row(row).map_err(|error| unwritten(&error, self.target.path()))?;
        Ok(true)
    }

    /// Writes the end.
    pub(crate) fn finish(self) -> Result<(), Failure> {
        let written = self.writer.finish();
        written.map_err(|error| unwritten(&error, self.target.path()))?;
        self.target.finish()
    }
}

/// A cell as people read it: nothing that a terminal would obey.
pub(crate) fn plain(kind: Kind, bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    match kind {
        Kind::Text => terminal::plain(&text),
        _ => text.into_owned(),
    }
}
