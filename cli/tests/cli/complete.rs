//! What shells offer when somebody presses tab, asked as their scripts ask.

use std::process::Command;

use crate::harness::{Cluster, Test};

const PIPELINE: &str = "\
[vars]
paths = 100
[task.price]
sweep = { x = [1, 2] }
run = ['echo', '{x}', '{vars.paths}']
[task.plot]
after = 'price'
run = 'true'
";

/// What is offered for the last of these words, by the protocol of fish: without the options of the command.
fn offered(test: &Test, words: &[&str]) -> Vec<String> {
    let command =
        test.command(&[&["--", "dagrun"], words].concat()).env("COMPLETE", "fish").output();
    let output = command.unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    let lines = String::from_utf8(output.stdout).unwrap();
    let values = lines.lines().map(|line| line.split('\t').next().unwrap().to_owned());
    values.filter(|value| !value.starts_with("--")).collect()
}

#[test]
fn runs_and_their_tasks_are_offered() {
    let test = Test::new(PIPELINE);
    assert_eq!(offered(&test, &["status", ""]), [""; 0]);
    test.submit(&[]).exits(0);
    test.write("other.toml", "[task.other]\nrun = 'true'");
    test.run(&["submit", "other.toml"]).exits(0);
    assert_eq!(offered(&test, &["status", ""]), ["last", "2", "1", "other"]);
    assert_eq!(offered(&test, &["logs", "1", "p"]), ["price", "plot"]);
    assert_eq!(offered(&test, &["logs", "o"]), ["other"]);
    assert_eq!(offered(&test, &["retry", ""]), ["last", "2", "1", "other"]);
    assert_eq!(offered(&test, &["wait", ""]), ["last", "2", "1"]);
    assert_eq!(offered(&test, &["table", "1", "pr"]), ["price"]);
    assert_eq!(offered(&test, &["status", "--state-dir", "none", ""]), [""; 0]);
}

#[test]
fn what_a_pipeline_file_has_is_offered() {
    let test = Test::new(PIPELINE);
    assert_eq!(offered(&test, &["submit", "--only", "pl"]), ["plot"]);
    assert_eq!(offered(&test, &["check", "pipeline.toml", "--set", ""]), ["paths="]);
    test.write("other.toml", "[task.other]\nrun = 'true'");
    assert_eq!(offered(&test, &["graph", "other.toml", "--only", ""]), ["other"]);
    let files = offered(&test, &["submit", ""]);
    assert!(files.iter().any(|file| file == "pipeline.toml"), "{files:?}");
}

#[test]
fn commands_and_values_of_options_are_offered() {
    let test = Test::new("");
    assert_eq!(offered(&test, &["comp"]), ["completions"]);
    assert_eq!(offered(&test, &["help", "subm"]), ["submit"]);
    assert_eq!(offered(&test, &["scheduler", "--scheme", "l"]), ["least-load", "lru"]);
    assert_eq!(offered(&test, &["runs", "--state", "s"]), ["succeeded"]);
}

#[test]
fn clusters_and_their_workers_are_offered() {
    let cluster = Cluster::start(Test::new(PIPELINE), "2");
    let test = &cluster.0;
    assert_eq!(offered(test, &["submit", "--cluster", ""]), ["c"]);
    assert_eq!(offered(test, &["exec", "--cluster", "c", "--worker", "w"]), ["w1", "w2"]);
    cluster.submit(&[]).exits(0);
    assert_eq!(offered(test, &["status", "--cluster", "c", "1", "pl"]), ["plot"]);
}

/// The program that the script starts is that of the test, by `PATH`.
fn shell(test: &Test, shell: &str, script: &str) -> String {
    let program = test.command(&[]);
    let dir = std::path::Path::new(program.get_program()).parent().unwrap();
    let path = format!("{}:{}", dir.display(), std::env::var("PATH").unwrap_or_default());
    let mut command = Command::new(shell);
    command.args(["-c", script]).current_dir(test.path("")).env("PATH", path);
    let output = command.output().unwrap();
    assert!(output.stderr.is_empty(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn bash_asks() {
    let test = Test::new(PIPELINE);
    test.submit(&[]).exits(0);
    let script = r#"
        source <(dagrun completions bash)
        complete -p dagrun
        COMP_WORDS=(dagrun output last pl); COMP_CWORD=3; COMP_TYPE=9
        _clap_complete_dagrun dagrun pl last
        printf '%s\n' "${COMPREPLY[@]}"
    "#;
    let printed = shell(&test, "bash", script);
    let last = printed.lines().last().unwrap_or_default().trim();
    assert!(printed.contains("_clap_complete_dagrun") && last == "plot", "{printed}");
}

#[test]
fn every_shell_has_a_script() {
    let test = Test::new("");
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        test.run(&["completions", shell]).exits(0).silent().out_has("COMPLETE");
    }
    test.run(&["completions", "cmd"]).exits(2);
}
