//! The pictures of an instance's states, in the design, the semantics and the documentation of
//! [`State`]: each is compared with what the machine allows.

use dagrun_core::engine::is_legal;
use dagrun_core::status::State;

fn successors(from: State) -> impl Iterator<Item = State> {
    State::ALL.into_iter().filter(move |to| is_legal(from, *to))
}

#[test]
fn the_design_draws_every_move() {
    let mut expected = vec!["[*] --> blocked".to_owned()];
    for from in State::ALL {
        let arrow = |to: &str| format!("{} --> {to}", from.word());
        expected.extend(successors(from).map(|to| arrow(to.word())));
        if from.is_terminal() {
            expected.push(arrow("[*]"));
        }
    }
    let page = include_str!("../../../docs/design.md");
    let (_, picture) = page.split_once("```mermaid\nstateDiagram-v2\n").expect("a picture");
    let (picture, _) = picture.split_once("```").expect("the end of the picture");
    let without_reason = |line: &str| line.split(':').next().unwrap_or_default().trim().to_owned();
    let drawn: Vec<String> = picture.lines().map(without_reason).collect();
    assert_eq!(drawn, expected, "the picture must be:\n    {}", expected.join("\n    "));
}

#[test]
fn the_documentation_of_states_lists_every_move() {
    let mut expected = String::from("/// ```text\n");
    for from in State::ALL.into_iter().filter(|state| !state.is_terminal()) {
        let to: Vec<_> = successors(from).map(State::word).collect();
        expected += &format!("/// {:7} ─► {}\n", from.word(), to.join(" | "));
    }
    expected += "/// ```\n";
    assert!(include_str!("../../src/status.rs").contains(&expected), "must hold:\n{expected}");
}

#[test]
fn the_semantics_name_what_follows_each_state() {
    let page = include_str!("../../../docs/semantics.md");
    for from in State::ALL {
        let head = format!("| `{}` | ", from.word());
        let row = page.lines().find(|line| line.starts_with(&head)).expect("a row for each state");
        let followed_by = row.rsplit(" | ").next().unwrap_or_default();
        let named = |state: &State| followed_by.contains(&format!("`{}`", state.word()));
        let named: Vec<State> = State::ALL.into_iter().filter(named).collect();
        assert_eq!(named, successors(from).collect::<Vec<_>>(), "what follows {}", from.word());
    }
}
