//! What is accepted with a warning, in the same words both ways.

use super::*;

/// What is allowed and hardly meant.
const WARNINGS: &[Rule] = &[
    ("nothing", "COMMAND", |g| drop(g.dag.command(["t"]))),
    ("an axis nobody uses", "COMMAND\nsweep = { x = [1, 2] }", |g| swept(g, "x")),
    (
        "an axis of a task that uses the seed",
        "[task.t]\nrun = ['t', '{seed}']\nsweep = { x = [1] }",
        |g| {
            g.dag.map_command(Sweep::new().axis("x", [1]), ["t", "{seed}"]);
        },
    ),
    (
        "an axis that a map uses",
        "COMMAND\nsweep = { x = [1] }\n[task.u]\nrun = ['u', '{x}']\nmap = 't'",
        |g| {
            let t = g.dag.map_command(Sweep::new().axis("x", [1]), ["t"]).done();
            g.dag.map_command(&t, ["u", "{x}"]);
        },
    ),
    ("an output nobody uses", "COMMAND\nout.o = 'o'", |g| {
        g.dag.command(["t"]).name("t").output("o", "o");
    }),
    ("an output that the task makes", "[task.t]\nrun = ['t', '{out.o}']\nout.o = 'o'", |g| {
        g.dag.command(["t", "{out.o}"]).output("o", "o");
    }),
    (
        "a placeholder in the text of a shell",
        "[task.t]\nrun = ['env', 'sh', '-euc', 'echo {x}']\nsweep = { x = [1] }",
        |g| {
            let sweep = Sweep::new().axis("x", [1]);
            g.dag.map_command(sweep, ["env", "sh", "-euc", "echo {x}"]);
        },
    ),
    (
        "a placeholder in the text of python",
        "[task.t]\nrun = ['/usr/bin/python3.11', '-c', 'print({x})']\nsweep = { x = [1] }",
        |g| {
            let sweep = Sweep::new().axis("x", [1]);
            g.dag.map_command(sweep, ["/usr/bin/python3.11", "-c", "print({x})"]);
        },
    ),
    (
        "a placeholder beside the text of a shell",
        "[task.t]\nrun = ['sh', '-c', 'echo \"$1\"', 'sh', '{x}']\nsweep = { x = [1] }",
        |g| {
            let sweep = Sweep::new().axis("x", [1]);
            g.dag.map_command(sweep, ["sh", "-c", "echo \"$1\"", "sh", "{x}"]);
        },
    ),
    (
        "a parameter named like what programs look for",
        "[task.t]\nrun = ['t', '{LD_PRELOAD}']\nsweep = { LD_PRELOAD = ['x'] }",
        |g| {
            let sweep = Sweep::new().axis("LD_PRELOAD", ["x"]);
            g.dag.map_command(sweep, ["t", "{LD_PRELOAD}"]);
        },
    ),
    (
        "points that are there twice",
        "[task.t]\nrun = ['t', '{x}']\nsweep = { x = [1, 2, 1] }",
        |g| {
            g.dag.map_command(Sweep::new().axis("x", [1, 2, 1]), ["t", "{x}"]);
        },
    ),
    (
        "a row that excludes nothing",
        "[task.t]\nrun = ['t', '{x}']\nsweep = { x = [1, 2] }\ncombine = { exclude = [{ x = 3 }] }",
        |g| {
            let sweep = Sweep::new().axis("x", [1, 2]).exclude(("x", 3));
            g.dag.map_command(sweep, ["t", "{x}"]);
        },
    ),
    (
        "text against a number",
        "[task.t]\nrun = ['t', '{x}']\nsweep = { x = [1, 2] }\ncombine = { exclude = [{ x = '2' }] }",
        |g| {
            let sweep = Sweep::new().axis("x", [1, 2]).exclude(("x", "2"));
            g.dag.map_command(sweep, ["t", "{x}"]);
        },
    ),
];

/// What a file is warned of, but for the variables that every row has.
fn warnings_of_file(task: &str) -> Problems {
    let source = format!("{GIVEN}{task}");
    let options = ParseOptions { file_stem: "test", ..ParseOptions::default() };
    let parsed = parse(&source, &options, &NoFiles).unwrap_or_else(|e| panic!("{task}: {e:?}"));
    let own = source.len() - task.len();
    let own = parsed.warnings.iter().filter(|p| p.span.as_ref().is_some_and(|s| s.start >= own));
    own.map(|p| with_help(&p.message, p.help.as_ref())).collect()
}

fn warnings_of_builder(dag: &Dag) -> Problems {
    let given = given().dag.warnings().unwrap();
    let found = dag.warnings().unwrap();
    let own = found.iter().filter(|warning| !given.contains(warning));
    own.map(|p| with_help(&p.message, p.help.as_ref())).collect()
}

#[test]
fn warnings() {
    let mut table = String::new();
    for (rule, file, build) in WARNINGS {
        let given = given();
        build(&given);
        let file = file.replace("COMMAND", &format!("[task.t]\n{COMMAND}"));
        row(&mut table, rule, &warnings_of_file(&file), &warnings_of_builder(&given.dag));
    }
    insta::assert_snapshot!(table);
}
