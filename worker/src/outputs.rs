//! The files that an attempt declares: room for them before it starts, moved into place when it has
//! succeeded, removed when it has not.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use dagrun_core::recipe::OutputFile;

/// Makes the directories of the outputs and removes what an earlier attempt may have left.
pub(crate) fn prepare(outputs: &[OutputFile]) -> Result<(), String> {
    for output in outputs {
        for dir in [output.target.parent(), output.temporary.parent()].into_iter().flatten() {
            fs::create_dir_all(dir).map_err(|error| {
                format!("cannot create the directory of {}: {error}", output.path.display())
            })?;
        }
    }
    discard(outputs);
    Ok(())
}

/// Moves every output into place; when one cannot be, none stays.
pub(crate) fn publish(outputs: &[OutputFile]) -> Result<(), String> {
    for output in outputs {
        if fs::symlink_metadata(&output.temporary).is_err() {
            return Err(format!("output {} is missing: {}", output.name, output.path.display()));
        }
    }
    for (done, output) in outputs.iter().enumerate() {
        if let Err(error) = fs::rename(&output.temporary, &output.target) {
            for moved in &outputs[..done] {
                remove(&moved.target);
            }
            return Err(format!(
                "output {} cannot be moved to {}: {error}",
                output.name,
                output.path.display()
            ));
        }
    }
    Ok(())
}

/// What a report says of them: their paths, where these cannot be computed elsewhere.
pub(crate) fn reported(outputs: &[OutputFile], report: bool) -> Vec<Vec<u8>> {
    let path = |output: &OutputFile| output.path.as_os_str().as_bytes().to_vec();
    if report { outputs.iter().map(path).collect() } else { Vec::new() }
}

/// Removes whatever was written so far.
pub(crate) fn discard(outputs: &[OutputFile]) {
    for output in outputs {
        remove(&output.temporary);
    }
}

fn remove(path: &Path) {
    // Best effort: a file that cannot be removed must not hide why the attempt ended.
    if let Err(error) = fs::remove_file(path)
        && error.kind() != io::ErrorKind::NotFound
    {
        let _ = fs::remove_dir_all(path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(dir: &Path, name: &str) -> OutputFile {
        OutputFile {
            name: name.into(),
            path: Path::new("results").join(name),
            target: dir.join("results").join(name),
            temporary: dir.join("results").join(format!(".{name}.tmp")),
        }
    }

    #[test]
    fn all_are_moved_or_none() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (output(dir.path(), "a"), output(dir.path(), "b"));
        let both = [a.clone(), b.clone()];
        prepare(&both).unwrap();
        fs::write(&a.temporary, "a").unwrap();
        assert_eq!(publish(&both).unwrap_err(), "output b is missing: results/b");
        assert!(!a.target.exists());
        fs::write(&b.temporary, "b").unwrap();
        fs::create_dir_all(b.target.join("in the way")).unwrap();
        assert!(publish(&both).unwrap_err().starts_with("output b cannot be moved to results/b"));
        discard(&both);
        assert!(!a.target.exists() && !a.temporary.exists() && !b.temporary.exists());
    }

    #[test]
    fn leftovers_of_an_earlier_attempt_do_not_count() {
        let dir = tempfile::tempdir().unwrap();
        let a = [output(dir.path(), "a")];
        prepare(&a).unwrap();
        fs::write(&a[0].temporary, "old").unwrap();
        prepare(&a).unwrap();
        assert!(publish(&a).is_err());
    }
}
