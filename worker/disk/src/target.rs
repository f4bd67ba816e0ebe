//! What stands at the path of an output.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use dagrun_core::output::{Kind, Stamp};

/// What an output looks like, behind a link if there is one; `None` where none is.
#[must_use]
pub fn stamp_of(path: &Path) -> Option<Stamp> {
    let found = path.metadata().ok()?;
    if found.is_dir() {
        return Some(Stamp::Directory);
    }
    let modified = modified_at(&found);
    found.is_file().then_some(Stamp::File { bytes: found.len(), modified })
}

/// The same, with all that is in a directory; `None` also when some of that cannot be seen.
#[must_use]
pub fn whole_stamp_of(path: &Path) -> Option<Stamp> {
    let root = path.symlink_metadata().ok()?;
    if !root.is_dir() {
        return if root.is_file() { stamp_of(path) } else { None };
    }
    let (mut entries, mut bytes, mut modified) = (0u64, 0u64, modified_at(&root));
    let mut open = vec![path.to_owned()];
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(dir).ok()? {
            let entry = entry.ok()?;
            let found = entry.metadata().ok()?;
            entries += 1;
            modified = modified.max(modified_at(&found));
            match found.is_dir() {
                true => open.push(entry.path()),
                false => bytes = bytes.saturating_add(found.len()),
            }
        }
    }
    Some(Stamp::Tree { entries, bytes, modified })
}

fn modified_at(found: &Metadata) -> i64 {
    found.mtime().saturating_mul(1_000_000_000).saturating_add(found.mtime_nsec())
}

/// What stands at a path; a link in its last component is not followed.
///
/// # Errors
/// When that cannot be seen. A path below something that is no directory is absent.
pub fn kind_of(path: &Path) -> io::Result<Kind> {
    let found = match path.symlink_metadata() {
        Ok(found) => found.file_type(),
        Err(error)
            if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
        {
            return Ok(Kind::Absent);
        }
        Err(error) => return Err(error),
    };
    Ok(if found.is_file() {
        Kind::File
    } else if found.is_dir() {
        Kind::Directory
    } else if found.is_symlink() {
        Kind::Link(path.read_link()?)
    } else if found.is_fifo() {
        Kind::Fifo
    } else if found.is_socket() {
        Kind::Socket
    } else {
        Kind::Device
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_another_when_anything_in_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("d");
        std::fs::create_dir_all(path.join("e")).unwrap();
        std::fs::write(path.join("e/f"), "abc").unwrap();
        std::os::unix::fs::symlink("/dev/null", path.join("l")).unwrap();
        let before = whole_stamp_of(&path).unwrap();
        assert!(matches!(before, Stamp::Tree { entries: 3, .. }), "{before:?}");
        assert_eq!(whole_stamp_of(&path), Some(before));
        assert_eq!(whole_stamp_of(&path.join("l")), None);
        assert_eq!(whole_stamp_of(&path.join("e/f")), stamp_of(&path.join("e/f")));
        // Both the size and the number, as the time may be that of the same instant.
        std::fs::write(path.join("e/f"), "abcd").unwrap();
        let larger = whole_stamp_of(&path).unwrap();
        assert!(!before.matches(&larger));
        std::fs::write(path.join("e/g"), "").unwrap();
        assert!(!larger.matches(&whole_stamp_of(&path).unwrap()));
        assert_eq!(whole_stamp_of(&dir.path().join("none")), None);
    }
}
