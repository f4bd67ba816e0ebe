//! The commands around the work: help, manual pages, a first pipeline, the list of runs, colours.

use crate::harness::Test;

#[test]
fn the_first_pipeline_runs_as_it_is_and_is_never_overwritten() {
    let test = Test::new("");
    std::fs::remove_file(test.path("pipeline.toml")).unwrap();
    test.run(&["init"]).exits(0).out("").err_has("dagrun submit pipeline.toml");
    test.run(&["check", "pipeline.toml"]).exits(0).silent();
    test.run(&["submit", "pipeline.toml"]).exits(0);
    test.run(&["output", "last", "show[3]"]).exits(0).out_has("hello, size 20 gives 40");
    let summary = test.read("summary.txt");
    assert_eq!(summary.lines().count(), 5, "{summary}");
    test.write("pipeline.toml", "mine");
    test.run(&["init"]).exits(2).err_has("exists already").err_has("dagrun init NAME.toml");
    assert_eq!(test.read("pipeline.toml"), "mine");
    test.run(&["init", "other.toml"]).exits(0);
    test.run(&["init", "none/other.toml"]).exits(2).err_has("cannot write `none/other.toml`");
}

#[test]
fn commands_have_second_names() {
    let test = Test::new("[task.a]\nrun = ['true']");
    test.run(&["run", "pipeline.toml"]).exits(0);
    let listed = test.run(&["ls"]).exits(0).out_has("succeeded").stdout;
    assert_eq!(test.run(&["runs"]).exits(0).stdout, listed);
}

#[test]
fn help_is_there_for_each_command_with_its_exit_codes() {
    let test = Test::new("");
    let all = test.run(&["help"]).exits(0).silent().stdout;
    assert!(all.contains("Exit codes:") && all.contains("Environment:") && all.contains("Files:"));
    let commands = all.lines().skip_while(|line| *line != "Commands:").skip(1);
    let names: Vec<&str> = commands
        .take_while(|line| !line.is_empty())
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert!(names.len() >= 20 && names.contains(&"each"), "{names:?}");
    for name in names {
        test.run(&["help", name]).exits(0).out_has("Usage: dagrun").out_has("Exit codes:");
        let page = test.run(&["man", name]).exits(0).stdout;
        assert!(page.contains("EXIT STATUS") && page.contains("ENVIRONMENT"), "{page}");
    }
    test.run(&["help", "cluster", "start"]).exits(0).out_has("Usage: dagrun cluster start");
    test.run(&["help", "run"]).exits(0).out_has("Usage: dagrun submit");
    test.run(&["help", "submti"]).exits(2).err_has("did you mean `submit`?");
    test.run(&["man", "--dir", "pages"]).exits(0);
    assert!(test.read("pages/dagrun-cluster-start.1").contains("dagrun cluster start"));
    assert!(test.read("pages/dagrun.1").contains("EXIT STATUS"));
}

#[test]
fn runs_are_listed_by_state_and_name() {
    let test = Test::new("name = 'good'\n[task.a]\nrun = ['true']");
    test.write("bad.toml", "[task.a]\nrun = ['false']");
    test.submit(&[]).exits(0);
    test.run(&["submit", "bad.toml"]).exits(1);
    test.submit(&[]).exits(0);
    let listed = |words: &[&str]| -> Vec<String> {
        let rows = test.run(&[&["runs", "--json"], words].concat()).exits(0).json();
        rows.iter().map(|row| row["run"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(listed(&[]), ["3", "2", "1"]);
    assert_eq!(listed(&["--limit", "2"]), ["3", "2"]);
    assert_eq!(listed(&["--state", "succeeded"]), ["3", "1"]);
    assert_eq!(listed(&["--name", "good", "--limit", "1"]), ["3"]);
    assert_eq!(listed(&["--state", "failed", "--state", "cancelled"]), ["2"]);
    assert!(listed(&["--name", "none"]).is_empty());
    test.run(&["runs", "--state", "lost"]).exits(2);
}

#[test]
fn colours_are_there_when_they_are_asked_for() {
    let test = Test::new("[task.a]\nrun = ['false']");
    let colours = |words: &[&str], variable: Option<&str>| {
        let mut command = test.command(&[&["submit", "pipeline.toml"], words].concat());
        command.env_remove("NO_COLOR").env_remove("FORCE_COLOR");
        command.envs(variable.map(|name| (name, "1")));
        command.output().unwrap().stderr.contains(&0x1b)
    };
    assert!(!colours(&[], None));
    assert!(colours(&["--color", "always"], None));
    assert!(colours(&["--color=always"], Some("NO_COLOR")));
    assert!(colours(&[], Some("FORCE_COLOR")));
    assert!(!colours(&["--color", "never"], Some("FORCE_COLOR")));
    test.run(&["runs", "--color", "often"]).exits(2);
}
