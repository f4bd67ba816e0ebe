//! The files that an attempt declares: room for them before it starts, moved into place or sent to
//! their URLs when it has succeeded, removed when it has not.

use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use dagrun_core::recipe::OutputFile;
use dagrun_core::url;

use crate::data::{self, DataErrorKind, Patience};

/// Makes the directories of the outputs and removes what an earlier attempt may have left.
pub(crate) fn prepare(outputs: &[OutputFile]) -> Result<(), String> {
    for output in outputs {
        let of_target = output.target.parent().filter(|_| url::remote(&output.target).is_none());
        for dir in [of_target, output.temporary.parent()].into_iter().flatten() {
            fs::create_dir_all(dir).map_err(|error| {
                format!("cannot create the directory of {}: {error}", shown(output))
            })?;
        }
    }
    discard(outputs);
    Ok(())
}

/// Why outputs did not get to their places.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unpublished {
    /// The attempt had to end meanwhile.
    Stopped,
    /// The attempt's time was over meanwhile.
    TimedOut,
    /// For this reason.
    Failed(String),
}

/// Brings every output to its place; when one cannot be, none stays. What goes to a URL goes first, as
/// that is more likely to fail.
pub(crate) fn publish(outputs: &[OutputFile], patience: Patience<'_>) -> Result<(), Unpublished> {
    for output in outputs {
        if fs::symlink_metadata(&output.temporary).is_err() {
            let reason = format!("output {} is missing: {}", output.name, shown(output));
            return Err(Unpublished::Failed(reason));
        }
    }
    let is_remote = |output: &&OutputFile| url::remote(&output.target).is_some();
    let (sent, moved): (Vec<_>, Vec<_>) = outputs.iter().partition(is_remote);
    let order = [sent, moved].concat();
    for (done, output) in order.iter().enumerate() {
        if let Err(error) = place(output, patience) {
            order[..done].iter().for_each(|output| take_back(output));
            return Err(error);
        }
    }
    Ok(())
}

fn place(output: &OutputFile, patience: Patience<'_>) -> Result<(), Unpublished> {
    let failed = |how: &str, reason: &dyn std::fmt::Display| {
        let (name, shown) = (&output.name, shown(output));
        Unpublished::Failed(format!("output {name} cannot be {how} to {shown}: {reason}"))
    };
    let Some(url) = url::remote(&output.target) else {
        let moved = fs::rename(&output.temporary, &output.target);
        return moved.map_err(|error| failed("moved", &error));
    };
    let file = File::open(&output.temporary).map_err(|error| failed("sent", &error))?;
    data::upload(file, url, patience).map_err(|error| match error.kind() {
        DataErrorKind::Stopped => Unpublished::Stopped,
        DataErrorKind::TimedOut => Unpublished::TimedOut,
        _ => failed("sent", &error.reason()),
    })?;
    // It is where it belongs; what is left here is in nobody's way.
    remove(&output.temporary);
    Ok(())
}

/// Removes an output that is in its place already.
fn take_back(output: &OutputFile) {
    match url::remote(&output.target) {
        // Best effort, as below.
        Some(url) => drop(data::remove(url)),
        None => remove(&output.target),
    }
}

/// Where an output belongs, for people.
fn shown(output: &OutputFile) -> String {
    url::redacted(&output.path.to_string_lossy()).into_owned()
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

    fn publish_now(outputs: &[OutputFile]) -> Result<(), String> {
        publish(outputs, Patience::default()).map_err(|error| match error {
            Unpublished::Failed(reason) => reason,
            other => format!("{other:?}"),
        })
    }

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
        assert_eq!(publish_now(&both).unwrap_err(), "output b is missing: results/b");
        assert!(!a.target.exists());
        fs::write(&b.temporary, "b").unwrap();
        fs::create_dir_all(b.target.join("in the way")).unwrap();
        assert!(
            publish_now(&both).unwrap_err().starts_with("output b cannot be moved to results/b")
        );
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
        assert!(publish_now(&a).is_err());
    }
}
