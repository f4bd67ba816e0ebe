//! Grids against nested loops.

use std::collections::BTreeSet;

use dagrun_core::space::{Axis, Ends, Grid, Points, Space, SpaceError};
use dagrun_core::value::Value;
use proptest::prelude::*;

fn number<T: ToString + Copy>(text: T) -> Value {
    Value::Number(text.to_string())
}

fn rows(name: &str, values: &[i32]) -> Axis {
    let rows = values.iter().map(|value| vec![number(value)]).collect();
    Axis { name: name.to_owned(), names: vec![name.to_owned()], points: Points::Rows(rows) }
}

fn row(pairs: &[(&str, Value)]) -> Vec<(String, Value)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
}

fn all(grid: &Grid) -> Vec<Vec<(String, Value)>> {
    (0..grid.width()).map(|index| grid.params(index)).collect()
}

/// The meaning of a space, written as loops.
fn reference(space: &Space, lengths: &[usize]) -> Vec<Vec<(String, Value)>> {
    let group_of =
        |axis: usize| space.zip.iter().position(|group| group.contains(&space.axes[axis].name));
    let mut points = vec![vec![0usize; lengths.len()]];
    let mut done = BTreeSet::new();
    for axis in 0..lengths.len() {
        if done.contains(&axis) {
            continue;
        }
        let members: Vec<usize> = match group_of(axis) {
            Some(group) => {
                (0..lengths.len()).filter(|&other| group_of(other) == Some(group)).collect()
            }
            None => vec![axis],
        };
        done.extend(members.iter().copied());
        let mut next = Vec::new();
        for point in &points {
            for at in 0..lengths[axis] {
                let mut point = point.clone();
                members.iter().for_each(|&member| point[member] = at);
                next.push(point);
            }
        }
        points = next;
    }
    let value = |axis: usize, at: usize| {
        let axis = &space.axes[axis];
        let Points::Rows(rows) = &axis.points else { panic!("rows only") };
        (axis.name.clone(), rows[at][0].clone())
    };
    let points = points.iter().map(|point| {
        point.iter().enumerate().map(|(axis, &at)| value(axis, at)).collect::<Vec<_>>()
    });
    let excluded = |point: &Vec<(String, Value)>| {
        let meets = |(name, wanted): &(String, Value)| {
            point.iter().any(|(known, value)| known == name && value.same_value(wanted))
        };
        space.exclude.iter().any(|row| row.iter().all(meets))
    };
    let mut points: Vec<_> = points.filter(|point| !excluded(point)).collect();
    for row in &space.include {
        let find = |axis: &Axis| row.iter().find(|(name, _)| *name == axis.name).unwrap().clone();
        points.push(space.axes.iter().map(find).collect());
    }
    points
}

fn any_space() -> impl Strategy<Value = (Space, Vec<usize>)> {
    let axes = proptest::collection::vec(proptest::collection::vec(0i32..5, 0..6), 1..5);
    let zip = any::<(u8, u8)>();
    let exclude =
        proptest::collection::vec(proptest::collection::vec((0usize..4, 0i32..5), 1..4), 0..4);
    let include = proptest::collection::vec([0i32..9, 0i32..9, 0i32..9, 0i32..9], 0..3);
    (axes, zip, exclude, include).prop_map(|(mut values, zip, exclude, include)| {
        let count = values.len();
        let (one, two) = (zip.0 as usize % count, zip.1 as usize % count);
        let name = |at: usize| format!("p{at}");
        let mut groups = Vec::new();
        if one != two {
            values[two] = values[one].iter().map(|value| value + 1).collect();
            groups.push(vec![name(one), name(two)]);
        }
        let lengths = values.iter().map(Vec::len).collect();
        let space = Space {
            axes: values.iter().enumerate().map(|(at, values)| rows(&name(at), values)).collect(),
            zip: groups,
            exclude: exclude
                .into_iter()
                .map(|row| {
                    row.iter()
                        .map(|(at, v)| (name(at % count), number(&format!("{v}.0"))))
                        .collect()
                })
                .collect(),
            include: include
                .into_iter()
                .map(|row| (0..count).rev().map(|at| (name(at), number(row[at]))).collect())
                .collect(),
        };
        (space, lengths)
    })
}

proptest! {
    #[test]
    fn a_grid_is_what_loops_give((space, lengths) in any_space()) {
        let grid = space.compile().unwrap();
        prop_assert_eq!(all(&grid), reference(&space, &lengths));
        prop_assert!(grid.params(grid.width()).is_empty());
        let json = serde_json::to_string(&grid).unwrap();
        let back: Grid = serde_json::from_str(&json).unwrap();
        prop_assert_eq!(all(&back), all(&grid));
        // Every point that shares its texts with another is known as a duplicate.
        let texts: Vec<Vec<_>> =
            all(&grid).iter().map(|point| point.iter().map(|(_, v)| v.to_text()).collect()).collect();
        for index in 0..grid.width() {
            let same = texts.iter().filter(|other| **other == texts[index as usize]).count();
            if same > 1 {
                prop_assert!(grid.is_duplicate(grid.point(index).unwrap()), "{}", index);
            }
        }
    }
}

#[test]
fn a_million_points_take_no_memory() {
    let range = |name: &str| Axis {
        name: name.to_owned(),
        names: vec![name.to_owned()],
        points: Points::range("0..1000", None).unwrap(),
    };
    let mut space = Space { axes: vec![range("a"), range("b"), range("c")], ..Space::default() };
    let grid = space.compile().unwrap();
    assert_eq!(grid.width(), 1_000_000_000);
    let point = row(&[("a", number(999)), ("b", number(999)), ("c", number(999))]);
    assert_eq!(grid.params(999_999_999), point);
    space.axes.truncate(2);
    space.exclude = vec![row(&[("a", number(500))]), row(&[("b", number("1e2"))])];
    let grid = space.compile().unwrap();
    assert_eq!(grid.width(), 999 * 999);
    assert_eq!(grid.params(999 * 999 - 1), point[..2]);
}

#[test]
fn tables_are_one_axis() {
    let table = Axis {
        name: "points".to_owned(),
        names: vec!["x".to_owned(), "y".to_owned()],
        points: Points::Rows(vec![
            vec![number(1), Value::String("1e-9".into())],
            vec![number(2), Value::String("b".into())],
        ]),
    };
    let mut space = Space { axes: vec![table, rows("z", &[7, 8])], ..Space::default() };
    let grid = space.compile().unwrap();
    assert_eq!(grid.names(), ["x", "y", "z"]);
    assert_eq!(grid.width(), 4);
    let last = row(&[("x", number(2)), ("y", Value::String("b".into())), ("z", number(8))]);
    assert_eq!(grid.params(3), last);
    space.zip = vec![vec!["points".to_owned(), "z".to_owned()]];
    assert_eq!(space.compile().unwrap().params(1), last);
    // A cell of a table is text, an exclude row has numbers.
    space.exclude = vec![row(&[("y", number("1.0e-9"))])];
    assert_eq!(space.compile().unwrap().width(), 1);
}

#[test]
fn include_alone_makes_a_space() {
    let include = vec![row(&[("a", number(1))]), row(&[("a", number(2))])];
    let space = Space { include, ..Space::default() };
    assert_eq!(space.compile().unwrap().width(), 2);
    assert_eq!(Space::default().compile().unwrap().width(), 1);
}

#[test]
fn each_mistake_has_its_error() {
    let error = |change: &dyn Fn(&mut Space)| {
        let axes = vec![rows("a", &[1, 2]), rows("b", &[1, 2, 3])];
        let mut space = Space { axes, ..Space::default() };
        change(&mut space);
        space.compile().unwrap_err()
    };
    let name = |text: &str| text.to_owned();
    assert_eq!(
        error(&|space| space.zip = vec![vec![name("a"), name("b")]]),
        SpaceError::ZipLengths { group: 0, lengths: vec![2, 3] }
    );
    assert_eq!(
        error(&|space| space.zip = vec![vec![name("a"), name("c")]]),
        SpaceError::ZipUnknown { group: 0, member: 1, name: name("c") }
    );
    assert_eq!(
        error(&|space| space.zip = vec![vec![name("a")], vec![name("a")]]),
        SpaceError::ZipTwice { group: 1, member: 0, name: name("a") }
    );
    assert_eq!(
        error(&|space| space.axes.push(rows("a", &[]))),
        SpaceError::DuplicateName { name: name("a"), first: 0, second: 2 }
    );
    assert_eq!(
        error(&|space| space.exclude = vec![row(&[("c", number(1))])]),
        SpaceError::ExcludeUnknown { row: 0, name: name("c") }
    );
    assert_eq!(error(&|space| space.exclude = vec![vec![]]), SpaceError::ExcludeEmpty { row: 0 });
    assert_eq!(
        error(&|space| space.include = vec![row(&[("a", number(1))])]),
        SpaceError::IncludeMissing { row: 0, name: name("b") }
    );
    assert_eq!(
        error(&|space| space.include = vec![row(&[("c", number(1))])]),
        SpaceError::IncludeUnknown { row: 0, name: name("c") }
    );
    let huge = |name: &str| Axis {
        name: name.to_owned(),
        names: vec![name.to_owned()],
        points: Points::range("0..70000", None).unwrap(),
    };
    assert_eq!(error(&|space| space.axes = vec![huge("a"), huge("b")]), SpaceError::TooWide);
    let ends = |from, to, n| Points::Geomspace(Ends { from, to, n });
    for points in [ends(0.0, 1.0, 3), ends(-1.0, 1.0, 3), ends(1.0, 2.0, 1), ends(1.0, f64::NAN, 2)]
    {
        let found = error(&|space| space.axes[1].points = points.clone());
        assert!(matches!(found, SpaceError::Axis { axis: 1, .. }), "{found}");
    }
}
