//! Temporary outputs: removed when nobody needs them any more, and made again when somebody does.

use crate::harness::{Cluster, Outcome, Test};

/// Each attempt leaves a line in `ran`. `call` fails for `b` as long as there is no file `go`.
const CHAIN: &str = r#"
    name = "chain"
    [task.align]
    sweep = { sample = ["a", "b"] }
    run = ["sh", "-c", 'echo "align $1" >> ran; echo "$1" > "$2"', "sh", "{sample}", "{out.bam}"]
    out.bam = { path = "{sample}.bam", temp = true }
    out.log = "{sample}.log"
    [task.align.env]
    LOG = "{out.log}"
    [task.sort]
    map = "align"
    run = ["sh", "-c", 'echo "sort $1" >> ran; mkdir "$3"; cat "$2" > "$3/part"', "sh", "{sample}", "{align.bam}", "{out.dir}"]
    out.dir = { path = "{sample}.sorted/", temp = true }
    [task.call]
    map = "sort"
    run = ["sh", "-c", 'echo "call $1" >> ran; [ "$1" != b ] || [ -e go ] || exit 3; cat "$2/part" > "$3"', "sh", "{sample}", "{sort.dir}", "{out.vcf}"]
    out.vcf = "{sample}.vcf"
"#;

fn chain() -> String {
    CHAIN.replace("echo \"$1\" > \"$2\"'", "echo \"$1\" > \"$2\"; : > \"$LOG\"'")
}

/// The lines of `ran`, sorted; the file is gone afterwards.
fn ran(test: &Test) -> Vec<String> {
    let text = test.read("ran");
    std::fs::remove_file(test.path("ran")).unwrap();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines.sort_unstable();
    lines
}

fn there(test: &Test, names: &[&str]) -> Vec<bool> {
    names.iter().map(|name| test.path(name).exists()).collect()
}

fn is_removed_when_all_have_succeeded(test: &Test, run: impl Fn(&[&str]) -> Outcome) {
    let all = ["a.bam", "b.bam", "a.sorted", "b.sorted", "a.log", "a.vcf", "b.vcf"];
    run(&["submit", "pipeline.toml"]).exits(1);
    // What failed may be tried again: what it was given stays.
    assert_eq!(there(test, &all), [false, false, false, true, true, true, false]);
    ran(test);
    test.write("go", "");
    run(&["retry", "last", "--failed"]).exits(0).err_has("takes 5 instances over");
    assert_eq!(ran(test), ["call b"]);
    assert_eq!(there(test, &all), [false, false, false, false, true, true, true]);
    assert_eq!(test.read("b.vcf"), "b\n");
    // Nobody misses it,
    run(&["retry", "last", "--failed"]).exits(0).err_has("nothing to retry");
    // until somebody who needs it runs again: it is made again, for that one only.
    run(&["retry", "last", "call[0]"]).exits(0);
    assert_eq!(ran(test), ["align a", "call a", "sort a"]);
    assert_eq!(there(test, &all), [false, false, false, false, true, true, true]);
}

#[test]
fn an_output_is_removed_when_nobody_needs_it_any_more() {
    let test = Test::new(&chain());
    is_removed_when_all_have_succeeded(&test, |words| test.run(words));
}

#[test]
fn it_is_so_on_a_cluster() {
    let cluster = Cluster::start(Test::new(&chain()), "2");
    is_removed_when_all_have_succeeded(&cluster.0, |words| cluster.run(words));
}

#[test]
fn what_somebody_has_changed_since_is_left_alone() {
    let test = Test::new(
        r#"
        [task.file]
        shell = 'echo made > "$out_f"'
        out.f = { path = "file", temp = true }
        [task.dir]
        shell = 'mkdir "$out_d"; echo made > "$out_d/a"'
        out.d = { path = "dir", temp = true }
        [task.same]
        shell = 'mkdir "$out_s"; echo made > "$out_s/a"'
        out.s = { path = "same", temp = true }
        [task.use]
        run = ["sh", "-c", "rm file; echo mine > file; echo mine > dir/b", "sh", "{file.f}", "{dir.d}", "{same.s}"]
        "#,
    );
    test.submit(&["-q"]).exits(0);
    assert_eq!((test.read("file"), test.read("dir/b")), ("mine\n".into(), "mine\n".into()));
    assert_eq!(test.read("dir/a"), "made\n");
    assert!(!test.path("same").exists());
}

#[test]
fn the_end_of_a_run_does_not_list_what_was_removed() {
    let test = Test::new(
        r#"
        [task.a]
        shell = 'echo > "$out_x"; echo > "$out_y"'
        out.x = { path = "x", temp = true }
        out.y = "y"
        "#,
    );
    test.submit(&[]).exits(0).err_has("a.y").err_lacks("a.x");
    assert_eq!(there(&test, &["x", "y"]), [false, true]);
}

#[test]
fn what_cannot_be_temporary_is_refused() {
    let test = Test::new(
        r#"
        [task.a]
        run = "touch {out.a} {out.b} {out.c} {out.d}"
        out.a = { path = "s3://bucket/a", temp = true }
        out.b = { temp = true }
        out.c = { path = "c", tmp = true }
        out.d = { path = "d", temp = "yes" }
        "#,
    );
    let outcome = test.run(&["check"]).exits(2);
    for problem in [
        "only files and directories can be temporary, nothing at a URL",
        "the output lacks `path`",
        "unknown key `tmp` in an output",
        "write `true` or `false`",
    ] {
        assert!(outcome.stderr.contains(problem), "{outcome:?}");
    }
}
