//! Values on disk: extents of one file that has no name.
//!
//! The file is removed from its directory as soon as it is open, so that the system frees it
//! however the worker ends, even when it is killed. The space of an extent is freed when the extent
//! is dropped, where the file system supports that, and in any case with the last extent.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dagrun_disk::private;
use rustix::fs::FallocateFlags;

/// Extents begin at multiples of this, so that the space of one can be freed without its
/// neighbours.
const BLOCK: u64 = 4096;

/// Disk space for values that do not fit into memory.
#[derive(Debug)]
pub(crate) struct Spill {
    dir: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// `None` while there are no extents.
    file: Option<Arc<File>>,
    /// Where the next extent begins.
    end: u64,
    extents: usize,
    bytes: u64,
}

/// A part of the file, which is freed when this is dropped.
#[derive(Debug)]
pub(crate) struct Extent {
    spill: Arc<Spill>,
    file: Arc<File>,
    offset: u64,
    length: u64,
}

impl Spill {
    /// Files will be made in `dir`, which is made when the first is needed.
    pub(crate) fn new(dir: PathBuf) -> Spill {
        Spill { dir, state: Mutex::default() }
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Bytes in extents.
    pub(crate) fn bytes(&self) -> u64 {
        self.lock().bytes
    }

    /// Reserves an extent of this many bytes. Nothing is written yet.
    pub(crate) fn extent(self: &Arc<Spill>, length: u64) -> io::Result<Extent> {
        let mut state = self.lock();
        let file = match &state.file {
            Some(file) => Arc::clone(file),
            None => {
                let file = Arc::new(nameless(&self.dir)?);
                state.file = Some(Arc::clone(&file));
                state.end = 0;
                file
            }
        };
        let offset = state.end;
        let end = offset.checked_add(length).and_then(|end| end.checked_next_multiple_of(BLOCK));
        state.end = end.ok_or(io::ErrorKind::FileTooLarge)?;
        state.extents += 1;
        state.bytes += length;
        drop(state);
        Ok(Extent { spill: Arc::clone(self), file, offset, length })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A file for reading and writing that no directory lists.
fn nameless(dir: &Path) -> io::Result<File> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    private::create_dir_all(dir)?;
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let path = dir.join(format!(".dagrun-values-{}-{number}", std::process::id()));
    // Left behind by a process that was killed between the two steps and had the same process id.
    let _ = std::fs::remove_file(&path);
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).create_new(true).mode(0o600).open(&path)?;
    std::fs::remove_file(&path)?;
    Ok(file)
}

impl Extent {
    /// Writes at an offset within the extent.
    pub(crate) fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        let end = at.checked_add(bytes.len() as u64);
        if end.is_none_or(|end| end > self.length) {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.file.write_all_at(bytes, self.offset + at)
    }

    /// Fills the buffer from an offset within the extent.
    pub(crate) fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<()> {
        let end = at.checked_add(buffer.len() as u64);
        if end.is_none_or(|end| end > self.length) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.file.read_exact_at(buffer, self.offset + at)
    }
}

impl Drop for Extent {
    fn drop(&mut self) {
        let mut state = self.spill.lock();
        state.extents -= 1;
        state.bytes -= self.length;
        if state.extents == 0 {
            state.file = None; // Closing the last descriptor frees all of it.
            return;
        }
        drop(state);
        let length = self.length.next_multiple_of(BLOCK);
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        if length > 0 {
            // Where the file system cannot do this, the space is freed with the last extent.
            let _ = rustix::fs::fallocate(&self.file, flags, self.offset, length);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    fn occupied(spill: &Spill) -> u64 {
        let file = spill.lock().file.clone();
        file.map_or(0, |file| file.metadata().unwrap().blocks() * 512)
    }

    #[test]
    fn extents_keep_apart_and_give_back_what_they_occupied() {
        let dir = tempfile::tempdir().unwrap();
        let spill = Arc::new(Spill::new(dir.path().join("made/when/needed")));
        assert!(!spill.dir().exists());
        let extents: Vec<Extent> = (1..=4u8)
            .map(|byte| {
                let extent = spill.extent(100_000).unwrap();
                extent.write_at(&vec![byte; 100_000], 0).unwrap();
                extent
            })
            .collect();
        assert_eq!(std::fs::read_dir(spill.dir()).unwrap().count(), 0, "no name is left");
        assert_eq!(spill.bytes(), 400_000);
        for (byte, extent) in (1..=4u8).zip(&extents) {
            let mut back = vec![0; 50_000];
            extent.read_at(&mut back, 50_000).unwrap();
            assert!(back.iter().all(|found| *found == byte));
        }
        let full = occupied(&spill);
        let mut extents = extents.into_iter();
        extents.next();
        assert!(occupied(&spill) <= full - 90_000, "a hole where the first was");
        drop(extents);
        assert_eq!((spill.bytes(), occupied(&spill)), (0, 0));
        assert!(spill.lock().file.is_none());
    }

    #[test]
    fn nothing_is_written_or_read_beyond_an_extent() {
        let dir = tempfile::tempdir().unwrap();
        let spill = Arc::new(Spill::new(dir.path().into()));
        let extent = spill.extent(10).unwrap();
        assert!(extent.write_at(&[0; 11], 0).is_err() && extent.write_at(&[0], 10).is_err());
        assert!(extent.write_at(&[0], u64::MAX).is_err());
        assert!(extent.read_at(&mut [0; 2], 9).is_err());
        assert!(spill.extent(u64::MAX).is_err());
    }
}
