//! What `check` warns of, refuses or shows: names of scripts, words of shells, parts that have no
//! effect, variables that are given.

use crate::harness::Test;

/// What `check --json` says of a pipeline: the messages of its warnings, each with line and column.
#[track_caller]
fn warnings(pipeline: &str) -> Vec<String> {
    let outcome = Test::new(pipeline).run(&["check", "--json"]).exits(0).silent();
    let result = outcome.json().remove(0);
    assert_eq!(result["valid"], true);
    let Some(list) = result.get("warnings") else { return Vec::new() };
    let list = list.as_array().unwrap();
    list.iter()
        .map(|warning| {
            assert!(!warning["help"].as_str().unwrap().is_empty(), "{warning}");
            let message = warning["message"].as_str().unwrap();
            format!("{}:{} {message}", warning["line"], warning["column"])
        })
        .collect()
}

/// A line of the specification, a pipeline, and what it is warned of.
const WARNED: &[(&str, &str, &[&str])] = &[
    (
        "{param} in shell",
        "[task.a]\nshell = 'echo {x} $x'\nsweep = { x = [1] }",
        &["2:15 `{x}` stays as it is: nothing is substituted in a script"],
    ),
    (
        "{out.x} in shell",
        "[task.a]\nshell = '''\necho 1 > {out.x}\n'''\nout.x = 'x'",
        &["3:10 `{out.x}` stays as it is: nothing is substituted in a script"],
    ),
    ("braces of a shell", "[task.a]\nshell = 'f() { echo {a,b} {1..3} ${y:-z}; }; f'", &[]),
    ("| in a run string", "[task.a]\nrun = 'cat x | wc'", &["2:14 `|` is passed on as it is"]),
    ("> in a run string", "[task.a]\nrun = 'cat x > y'", &["2:14 `>` is passed on as it is"]),
    ("&& in a run string", "[task.a]\nrun = 'a && b'", &["2:10 `&&` is passed on as it is"]),
    ("$ in a run string", "[task.a]\nrun = 'echo $HOME'", &["2:13 `$HOME` is passed on as it is"]),
    ("* in a run string", "[task.a]\nrun = 'ls *.txt'", &["2:11 `*` is passed on as it is"]),
    ("~ in a run string", "[task.a]\nrun = 'ls ~/x'", &["2:11 `~` is passed on as it is"]),
    (
        "; and < and 2> and a variable before the program",
        "[task.a]\nrun = 'A=1 b; c < d 2> e'",
        &[
            "2:8 `A=` sets no variable here: it is the program",
            "2:13 `;` is passed on as it is",
            "2:17 `<` is passed on as it is",
            "2:22 `>` is passed on as it is",
        ],
    ),
    ("quoted wildcards", "[task.a]\nrun = '''find . -name '*.txt' \"~\" \\* '''", &[]),
    ("words of a list", "[task.a]\nrun = ['echo', '*', '|', '$x']", &[]),
    (
        "placeholder inside sh -c",
        "[task.a]\nrun = ['sh', '-c', 'echo {x}']\nsweep = { x = ['a'] }",
        &["2:26 the value becomes a part of the program that `sh` runs"],
    ),
    (
        "placeholder inside python -c",
        "[task.a]\nrun = \"python3 -c 'print({x})'\"\nsweep = { x = ['a'] }",
        &["2:26 the value becomes a part of the program that `python3` runs"],
    ),
    (
        "an axis nobody uses",
        "[task.a]\nrun = ['echo', '{x}']\nsweep = { x = [1], y = [1, 2] }",
        &["3:20 nothing uses parameter `y`"],
    ),
    (
        "axes of tasks that use {seed}, {key}, {index}",
        "[task.a]\nrun = ['echo', '{seed}']\nsweep = { x = [1] }\n[task.b]\nrun = ['echo', '{key}']\n\
         sweep = { x = [1] }\n[task.c]\nrun = ['echo', '{index}']\nsweep = { x = [1] }",
        &[],
    ),
    (
        "axes whose name stands in the script",
        "[task.a]\nshell = 'echo $x ${y}; awk z'\nsweep = { x = [1], y = [1], z = [1] }",
        &[],
    ),
    (
        "a var nobody uses",
        "[vars]\nx = 1\ny = 2\nz = 3\n[task.a]\nrun = ['a', '{vars.x}']\n[task.b]\nshell = 'echo $y'",
        &["4:1 nothing uses variable `z`"],
    ),
    (
        "an output nobody uses",
        "[task.a]\nrun = ['a', '{out.x}']\nout = { x = 'x', y = 'y' }\n[task.b]\nshell = 'b'\nout.z = 'z'",
        &[
            "3:18 task `a` never mentions its output `y`",
            "6:5 task `b` never mentions its output `z`",
        ],
    ),
    (
        "parameter or var named like PATH, HOME, LD_",
        "[vars]\nHOME = 'x'\n[task.a]\nshell = 'echo $HOME $PATH $LD_X'\nsweep = { PATH = ['/bin:/usr/bin'], LD_X = ['y'] }",
        &[
            "2:1 variable `HOME` replaces what programs look for under this name in a script",
            "5:11 parameter `PATH` replaces what programs look for under this name in a script",
            "5:37 parameter `LD_X` replaces what programs look for under this name in a script",
        ],
    ),
    (
        "not readable from a shell (n-x arrives as n_x)",
        "[task.a]\nshell = 'echo $n_x'\nsweep = { n-x = [1] }",
        &["3:11 parameter `n-x` is `n_x` in scripts"],
    ),
    ("n-x where no shell reads it", "[task.a]\nrun = ['a', '{n-x}']\nsweep = { n-x = [1] }", &[]),
    (
        "exclude rows that match no point",
        "[task.a]\nrun = ['a', '{x}']\nsweep = { x = [1, 2] }\ncombine = { exclude = [{ x = 1 }, { x = 3 }] }",
        &["4:35 this row excludes nothing: no point agrees with it"],
    ),
    (
        "all points excluded",
        "[task.a]\nrun = ['a', '{x}']\nsweep = { x = [1, 2] }\ncombine = { exclude = [{ x = 1 }, { x = 2 }] }",
        &["4:24 all points are excluded: the task has no instances"],
    ),
    (
        "rows that are doubled",
        "[task.a]\nrun = ['a', '{x}']\nsweep = { x = [1, 2, 1.0, 1] }\n\
         combine = { exclude = [{ x = 2 }, { x = 2.0 }], include = [{ x = 5 }, { x = 5 }, { x = 1 }] }",
        &[
            "3:11 `x` has `1` more than once",
            "4:35 this row excludes what row 1 does already",
            "4:71 this row is there already: it makes a second instance",
            "4:82 this row is there already: it makes a second instance",
        ],
    ),
    (
        "text against number",
        "[task.a]\nrun = ['a', '{x}']\nsweep = { x = [1, 2] }\n\
         combine = { exclude = [{ x = '2' }], include = [{ x = '3' }] }",
        &[
            "4:24 this row excludes nothing: no point agrees with it",
            "4:49 `x` is of another type here than in the sweep",
        ],
    ),
];

#[test]
fn check_warns() {
    for (line, pipeline, expected) in WARNED {
        assert_eq!(warnings(pipeline), *expected, "{line}");
    }
}

const UNUSED: &str = "[task.a]\nrun = ['true']\nsweep = { x = [1] }\n";

#[test]
fn strict_makes_warnings_errors() {
    let test = Test::new(UNUSED);
    test.run(&["check", "--strict"]).exits(2).out("").err_has("nothing uses parameter `x`");
    let outcome = test.run(&["check", "--strict", "--json"]).exits(2).silent();
    let result = outcome.json().remove(0);
    assert_eq!(result["valid"], false);
    assert_eq!(result["errors"][0]["message"], "nothing uses parameter `x`");
    assert_eq!(
        (&result["errors"][0]["line"], &result["errors"][0]["column"]),
        (&3.into(), &11.into())
    );
    let sound = Test::new("[task.a]\nrun = ['true']\n");
    sound.run(&["check", "--strict"]).exits(0).silent();
}

#[test]
fn submit_prints_warnings_and_runs() {
    let test = Test::new(UNUSED);
    let outcome = test.submit(&[]).exits(0);
    outcome.err_has("nothing uses parameter `x`").err_has("1 warning about pipeline.toml");
    test.submit(&["--quiet"]).exits(0).silent();
}

#[test]
fn a_flood_of_warnings_is_cut() {
    let axes: Vec<String> = (0..40).map(|at| format!("x{at} = [1]")).collect();
    let test = Test::new(&format!("[task.a]\nrun = ['true']\nsweep = {{ {} }}", axes.join(", ")));
    let outcome = test.run(&["check"]).exits(0);
    outcome.err_has("40 warnings about pipeline.toml, of which the first 20 are shown");
}

/// The first message of a pipeline that is refused.
#[track_caller]
fn refused(pipeline: &str, words: &[&str]) -> String {
    let outcome = Test::new(pipeline).run(&[&["check", "--json"], words].concat()).exits(2);
    outcome.json()[0]["errors"][0]["message"].as_str().unwrap().to_owned()
}

#[test]
fn names_that_a_shell_cannot_read() {
    let test = Test::new(
        "[vars]\nday-1 = 'mo'\n[task.a]\n\
         shell = 'echo $learning_rate $day_1 > \"$out_my_file\"'\n\
         sweep = { learning-rate = [0.1, 0.2] }\nout.my-file = 'f-{index}'\n",
    );
    test.submit(&["--quiet"]).exits(0);
    assert_eq!((test.read("f-0"), test.read("f-1")), ("0.1 mo\n".into(), "0.2 mo\n".into()));
    let sweep = "sweep = { learning-rate = [0.1], batch = [3] }";
    for script in [
        "echo ${learning-rate} $batch",
        "echo $learning-rate $batch",
        "echo \"${learning-rate:-1}\"",
    ] {
        let message = refused(&format!("[task.a]\nshell = '{script}'\n{sweep}"), &[]);
        assert!(message.starts_with("a shell reads `$learning-rate` as `$learning`"), "{message}");
    }
    let message = refused("[task.a]\nshell = 'a > ${out_my-file}'\nout.my-file = 'f'", &[]);
    assert!(message.contains("`$out_my-file`"), "{message}");
    let message = refused("[vars]\na-b = 1\n[task.a]\nshell = 'echo ${a-b}'", &[]);
    assert!(message.contains("`$a-b`"), "{message}");
    // Dashes that belong to no name are the shell's.
    let sound = "[task.a]\nshell = 'echo ${y-b} $x-1'\nsweep = { x = [1], a-b = [1] }\nenv = { y = '{a-b}' }";
    Test::new(sound).run(&["check"]).exits(0);
    let message = refused("[task.a]\nshell = 'echo $a_b'\nsweep = { a-b = [1], a_b = [2] }", &[]);
    assert!(message.contains("`a-b` and `a_b` are both `a_b`"), "{message}");
}

#[test]
fn names_that_the_shell_sets_itself_are_refused() {
    for name in
        ["IFS", "PWD", "RANDOM", "PPID", "LINENO", "SHLVL", "UID", "DAGRUN_INDEX", "DAGRUN_X"]
    {
        let message = refused(&format!("[task.a]\nrun = ['a']\nsweep = {{ {name} = [1] }}"), &[]);
        assert!(message.starts_with(&format!("parameter `{name}`")), "{message}");
        let message = refused(&format!("[vars]\n{name} = 1\n[task.a]\nrun = ['a']"), &[]);
        assert!(message.starts_with(&format!("variable `{name}`")), "{message}");
    }
}

const VARS: &str = "[vars]\nn = 10\nh = 0.5\nname = 'x'\non = true\nlist = [1]\n[task.a]\n\
                    run = ['printf', '%s', '{vars.n} {vars.h} {vars.name} {vars.on} {vars.list}']\n\
                    capture = 'text'\n";

#[test]
fn what_is_set_must_be_of_the_type_that_it_was() {
    for (set, problem) in [
        ("n=ten", "--set n: the value is text, not an integer"),
        ("n=1.5", "--set n: the value is a float, not an integer"),
        ("n=", "--set n: the value is text, not an integer"),
        ("h=half", "--set h: the value is text, not a float"),
        ("on=1", "--set on: the value is an integer, not a boolean"),
        ("list=1", "--set list: the value is an integer, not a list"),
        ("nn=1", "--set nn: no such variable"),
    ] {
        assert_eq!(refused(VARS, &["--set", set]), problem);
    }
    let test = Test::new(VARS);
    let words = ["--quiet", "--set", "n=7", "--set", "h=2", "--set", "name=5", "--set", "on=false"];
    test.submit(&words).exits(0);
    test.run(&["output", "last", "a", "--raw"]).exits(0).out("7 2 5 false [1]");
    test.submit(&["--quiet", "--set", "name=\"q\""]).exits(0);
    test.run(&["output", "last", "a", "--raw"]).exits(0).out("10 0.5 \"q\" true [1]");
}

#[test]
fn params_come_from_files_and_set_wins() {
    let test = Test::new(VARS);
    test.write("p.toml", "n = 1\nname = 'from toml'\n");
    test.write("p.json", r#"{"n": 2, "h": 3, "name": "from json"}"#);
    let value = |words: &[&str]| {
        test.submit(&[&["--quiet"], words].concat()).exits(0);
        test.run(&["output", "last", "a", "--raw"]).exits(0).stdout
    };
    assert_eq!(value(&["--params", "p.toml"]), "1 0.5 from toml true [1]");
    assert_eq!(value(&["--params", "p.json", "--set", "n=9"]), "9 3 from json true [1]");
    for (file, content, problem) in [
        ("q.toml", "nn = 1", "q.toml: nn: no such variable"),
        ("q.toml", "name = 5", "q.toml: name: the value is an integer, not text"),
        ("q.toml", "n = 1\nn =", "q.toml: line 2: "),
        ("q.json", "[1]", "q.json: it holds a list, not an object with variables"),
        ("q.json", "{\"n\": 1, \"n\": 2}", "q.json: `n` is given twice"),
    ] {
        test.write(file, content);
        let outcome = test.run(&["check", "--json", "--params", file]).exits(2);
        let message = outcome.json()[0]["errors"][0]["message"].as_str().unwrap().to_owned();
        assert!(message.starts_with(problem), "{message}");
    }
    test.run(&["check", "--params", "nowhere.toml"]).exits(2).err_has("cannot read nowhere.toml");
}

#[test]
fn sizes_are_shown_with_their_factors() {
    let test = Test::new(
        "[task.price]\nrun = ['a', '{strike} {sigma} {rep} {seed}']\n\
         sweep = { strike = { range = '0..40' }, sigma = { range = '0..10' }, rep = { range = '0..50' } }\n\
         [task.more]\nmap = 'price'\nrun = ['a', '{k} {l}']\nsweep = { k = [1, 2], l = [3, 4] }\n\
         combine = { zip = [['k', 'l']], exclude = [{ k = 1 }] }\n\
         [task.one]\nrun = ['a', '{x}']\nsweep = { x = [1] }\n",
    );
    let outcome = test.run(&["check"]).exits(0).silent();
    let outcome = outcome.out_has("price 20000 = strike 40 × sigma 10 × rep 50\n");
    let outcome = outcome.out_has("more 20000 = price 20000 × (k+l 2 − 1 excluded)\n");
    assert!(!outcome.stdout.contains("one 1 ="), "{}", outcome.stdout);
}
