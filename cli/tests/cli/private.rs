//! What a run leaves is its owner's alone, whatever the umask.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::harness::Test;

/// Values, long values that are files, manifests, logs, scripts, outputs on their way.
const PIPELINE: &str = r##"
    [task.long]
    sweep = { x = [1, 2] }
    run = ["sh", "-c", 'head -c 200000 /dev/zero | tr "\\0" x']
    capture = "text"
    [task.all]
    gather = "long"
    shell = 'echo x > "$DAGRUN_CHECKPOINT_DIR/x"; cat "$long_manifest" > "$out_o"; exit 1'
    out.o = "{run.dir}/o"
    [task.script]
    script = "#!/bin/sh\necho said"
"##;

/// The paths below a directory that others than the owner may do anything with.
fn open_to_others(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            let about = path.symlink_metadata().unwrap();
            // What a task makes is as it makes it.
            let own = path.ends_with(".gitignore") || path.ends_with("all-0/x");
            if about.permissions().mode() & 0o077 != 0 && !own {
                found.push(format!("{} {:o}", path.display(), about.permissions().mode()));
            }
            if about.is_dir() {
                dirs.push(path);
            }
        }
    }
    found
}

#[test]
fn a_state_directory_is_its_owners_alone() {
    let test = Test::new(PIPELINE);
    let run = |words: &str| {
        let script = format!("umask 0; exec \"$0\" {words}");
        test.start_in_shell(&script).end()
    };
    run("submit pipeline.toml -q").exits(1);
    let state = test.path(".dagrun");
    assert_eq!(state.metadata().unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(open_to_others(&state), Vec::<String>::new());
    assert!(state.join("runs/1/checkpoints/all-0/x").exists());
    run("cluster start -n 1 --cluster c").exits(0);
    run("submit pipeline.toml -q --cluster c").exits(1);
    let clusters = test.path("clusters");
    assert_eq!(open_to_others(&clusters), Vec::<String>::new());
    test.run(&["cluster", "stop", "--cluster", "c"]).exits(0);
}
