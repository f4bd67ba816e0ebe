//! `dagrun fmt`: pipeline files in one layout.

use std::fs;
use std::io::{Read as _, Write as _};
use std::path::Path;

use dagrun::Problems;
use dagrun_core::pretty;

use crate::args::FmtArgs;
use crate::diagnostics;
use crate::exit::{Exit, Failure};
use crate::terminal::{self, Output, Terminal};

/// Formats files, or says which are not in the layout.
pub(crate) fn fmt(args: &FmtArgs) -> Result<Exit, Failure> {
    let mut exit = Exit::Success;
    for file in &args.files {
        exit = exit.max(one(file, args.check)?);
    }
    Ok(exit)
}

fn one(file: &Path, is_check: bool) -> Result<Exit, Failure> {
    let is_stdin = file == Path::new("-");
    let text = match is_stdin {
        true => {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).map(|_| text)
        }
        false => fs::read_to_string(file),
    };
    let shown = file.display();
    let text = text.map_err(|error| Failure::usage(format!("cannot read {shown}: {error}")))?;
    let formatted = match pretty::format(&text) {
        Ok(formatted) => formatted,
        Err(list) => {
            let path = file.to_owned();
            diagnostics::report(&Problems { path, source: text, list }, Terminal::stderr());
            return Ok(Exit::Invalid);
        }
    };
    match (is_check, formatted == text) {
        (true, true) => {}
        (true, false) => {
            terminal::print(&format!("{shown} is not formatted"));
            return Ok(Exit::Failed);
        }
        (false, _) if is_stdin => Output::lock().bytes(formatted.as_bytes()),
        (false, true) => {}
        (false, false) => {
            replace(file, &formatted)
                .map_err(|error| Failure::usage(format!("cannot write {shown}: {error}")))?;
            terminal::print(&format!("{shown} is formatted"));
        }
    }
    Ok(Exit::Success)
}

/// Puts a new text in place of a file as a whole, with the permissions that it has. Of a link, what it leads
/// to is replaced.
fn replace(file: &Path, text: &str) -> std::io::Result<()> {
    let file = file.canonicalize()?;
    let dir = file.parent().unwrap_or(Path::new("/"));
    let mut new = tempfile::NamedTempFile::new_in(dir)?;
    new.write_all(text.as_bytes())?;
    new.as_file().set_permissions(fs::metadata(&file)?.permissions())?;
    new.persist(&file)?;
    Ok(())
}
