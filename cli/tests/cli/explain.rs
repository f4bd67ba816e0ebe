//! `dagrun explain`, from the history and at a scheduler.

use crate::harness::Test;

const FAILING: &str = r#"
[task.a]
shell = "exit $((3 * i))"
sweep = { i = [0, 1] }
[task.b]
run = ["true"]
after = "a"
"#;

#[test]
fn reasons_come_from_the_history() {
    let test = Test::new(FAILING);
    assert_eq!(test.submit(&[]).status.code(), Some(1));
    let explain = |target| test.run(&["explain", "last", target]);
    let failed = explain("a[1]");
    let lines: Vec<&str> = failed.stdout.lines().collect();
    assert_eq!((failed.status.code(), lines[0]), (Some(0), "a[1] failed: exit code 3"));
    assert!(lines[1].starts_with("attempt 1 on w1: started 20"), "{lines:?}");
    assert!(lines[1].ends_with(", exit code 3"), "{lines:?}");
    let skipped = "b was skipped: after a: a[1] failed: exit code 3\n";
    assert_eq!(explain("b").stdout, skipped);
    assert_eq!(explain("a[2]").status.code(), Some(2));
    assert_eq!(explain("c").status.code(), Some(2));
}
