//! What is given at a path, what an attempt made, and what is there then.

use std::os::unix::fs::{FileTypeExt, symlink};
use std::os::unix::net::UnixListener;
use std::process::Command;

use super::*;

struct Rig {
    dir: tempfile::TempDir,
    records: Records,
}

impl Rig {
    fn new() -> Rig {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("results")).unwrap();
        Rig { dir, records: Records::new("m") }
    }

    fn output(&self, path: &str) -> OutputFile {
        let dir = self.dir.path().join("results");
        let name = path.trim_end_matches('/');
        OutputFile {
            name: name.into(),
            path: Path::new("results").join(path),
            target: dir.join(name),
            temporary: dir.join(".dagrun-m-1").join(name),
            directory: path.ends_with('/'),
            temp: false,
        }
    }

    fn prepare(&self, files: &[OutputFile]) -> Result<Outputs, String> {
        let run_dir = self.dir.path().join("state/runs/1");
        Outputs::prepare(files, &run_dir, &self.records).map_err(|Fault(_, reason)| reason)
    }

    /// The names in the directory of the outputs.
    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.dir.path().join("results")).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

fn publish(outputs: &Outputs) -> Result<Vec<OsString>, String> {
    outputs.publish(Patience::default()).map_err(|error| match error {
        Unpublished::Failed(reason) => reason,
        other => format!("{other:?}"),
    })
}

const KINDS: [&str; 9] = [
    "absent",
    "file",
    "directory",
    "link to file",
    "link to directory",
    "dangling link",
    "fifo",
    "socket",
    "device",
];

/// Puts something of this kind at a path; false when the machine does not allow it.
fn make(kind: &str, path: &Path) -> bool {
    let beside = |name: &str| path.parent().unwrap().join(name);
    match kind {
        "absent" => {}
        "file" => fs::write(path, kind).unwrap(),
        "directory" => {
            fs::create_dir(path).unwrap();
            fs::write(path.join("f"), kind).unwrap();
        }
        "link to file" => {
            fs::write(beside("pointed-at"), "precious").unwrap();
            symlink(beside("pointed-at"), path).unwrap();
        }
        "link to directory" => {
            fs::create_dir_all(beside("pointed-in")).unwrap();
            symlink(beside("pointed-in"), path).unwrap();
        }
        "dangling link" => symlink("nowhere", path).unwrap(),
        "fifo" => assert!(Command::new("mkfifo").arg(path).status().unwrap().success()),
        "socket" => drop(UnixListener::bind(path).unwrap()),
        "device" => {
            let made = Command::new("mknod").arg(path).args(["c", "1", "3"]).output();
            return made.is_ok_and(|output| output.status.success());
        }
        other => panic!("{other}"),
    }
    true
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).or_else(|_| fs::read_to_string(path.join("f"))).unwrap_or_default()
}

#[test]
fn given_a_kind_at_the_path_then() {
    for given in KINDS {
        for made in KINDS {
            for path in ["o", "o/"] {
                case(given, made, path);
            }
        }
    }
}

#[expect(clippy::print_stderr, reason = "what is skipped is said")]
fn case(given: &str, made: &str, path: &str) {
    let what = format!("given {given}, made {made}, at {path}");
    let rig = Rig::new();
    let output = rig.output(path);
    if !make(given, &output.target) {
        eprintln!("SKIPPED, as only root makes devices: {what}");
        return;
    }
    let before = kind_of(&output.target).unwrap();
    let allowed = match given {
        "absent" | "directory" => true,
        "file" => path == "o",
        _ => false,
    };
    let files = [output.clone()];
    let outputs = match rig.prepare(&files) {
        Ok(outputs) => outputs,
        Err(reason) => {
            assert!(!allowed, "{what}: {reason}");
            assert!(reason.contains(&format!("results/{path} is ")), "{what}: {reason}");
            let target = match given {
                "link to file" => "pointed-at",
                "link to directory" => "pointed-in",
                "dangling link" => "nowhere",
                _ => "",
            };
            assert!(reason.contains(target), "{what}: {reason}");
            assert_eq!(kind_of(&output.target).unwrap(), before, "{what}");
            assert!(rig.names().iter().all(|name| !name.starts_with(".dagrun")), "{what}");
            return;
        }
    };
    assert!(allowed, "{what}");
    if !make(made, &output.temporary) {
        return;
    }
    let fits = match made {
        "file" => path == "o" && given != "directory",
        "directory" => given != "file",
        _ => false,
    };
    let published = publish(&outputs);
    drop(outputs);
    assert_eq!(published.is_ok(), fits, "{what}: {published:?}");
    if fits {
        assert_eq!(read(&output.target), made, "{what}");
    } else {
        let reason = published.unwrap_err();
        assert!(reason.starts_with("output o ") && reason.contains("results/o"), "{reason}");
        assert_eq!(kind_of(&output.target).unwrap(), before, "{what}");
        assert!(before == Kind::Absent || read(&output.target) == given, "{what}");
        let link_or_pipe = ["fifo", "socket", "device"].contains(&made) || made.contains("link");
        let of = if path == "o" { "is no regular file" } else { "is no directory" };
        assert!(!link_or_pipe || reason.contains(of), "{what}: {reason}");
    }
    assert!(rig.names().iter().all(|name| !name.starts_with(".dagrun")), "{what}");
}

#[test]
fn a_target_that_changes_its_kind_meanwhile_is_left_alone() {
    let rig = Rig::new();
    let output = rig.output("o");
    let outputs = rig.prepare(std::slice::from_ref(&output)).unwrap();
    fs::write(&output.temporary, "new").unwrap();
    assert!(make("fifo", &output.target));
    let reason = publish(&outputs).unwrap_err();
    assert!(reason.contains("results/o is a named pipe"), "{reason}");
    assert!(output.target.symlink_metadata().unwrap().file_type().is_fifo());
}

#[test]
fn all_are_placed_or_all_is_as_before() {
    let rig = Rig::new();
    let files = ["a", "b", "c/", "d"].map(|path| rig.output(path));
    fs::write(&files[0].target, "old").unwrap();
    assert!(make("directory", &files[2].target));
    let outputs = rig.prepare(&files).unwrap();
    fs::write(&files[0].temporary, "new").unwrap();
    assert_eq!(publish(&outputs).unwrap_err(), "output b is missing: results/b");
    // What is in its place already is taken back when another cannot be moved.
    fs::write(&files[1].temporary, "new").unwrap();
    fs::create_dir(&files[2].temporary).unwrap();
    fs::write(&files[3].temporary, "new").unwrap();
    for how in [move_into_place, in_two_steps] {
        for (file, standing) in files.iter().zip([Kind::File, Kind::Absent, Kind::Directory]) {
            let placed = match standing {
                Kind::Absent => move_into_place(file, &standing).unwrap(),
                _ => how(file, &standing).unwrap(),
            };
            take_back(file, placed);
        }
        assert_eq!(read(&files[0].target), "old");
        assert_eq!(read(&files[2].target), "directory");
        assert!(!files[1].target.exists());
        for file in &files {
            assert!(file.temporary.exists());
            let _ = fs::remove_dir_all(unfinished::replaced(
                file.temporary.parent().unwrap(),
                std::ffi::OsStr::new(""),
            ));
        }
    }
    assert_eq!(publish(&outputs), Ok(vec![]));
    drop(outputs);
    assert_eq!(rig.names(), ["a", "b", "c", "d"]);
    assert_eq!((read(&files[0].target), read(&files[2].target)), ("new".into(), "".into()));
}

#[test]
fn a_task_that_writes_the_path_itself_is_shown_how_to_write_it() {
    for (old, new, hint) in [(None, "x", true), (Some("x"), "y", true), (Some("x"), "", false)] {
        let rig = Rig::new();
        let output = rig.output("o");
        if let Some(old) = old {
            fs::write(&output.target, old).unwrap();
        }
        let outputs = rig.prepare(std::slice::from_ref(&output)).unwrap();
        if !new.is_empty() {
            fs::write(&output.target, format!("{new} longer")).unwrap();
        }
        let reason = publish(&outputs).unwrap_err();
        assert!(reason.starts_with("output o is missing: "), "{reason}");
        assert_eq!(reason.contains("{out.o}") && reason.contains("\"$out_o\""), hint, "{reason}");
    }
}

#[test]
fn side_files_are_listed_and_removed() {
    let rig = Rig::new();
    let files = ["a.bam", "b/"].map(|path| rig.output(path));
    let outputs = rig.prepare(&files).unwrap();
    fs::write(&files[0].temporary, "a").unwrap();
    fs::create_dir(&files[1].temporary).unwrap();
    fs::write(files[0].temporary.with_extension("bam.bai"), "index").unwrap();
    let side_files = publish(&outputs).unwrap();
    assert_eq!(side_files, ["a.bam.bai"]);
    assert!(note(&side_files).contains("a.bam.bai"));
    drop(outputs);
    assert_eq!(rig.names(), ["a.bam", "b"]);
}

#[test]
fn parents_are_made_and_paths_are_not() {
    let rig = Rig::new();
    let mut output = rig.output("o");
    output.target = rig.dir.path().join("results/x/y/o");
    output.temporary = rig.dir.path().join("results/x/y/.dagrun-m-1/o");
    let outputs = rig.prepare(std::slice::from_ref(&output)).unwrap();
    assert!(output.temporary.parent().unwrap().is_dir() && !output.temporary.exists());
    drop(outputs);
    assert_eq!(fs::read_dir(rig.dir.path().join("results/x/y")).unwrap().count(), 0);
}

/// The same output of an attempt of another worker.
fn elsewhere(file: &OutputFile) -> OutputFile {
    let name = file.temporary.file_name().unwrap();
    let dir = file.target.with_file_name(".dagrun-n-1");
    OutputFile { temporary: dir.join(name), ..file.clone() }
}

#[test]
fn what_an_attempt_writes_that_was_fenced_off_gets_nowhere() {
    // Two outputs: the late attempt may have placed the first of them before.
    for placed in [0, 1] {
        let rig = Rig::new();
        let files = [rig.output("a"), rig.output("b")];
        let late_files = files.each_ref().map(elsewhere);
        let late = rig.prepare(&late_files).unwrap();
        late_files.iter().for_each(|file| fs::write(&file.temporary, "late").unwrap());
        for file in &late_files[..placed] {
            fs::rename(&file.temporary, &file.target).unwrap();
        }
        fence(&files, ".dagrun-m-1", &[".dagrun-n-1".into(), ".dagrun-n-0".into()]).unwrap();
        let current = rig.prepare(&files).unwrap();
        files.iter().for_each(|file| fs::write(&file.temporary, "current").unwrap());
        publish(&current).unwrap();
        // It is past all its tests, and only the moves are left.
        for file in &late_files[placed..] {
            let moved = place(file, Patience::default());
            assert!(matches!(moved, Err(Unpublished::Failed(_))), "a move out of nowhere");
        }
        late_files[..placed].iter().for_each(|file| take_back(file, Placed::New));
        for file in &files {
            assert_eq!(fs::read_to_string(&file.target).unwrap(), "current");
        }
        drop((late, current));
        assert_eq!(rig.names(), ["a", "b"]);
    }
}

#[test]
fn without_a_lease_nothing_is_placed() {
    let rig = Rig::new();
    let file = rig.output("a");
    let outputs = rig.prepare(std::slice::from_ref(&file)).unwrap();
    fs::write(&file.temporary, "a").unwrap();
    rig.records.lease.void();
    let ended = outputs.publish(Patience::default());
    assert_eq!(ended, Err(Unpublished::Stopped));
    drop(outputs);
    assert_eq!(rig.names(), Vec::<String>::new());
}
