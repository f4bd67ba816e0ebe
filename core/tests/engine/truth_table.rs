//! Every row of the truth table, however outcome and submission are ordered.

use dagrun_core::engine::TaskPlan;
use dagrun_core::pipeline::{Outcomes, Quantifier};
use dagrun_core::status::State;

use crate::rig::{Rig, after_on, array};

/// The table of the semantics: quantifier, outcomes, then PP SP FP SS SF FF.
const TABLE: [(Quantifier, Outcomes, &str); 6] = [
    (Quantifier::All, Outcomes::Success, "WWXRXX"),
    (Quantifier::All, Outcomes::Failure, "WXWXXR"),
    (Quantifier::All, Outcomes::Finish, "WWWRRR"),
    (Quantifier::Any, Outcomes::Success, "WRWRRX"),
    (Quantifier::Any, Outcomes::Failure, "WWRXRR"),
    (Quantifier::Any, Outcomes::Finish, "WRRRRR"),
];

fn apply(rig: &mut Rig, task: u32, index: u32, letter: char) {
    match letter {
        'S' => rig.ok(task, index),
        'F' => rig.fail(task, index),
        _ => {}
    }
}

fn expected(letter: char) -> State {
    match letter {
        'W' => State::Blocked,
        'R' => State::Leased,
        _ => State::Skipped,
    }
}

#[test]
fn two_upstream_tasks() {
    for (quantifier, on, row) in TABLE {
        for (outcomes, verdict) in ["PP", "SP", "FP", "SS", "SF", "FF"].iter().zip(row.chars()) {
            for reversed in [false, true] {
                let dependent = after_on(quantifier, &[0, 1], on);
                let mut rig = Rig::new(vec![TaskPlan::default(), TaskPlan::default(), dependent])
                    .worker(1, 4)
                    .submit();
                let mut pairs: Vec<(u32, char)> = (0..).zip(outcomes.chars()).collect();
                if reversed {
                    pairs.reverse();
                }
                for (task, letter) in pairs {
                    apply(&mut rig, task, 0, letter);
                }
                assert_eq!(
                    rig.state(2, 0),
                    expected(verdict),
                    "{quantifier:?} {on:?} {outcomes} reversed: {reversed}"
                );
            }
        }
    }
}

#[test]
fn two_instances_of_an_array() {
    for (quantifier, on, row) in TABLE {
        for (outcomes, verdict) in ["PP", "SP", "FP", "SS", "SF", "FF"].iter().zip(row.chars()) {
            let dependent = TaskPlan { width: 3.into(), ..after_on(quantifier, &[0], on) };
            let mut rig = Rig::new(vec![array(2), dependent]).worker(1, 8).submit();
            for (index, letter) in (0..).zip(outcomes.chars()) {
                apply(&mut rig, 0, index, letter);
            }
            assert_eq!(rig.states(1), [expected(verdict); 3], "{quantifier:?} {on:?} {outcomes}");
        }
    }
}
