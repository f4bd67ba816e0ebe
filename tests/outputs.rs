//! Outputs of graphs that are built in Rust: what they replace, and what they never do.

use std::os::unix::fs::symlink;
use std::path::Path;

use dagrun::{Cluster, Dag, Options};

fn copying(to: &str) -> Dag {
    let dag = Dag::new("copying");
    dag.command(["sh", "-c", "echo new > \"$1\"", "sh", "{out.o}"]).name("a").output("o", to);
    dag
}

fn submit(dag: &Dag, base_dir: &Path) -> Result<(), dagrun::Error> {
    let cluster = Cluster::embedded().unwrap();
    let options = Options { base_dir: Some(base_dir.to_owned()), ..Options::default() };
    let run = cluster.submit_with(dag, &options).wait()?;
    run.finished().wait().map(drop)
}

#[test]
fn links_are_refused_before_anything_runs() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("precious"), "old").unwrap();
    symlink("precious", dir.path().join("o")).unwrap();
    let error = submit(&copying("o"), dir.path()).unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("`o` is a symbolic link to `precious`") && text.contains("`a`"),
        "{text}"
    );
    assert_eq!(std::fs::read_to_string(dir.path().join("precious")).unwrap(), "old");
    submit(&copying("p"), dir.path()).unwrap();
    assert_eq!(std::fs::read_to_string(dir.path().join("p")).unwrap(), "new\n");
}

#[test]
fn missing_inputs_are_refused_before_anything_runs() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("1.txt"), "").unwrap();
    let dag = Dag::new("reading");
    dag.map_command([1, 2], ["cat", "{input}.txt"]).name("a").input("{input}.txt");
    let error = submit(&dag, dir.path()).unwrap_err();
    assert!(error.to_string().contains("task `a`: input `2.txt` is missing"), "{error}");
    std::fs::write(dir.path().join("2.txt"), "").unwrap();
    submit(&dag, dir.path()).unwrap();
}
