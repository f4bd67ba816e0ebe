//! The files and directories that an attempt declares: a directory of its own to write them into before
//! it starts, moved into place or sent to their URLs when it has succeeded, removed when it has not.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use dagrun_core::layout;
use dagrun_core::output::{Kind, Stamp};
use dagrun_core::recipe::OutputFile;
use dagrun_core::status::FailureKind;
use dagrun_core::url;
use dagrun_disk::unfinished::{self, Unfinished};
use dagrun_disk::{kind_of, stamp_of, whole_stamp_of};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use crate::attempt::Fault;
use crate::core::tenure::Term;
use crate::data::{self, DataErrorKind, Patience};
use crate::lease::Lease;
use crate::space;

/// Names of side files that a note lists at most.
const LISTED: usize = 20;

/// The records of the attempts under way, by where they are.
#[derive(Debug)]
pub(crate) struct Records {
    mark: String,
    of: Mutex<HashMap<PathBuf, Arc<Unfinished>>>,
    /// Whether the worker may publish.
    pub(crate) lease: Arc<Lease>,
}

impl Records {
    pub(crate) fn new(mark: &str) -> Records {
        Records { mark: mark.to_owned(), of: Mutex::default(), lease: Arc::default() }
    }

    /// The record for a run. The first time in a state directory, what killed workers left there is
    /// removed.
    pub(crate) fn of_run(&self, run_dir: &Path) -> Option<Arc<Unfinished>> {
        let dir = layout::state_dir(run_dir).map(layout::unfinished)?;
        let mut of = self.of.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = of.get(&dir) {
            return Some(known.clone());
        }
        unfinished::clean(&dir);
        let record = Arc::new(Unfinished::new(&dir, &self.mark));
        of.insert(dir, record.clone());
        Some(record)
    }
}

/// The outputs of one attempt; dropping it removes what is not in its place by then.
#[derive(Debug)]
pub(crate) struct Outputs {
    files: Vec<OutputFile>,
    /// What stood at each target when the attempt began.
    before: Vec<Option<Seen>>,
    record: Option<Arc<Unfinished>>,
    lease: Arc<Lease>,
    /// The term of the lease in which the attempt began.
    term: Term,
}

/// Sees to it that earlier attempts of an instance, which may still run elsewhere, place nothing any
/// more: the directories that they write into are moved away, so that a move out of them fails. `own`
/// is how the names of this attempt's directories begin, `others` how theirs do.
///
/// # Errors
/// When one cannot be moved away.
pub(crate) fn fence(files: &[OutputFile], own: &str, others: &[String]) -> Result<(), Fault> {
    for file in files {
        let Some(dir) = file.temporary.parent() else { continue };
        let rest = dir.file_name().and_then(|name| name.to_str()?.strip_prefix(own));
        let Some(rest) = rest else { continue };
        for other in others {
            let theirs = dir.with_file_name(format!("{other}{rest}"));
            let void = dir.with_file_name(format!("{other}{rest}-void"));
            match fs::rename(&theirs, &void) {
                // What remains is removed as far as that can be: it is of no use to anybody.
                Ok(()) => drop(fs::remove_dir_all(&void)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    let reason = format!("an earlier attempt cannot be fenced off: {error}");
                    return Err(Fault::system(&error, reason));
                }
            }
        }
    }
    Ok(())
}

/// Why outputs did not get to their places.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unpublished {
    /// The attempt had to end meanwhile.
    Stopped,
    /// The attempt's time was over meanwhile.
    TimedOut,
    /// There is no space where one belongs.
    NoSpace(String),
    /// For this reason.
    Failed(String),
}

/// Shows whether what stands at a path has been written to since.
type Seen = (u64, u64, i64, i64, i64, i64);

fn seen(path: &Path) -> Option<Seen> {
    let found = path.symlink_metadata().ok()?;
    let changed = (found.mtime(), found.mtime_nsec(), found.ctime(), found.ctime_nsec());
    Some((found.ino(), found.len(), changed.0, changed.1, changed.2, changed.3))
}

impl Outputs {
    /// Makes the directories that the attempt writes into.
    ///
    /// # Errors
    /// When one cannot be made, or something stands at a target that is not to be replaced.
    pub(crate) fn prepare(
        files: &[OutputFile],
        run_dir: &Path,
        records: &Records,
    ) -> Result<Outputs, Fault> {
        let lease = Arc::clone(&records.lease);
        let term = lease.term();
        if files.is_empty() {
            return Ok(Outputs {
                files: Vec::new(),
                before: Vec::new(),
                record: None,
                lease,
                term,
            });
        }
        let outputs = Outputs {
            files: files.to_vec(),
            before: files.iter().map(|file| seen(&file.target)).collect(),
            record: records.of_run(run_dir),
            lease,
            term,
        };
        for file in files.iter().filter(|file| is_local(file)) {
            standing(file).map_err(|reason| Fault::failed(FailureKind::MissingOutput, reason))?;
        }
        for (dir, file) in outputs.dirs() {
            if let Some(record) = &outputs.record {
                record.begin(dir);
            }
            fs::create_dir_all(dir).map_err(|error| {
                let reason = format!("cannot create the directory of {}: {error}", shown(file));
                Fault::system(&error, reason)
            })?;
        }
        Ok(outputs)
    }

    /// The directories of the attempt's own, each once, with an output that is written there.
    fn dirs(&self) -> Vec<(&Path, &OutputFile)> {
        let mut dirs: Vec<(&Path, &OutputFile)> = Vec::new();
        for file in &self.files {
            if let Some(dir) = file.temporary.parent()
                && dirs.iter().all(|(known, _)| *known != dir)
            {
                dirs.push((dir, file));
            }
        }
        dirs
    }

    /// Brings every output to its place; when one cannot be, all is as it was before. What goes to a
    /// URL goes first, as that is more likely to fail. Returns the names of what else lies beside the
    /// outputs, and will be removed with the attempt's directory.
    pub(crate) fn publish(&self, patience: Patience<'_>) -> Result<Vec<OsString>, Unpublished> {
        for (file, before) in self.files.iter().zip(&self.before) {
            let problem = match is_local(file) {
                true => self.fits(file, *before),
                false => self.can_be_sent(file),
            };
            problem.map_err(Unpublished::Failed)?;
        }
        let side_files = self.side_files();
        let (moved, sent): (Vec<_>, Vec<_>) = self.files.iter().partition(|file| is_local(file));
        let mut placed: Vec<(&OutputFile, Placed)> = Vec::new();
        for file in [sent, moved].concat() {
            match self.place_in_time(file, patience) {
                Ok(how) => placed.push((file, how)),
                Err(error) => {
                    placed.into_iter().rev().for_each(|(file, how)| take_back(file, how));
                    return Err(error);
                }
            }
        }
        Ok(side_files)
    }

    /// Brings an output to its place, on a full disk as soon as there is space.
    fn place_in_time(
        &self,
        file: &OutputFile,
        patience: Patience<'_>,
    ) -> Result<Placed, Unpublished> {
        let may = || !patience.is_stopped() && !patience.is_over();
        let lacks_space = |error: &Unpublished| matches!(error, Unpublished::NoSpace(_));
        let place = || self.may_publish(patience).and_then(|()| place(file, patience));
        space::insist(&may, lacks_space, place).map_err(|error| match error {
            Unpublished::NoSpace(_) if patience.is_stopped() => Unpublished::Stopped,
            Unpublished::NoSpace(_) => Unpublished::TimedOut,
            error => error,
        })
    }

    /// Waits until the attempt is certainly still this worker's.
    pub(crate) fn may_publish(&self, patience: Patience<'_>) -> Result<(), Unpublished> {
        match self.lease.hold(self.term, &|| patience.is_stopped()) {
            true => Ok(()),
            false => Err(Unpublished::Stopped),
        }
    }

    /// Whether a product may take its place.
    fn fits(&self, file: &OutputFile, before: Option<Seen>) -> Result<(), String> {
        let (name, shown) = (&file.name, shown(file));
        let product = kind_of(&file.temporary)
            .map_err(|error| format!("output {name} cannot be seen: {error}: {shown}"))?;
        if product == Kind::Absent {
            let now = seen(&file.target);
            return Err(match now.is_some() && now != before {
                false => format!("output {name} is missing: {shown}"),
                true => format!(
                    "output {name} is missing: the task wrote {shown} itself. Let it write to \
                     {{out.{name}}} (in `shell` to \"$out_{name}\"), which becomes {shown} when it \
                     has succeeded"
                ),
            });
        }
        let standing = standing(file)?;
        match standing.mismatch(&product, file.directory) {
            Some(why) => Err(format!("output {name} {why}: {shown}")),
            None => Ok(()),
        }
    }

    fn can_be_sent(&self, file: &OutputFile) -> Result<(), String> {
        let (name, shown) = (&file.name, shown(file));
        match fs::metadata(&file.temporary) {
            Ok(found) if found.is_file() => Ok(()),
            Ok(_) => Err(format!("output {name} is no regular file: {shown}")),
            Err(_) => Err(format!("output {name} is missing: {shown}")),
        }
    }

    /// What lies in the attempt's directories and is no output.
    fn side_files(&self) -> Vec<OsString> {
        let mut names = Vec::new();
        for (dir, _) in self.dirs() {
            let Ok(entries) = fs::read_dir(dir) else { continue };
            let found = entries.flatten().map(|entry| entry.path());
            let is_output = |path: &PathBuf| self.files.iter().any(|file| file.temporary == *path);
            let side = found.filter(|path| !is_output(path));
            names.extend(side.filter_map(|path| path.file_name().map(OsString::from)));
        }
        names.sort_unstable();
        names
    }

    /// What a report says of them: their paths, where these cannot be computed elsewhere.
    pub(crate) fn reported(&self, report: bool) -> Vec<Vec<u8>> {
        let path = |file: &OutputFile| file.path.as_os_str().as_bytes().to_vec();
        if report { self.files.iter().map(path).collect() } else { Vec::new() }
    }

    /// What they look like in their places; empty when all are at URLs.
    pub(crate) fn stamps(&self) -> Vec<Option<Stamp>> {
        let stamp = |file: &OutputFile| match file.temp {
            _ if !is_local(file) => None,
            true => whole_stamp_of(&file.target),
            false => stamp_of(&file.target),
        };
        let stamps: Vec<_> = self.files.iter().map(stamp).collect();
        if stamps.iter().all(Option::is_none) { Vec::new() } else { stamps }
    }
}

impl Drop for Outputs {
    fn drop(&mut self) {
        for (dir, _) in self.dirs() {
            match &self.record {
                Some(record) => record.end(dir),
                // Best effort: it must not hide why the attempt ended.
                None => drop(fs::remove_dir_all(dir)),
            }
        }
    }
}

/// The note on side files, for the log.
pub(crate) fn note(side_files: &[OsString]) -> String {
    let mut names: Vec<_> = side_files
        .iter()
        .take(LISTED)
        .map(|name| name.display())
        .map(|name| name.to_string())
        .collect();
    if side_files.len() > LISTED {
        names.push(format!("{} more", side_files.len() - LISTED));
    }
    format!("… removed, as no `out` declares it: {} …\n", names.join(", "))
}

fn is_local(file: &OutputFile) -> bool {
    url::remote(&file.target).is_none()
}

/// What stands at the target, if that may be replaced.
fn standing(file: &OutputFile) -> Result<Kind, String> {
    let (name, shown) = (&file.name, shown(file));
    let standing = kind_of(&file.target)
        .map_err(|error| format!("output {name} cannot be placed: {shown}: {error}"))?;
    match standing.refusal(file.directory) {
        Some(why) => Err(format!("output {name}: {shown} {why}")),
        None => Ok(standing),
    }
}

/// How an output got to its place, and so how it is taken back.
enum Placed {
    /// Nothing was there.
    New,
    /// By an exchange: what was there is in the attempt's directory, under the same name.
    Exchanged,
    /// What was there waits here.
    Replaced(PathBuf),
    /// Over a file that cannot be brought back.
    Overwritten,
    Sent,
}

fn place(file: &OutputFile, patience: Patience<'_>) -> Result<Placed, Unpublished> {
    let failed = |how: &str, reason: &dyn std::fmt::Display| {
        let (name, shown) = (&file.name, shown(file));
        Unpublished::Failed(format!("output {name} cannot be {how} to {shown}: {reason}"))
    };
    let Some(url) = url::remote(&file.target) else {
        // Once more: what stands there may have changed since the products were looked at.
        let standing = standing(file).map_err(Unpublished::Failed)?;
        return move_into_place(file, &standing).map_err(|error| {
            match (space::is_lacking(&error), failed("moved", &error)) {
                (true, Unpublished::Failed(reason)) => Unpublished::NoSpace(reason),
                (_, failed) => failed,
            }
        });
    };
    let content = File::open(&file.temporary).map_err(|error| failed("sent", &error))?;
    data::upload(content, url, patience).map_err(|error| match error.kind() {
        DataErrorKind::Stopped => Unpublished::Stopped,
        DataErrorKind::TimedOut => Unpublished::TimedOut,
        _ => failed("sent", &error.reason()),
    })?;
    Ok(Placed::Sent)
}

fn move_into_place(file: &OutputFile, standing: &Kind) -> io::Result<Placed> {
    if *standing == Kind::Absent {
        return fs::rename(&file.temporary, &file.target).map(|()| Placed::New);
    }
    match renameat_with(CWD, &file.temporary, CWD, &file.target, RenameFlags::EXCHANGE) {
        Ok(()) => Ok(Placed::Exchanged),
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => in_two_steps(file, standing),
        Err(error) => Err(error.into()),
    }
}

/// For file systems that cannot exchange: what stands there waits in the attempt's directory, where the
/// next start finds it should this process die in between.
fn in_two_steps(file: &OutputFile, standing: &Kind) -> io::Result<Placed> {
    let (Some(dir), Some(name)) = (file.temporary.parent(), file.target.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let waiting = unfinished::replaced(dir, name);
    if let Some(parent) = waiting.parent() {
        fs::create_dir_all(parent)?;
    }
    if *standing == Kind::File {
        // A file is replaced at once; a second name keeps what it held.
        let kept = fs::hard_link(&file.target, &waiting);
        fs::rename(&file.temporary, &file.target)?;
        return Ok(kept.map_or(Placed::Overwritten, |()| Placed::Replaced(waiting)));
    }
    fs::rename(&file.target, &waiting)?;
    if let Err(error) = fs::rename(&file.temporary, &file.target) {
        fs::rename(&waiting, &file.target)?;
        return Err(error);
    }
    Ok(Placed::Replaced(waiting))
}

/// Undoes [`place`], as far as it can be.
fn take_back(file: &OutputFile, how: Placed) {
    let (temporary, target) = (&file.temporary, &file.target);
    // Best effort: the failure that is reported is the one that led here.
    let _ = match how {
        Placed::Sent => {
            if let Some(url) = url::remote(target) {
                drop(data::remove(url));
            }
            Ok(())
        }
        Placed::New => fs::rename(target, temporary),
        Placed::Exchanged => {
            renameat_with(CWD, temporary, CWD, target, RenameFlags::EXCHANGE).map_err(Into::into)
        }
        Placed::Replaced(waiting) => {
            fs::rename(target, temporary).and_then(|()| fs::rename(waiting, target))
        }
        Placed::Overwritten => fs::rename(target, temporary),
    };
}

/// Where an output belongs, for people.
fn shown(file: &OutputFile) -> String {
    url::redacted(&file.path.to_string_lossy()).into_owned()
}

#[cfg(test)]
mod tests;
