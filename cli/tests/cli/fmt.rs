//! `dagrun fmt`.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use crate::harness::Test;

const UGLY: &str = "# About it.\n[task.a]\nrun=['true']   # why\nsweep   = {x=[1,2]}\n[task.b]\nafter='a'\nrun='true'";
const FORMATTED: &str = "\
# About it.
[task.a]
run   = ['true']  # why
sweep = { x = [1, 2] }

[task.b]
after = 'a'
run   = 'true'
";

#[test]
fn files_are_formatted_in_place_and_keep_their_permissions() {
    let test = Test::new(UGLY);
    std::os::unix::fs::symlink("pipeline.toml", test.path("link.toml")).unwrap();
    let mode = |mode| std::fs::set_permissions(test.path("pipeline.toml"), mode).unwrap();
    mode(PermissionsExt::from_mode(0o640));
    test.run(&["fmt", "--check"]).exits(1).err_has("pipeline.toml is not formatted");
    assert_eq!(test.read("pipeline.toml"), UGLY);
    test.run(&["fmt", "link.toml"]).exits(0).err_has("link.toml is formatted").out("");
    assert_eq!(test.read("pipeline.toml"), FORMATTED);
    assert!(test.path("link.toml").is_symlink());
    let mode = std::fs::metadata(test.path("pipeline.toml")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o640);
    test.run(&["fmt"]).exits(0).silent();
    test.run(&["fmt", "--check"]).exits(0).silent();
    test.submit(&["--quiet"]).exits(0);
}

#[test]
fn several_files_are_all_looked_at_and_broken_ones_stay() {
    let test = Test::new(FORMATTED);
    test.write("ugly.toml", UGLY);
    test.write("broken.toml", "[task.a\nrun=1");
    let all = ["fmt", "--check", "broken.toml", "ugly.toml", "pipeline.toml"];
    test.run(&all).exits(2).err_has("broken.toml").err_has("ugly.toml is not formatted");
    test.run(&["fmt", "broken.toml"]).exits(2).err_has("invalid TOML");
    assert_eq!(test.read("broken.toml"), "[task.a\nrun=1");
    test.run(&["fmt", "none.toml"]).exits(2).err_has("cannot read none.toml");
    // What is valid TOML and no valid pipeline is formatted all the same.
    test.write("typo.toml", "[task.a]\nrnu=1");
    test.run(&["fmt", "typo.toml"]).exits(0);
    assert_eq!(test.read("typo.toml"), "[task.a]\nrnu = 1\n");
}

#[test]
fn standard_input_is_formatted_to_standard_output() {
    let test = Test::new("");
    let mut command = test.command(&["fmt", "-"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(UGLY.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), FORMATTED);
    assert!(output.status.success());
}

#[test]
fn what_init_writes_is_formatted() {
    let test = Test::new("");
    test.run(&["init", "new.toml"]).exits(0);
    test.run(&["fmt", "--check", "new.toml"]).exits(0).silent();
}
