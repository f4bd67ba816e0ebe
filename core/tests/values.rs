//! Long values: where they are kept, along which edges they are passed, and how commands receive
//! them.

mod sources;

use dagrun_core::engine::{Consumed, ValueEdge};
use dagrun_core::graph::Graph;
use dagrun_core::ids::TaskId;
use dagrun_core::parse::{ParseOptions, parse};
use dagrun_core::pipeline::{Pipeline, RunContext};
use dagrun_core::recipe::{Input, Keep, Recipe, Wants, WantsFile};
use sources::TestFiles;

fn pipeline(text: &str) -> Pipeline {
    let options = ParseOptions { file_stem: "test", ..ParseOptions::default() };
    parse(text, &options, &TestFiles).unwrap().pipeline
}

fn recipe(pipeline: &Pipeline, task: u32) -> Recipe {
    let context = RunContext { run: 1, run_dir: "/r".into(), base_dir: "/b".into(), seed: 0 };
    Recipe::new(pipeline, TaskId(task), &context).unwrap()
}

#[test]
fn what_becomes_of_long_values_depends_on_who_is_given_them() {
    let pipeline = pipeline(
        "[task.scattered]\ncall = 'f'\n\
         [task.part]\nscatter = 'scattered'\ncall = 'g'\nargs = { x = '{item}' }\n\
         [task.given]\ncall = 'f'\n\
         [task.takes]\nrun = ['echo', '{given.value}']\ncapture = 'text'\n\
         [task.listed]\ncall = 'f'\n\
         [task.captured]\nrun = ['true']\ncapture = 'text'\n\
         [task.lists]\ngather = ['listed', 'captured']\n\
         run = ['cat', '{listed.manifest}', '{captured.manifest}']\n",
    );
    use Keep::{File, Hold, Report};
    assert_eq!(Keep::of_tasks(&pipeline), [Report, File, Hold, File, File, Report, File]);
}

#[test]
fn values_go_along_maps_references_and_nothing_else() {
    let pipeline = pipeline(
        "[task.single]\nrun = ['true']\ncapture = 'text'\n\
         [task.array]\nsweep = { x = [1, 2] }\nrun = ['true']\ncapture = 'json'\n\
         [task.mapped]\nmap = 'array'\nsweep = { y = [1, 2, 3] }\ncapture = 'text'\n\
         run = ['echo', '{array.value.a}', '{array.value}', '{single.value}']\n\
         [task.further]\nmap = 'mapped'\nsweep = { z = [1, 2] }\nrun = ['echo', '{mapped.value}']\n\
         [task.after]\nafter = ['single', 'array']\nrun = ['true']\n\
         [task.lists]\ngather = 'array'\nrun = ['cat', '{array.manifest}']\n",
    );
    let graph = Graph::new(&pipeline).unwrap();
    let edge = |from, to, of| ValueEdge { from: TaskId(from), to: TaskId(to), of };
    let expected =
        [edge(0, 2, Consumed::Single), edge(1, 2, Consumed::Map(3)), edge(2, 3, Consumed::Map(2))];
    assert_eq!(graph.plan(&pipeline, false).values, expected);
}

#[test]
fn a_command_is_given_values_as_text_and_files_where_it_asks_for_them() {
    let pipeline = pipeline(
        "[task.a]\nrun = ['true']\ncapture = 'json'\n\
         [task.b]\nrun = ['cat', '{a.value:file}', '{a.value.n}']\nenv = { A = 'at {a.value}' }\n",
    );
    let recipe = recipe(&pipeline, 1);
    assert_eq!(recipe.wants(), [Wants { file: WantsFile::Always, here: true }]);
    assert_eq!(recipe.input_task(0), Some("a"));
    let value = Some(br#"{"n":3}"#.to_vec());
    let input = Input { value, file: Some("/tmp/input-0.json".into()), ..Input::default() };
    let invocation = recipe.invocation(0, 1, &[input]).unwrap();
    assert_eq!(invocation.argv, ["cat", "/tmp/input-0.json", "3"]);
    assert!(invocation.env.contains(&("A".into(), "at {\"n\":3}".into())));
}

#[test]
fn what_a_function_is_given_whole_may_be_elsewhere() {
    let pipeline = pipeline(
        "[task.a]\nrun = ['true']\ncapture = 'json'\n\
         [task.whole]\ncall = 'f'\nargs = { x = '{a.value}' }\n\
         [task.part]\ncall = 'f'\nargs = { x = '{a.value.n}' }\n\
         [task.list]\ncall = 'f'\nargs = { x = ['{a.value}'] }\n",
    );
    assert_eq!(recipe(&pipeline, 1).wants(), [Wants::default()]);
    for task in [2, 3] {
        assert_eq!(recipe(&pipeline, task).wants(), [Wants { file: WantsFile::Never, here: true }]);
    }
}
