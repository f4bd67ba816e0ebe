//! Values that look like code travel as data, whichever way they take.

use std::os::unix::ffi::OsStrExt;

use crate::harness::Test;

/// One value of each kind, as TOML.
const VALUES: &str = r##"[
    "; rm -rf ~", "it's \"quoted\"", "new\nline", "$(touch hacked) `touch hacked`", "{braces} {{x}}",
    "", " ", "-n", "*", "~", "ünïcødé", "\\n\\0", "$HOME ${x}", "a & b | c > d", "#!", "%s%n"
]"##;

/// The same, as the tests compare them.
fn values() -> Vec<String> {
    [
        "; rm -rf ~",
        "it's \"quoted\"",
        "new\nline",
        "$(touch hacked) `touch hacked`",
        "{braces} {{x}}",
        "",
        " ",
        "-n",
        "*",
        "~",
        "ünïcødé",
        "\\n\\0",
        "$HOME ${x}",
        "a & b | c > d",
        "#!",
        "%s%n",
    ]
    .map(str::to_owned)
    .to_vec()
}

/// What each instance of `task` wrote to `out/INDEX`.
fn written(test: &Test) -> Vec<String> {
    (0..values().len()).map(|index| test.read(&format!("out/{index}"))).collect()
}

#[test]
fn through_an_argv() {
    let test = Test::new(&format!(
        "[task.a]\nrun = ['sh', '-c', 'printf %s \"$1\" > \"$2\"', 'sh', '{{x}}', '{{out.o}}']\n\
         out.o = 'out/{{index}}'\nsweep = {{ x = {VALUES} }}"
    ));
    test.submit(&["-q"]).exits(0).silent();
    assert_eq!(written(&test), values());
    assert!(!test.path("hacked").exists());
}

#[test]
fn through_a_string_that_is_split_before_substitution() {
    let test = Test::new(&format!(
        "[task.a]\nrun = '''sh -c 'printf %s \"$1\" > \"$2\"' sh {{x}} {{out.o}}'''\n\
         out.o = 'out/{{index}}'\nsweep = {{ x = {VALUES} }}"
    ));
    test.submit(&["-q"]).exits(0).silent();
    assert_eq!(written(&test), values());
}

#[test]
fn through_a_shell_and_the_environment() {
    let test = Test::new(&format!(
        "[task.a]\nshell = 'test \"$x\" = \"$Y\"; printf %s \"$x\" > \"$out_o\"; test \"{{x}}\" = {{x}}'\n\
         env.Y = '{{x}}'\nout.o = 'out/{{index}}'\nsweep = {{ x = {VALUES} }}"
    ));
    test.submit(&["-q"]).exits(0).silent();
    assert_eq!(written(&test), values());
    assert!(!test.path("hacked").exists());
}

#[test]
fn through_a_captured_value_and_a_manifest() {
    let test = Test::new(&format!(
        "[task.a]\nrun = ['printf', '%s', '{{x}}']\ncapture = 'text'\nsweep = {{ x = {VALUES} }}\n\
         [task.b]\ngather = 'a'\nrun = ['cp', '{{a.manifest}}', '{{out.m}}']\nout.m = 'manifest'\n\
         [task.c]\nmap = 'a'\nrun = ['sh', '-c', 'test \"$1\" = \"$2\"', 'sh', '{{x}}', '{{a.value}}']"
    ));
    // A trailing newline is not part of a captured text; no value here has one.
    test.submit(&["-q"]).exits(0).silent();
    let manifest = test.read("manifest");
    let lines: Vec<serde_json::Value> =
        manifest.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |key: &str| -> Vec<String> {
        lines.iter().map(|line| line.pointer(key).unwrap().as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(of("/params/x"), values());
    assert_eq!(of("/value"), values());
}

#[test]
fn through_a_file_name_that_is_not_utf_8() {
    let test = Test::new(
        "[task.a]\nrun = ['cp', '{file}', '{out.o}']\nout.o = 'out/{index}'\n\
         sweep = { file = { glob = 'data/*' } }\n\
         [task.b]\nmap = 'a'\nshell = 'cmp \"$file\" \"$F\"'\nenv.F = '{a.o}'\n\
         [task.c]\ngather = 'a'\nrun = ['wc', '-l', '{a.manifest}']",
    );
    let names: [&[u8]; 3] = [b"caf\xe9 $(touch hacked).txt", b"new\nline", b"{x}"];
    std::fs::create_dir(test.path("data")).unwrap();
    for name in names {
        let path = test.path("data").join(std::ffi::OsStr::from_bytes(name));
        std::fs::write(path, name).unwrap();
    }
    test.submit(&["-q"]).exits(0).silent();
    let mut found: Vec<_> =
        (0..3).map(|i| std::fs::read(test.path(format!("out/{i}"))).unwrap()).collect();
    found.sort();
    let mut expected = names.map(<[u8]>::to_vec).to_vec();
    expected.sort();
    assert_eq!(found, expected);
    // What is shown of them can be pasted.
    test.submit(&["--dry-run", "--only", "a"]).exits(0).out_has(r"caf\351");
}

#[test]
fn what_a_task_writes_cannot_command_the_terminal() {
    let test = Test::new("[task.a]\nrun = ['sh', '-c', 'printf \"\\\\033[2Jred\" >&2; exit 1']");
    test.submit(&[]).exits(1).err_has("red").err_lacks("\u{1b}");
}
