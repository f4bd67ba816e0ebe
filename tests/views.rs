//! Views, end to end: several workers in this process, calls and values on those that are chosen.

use std::time::Duration;

use bytes::Bytes;
use dagrun::State;
use dagrun::{Cluster, Context, Dag, Error, ShelfError, View};

#[dagrun::task]
fn name_of_worker(context: &Context) -> String {
    context.worker().to_owned()
}

#[dagrun::task]
fn place_of(x: u32, context: &Context) -> (u32, String) {
    (x, context.worker().to_owned())
}

#[dagrun::task]
fn scaled(x: f64, context: &Context) -> Result<f64, ShelfError> {
    Ok(x * context.get::<f64>("factor")?)
}

#[dagrun::task]
fn square_the_numbers(context: &Context) -> Result<(), ShelfError> {
    let numbers: Vec<u64> = context.get("numbers")?;
    context.set("squares", &numbers.iter().map(|x| x * x).collect::<Vec<_>>())
}

#[dagrun::task]
fn refuse_on(worker: String, context: &Context) -> Result<(), String> {
    match context.worker() == worker {
        true => Err(format!("{worker} does not want to")),
        false => Ok(()),
    }
}

#[dagrun::task]
fn long(size: usize) -> Bytes {
    Bytes::from(vec![7; size])
}

#[dagrun::task]
fn length(bytes: Bytes) -> usize {
    bytes.len()
}

fn cluster(workers: u32) -> Cluster {
    Cluster::builder().workers(workers).slots(1).start().unwrap()
}

fn names(view: &View) -> Vec<String> {
    view.workers().wait().unwrap().to_vec()
}

#[test]
fn a_cluster_has_the_workers_that_were_asked_for() {
    let cluster = cluster(3);
    let mut workers = cluster.workers().wait().unwrap();
    workers.sort_by_key(|worker| worker.id);
    let found: Vec<_> =
        workers.iter().map(|worker| (worker.name.as_str(), worker.offer.slots)).collect();
    assert_eq!(found, [("w1", 1), ("w2", 1), ("w3", 1)]);
    assert_eq!(names(&cluster.view_all().wait().unwrap()), ["w1", "w2", "w3"]);
}

#[test]
fn a_view_of_a_worker_that_is_absent_is_refused() {
    let cluster = cluster(1);
    let error = cluster.view(&["w1", "w7"]).wait().unwrap_err();
    assert_eq!(error.to_string(), "no worker `w7` (present: w1)");
    let none: [&str; 0] = [];
    assert!(matches!(cluster.view(&none).wait(), Err(Error::NoWorker { .. })));
}

#[test]
fn apply_calls_once_on_each_worker_in_the_order_of_the_view() {
    let cluster = cluster(3);
    let view = cluster.view(&["w3", "w1", "w3"]).wait().unwrap();
    assert_eq!(names(&view), ["w3", "w1"]);
    assert_eq!(view.apply(name_of_worker, ()).wait().unwrap(), ["w3", "w1"]);
}

#[test]
fn a_call_that_fails_on_one_worker_is_told_with_that_worker() {
    let cluster = cluster(2);
    let view = cluster.view_all().wait().unwrap();
    match view.apply(refuse_on, ("w2",)).wait() {
        Err(Error::Failed(failed)) => {
            assert_eq!((failed.state, failed.worker.as_deref()), (State::Failed, Some("w2")));
            assert!(failed.reason.contains("w2 does not want to"), "{}", failed.reason);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_map_over_a_view_gives_each_worker_a_contiguous_part() {
    let cluster = cluster(3);
    let view = cluster.view(&["w2", "w3", "w1"]).wait().unwrap();
    let places = view.map(place_of, 0..8).wait().unwrap();
    let on = |worker: &str| -> Vec<u32> {
        places.iter().filter(|(_, name)| name == worker).map(|(x, _)| *x).collect()
    };
    assert_eq!((on("w2"), on("w3"), on("w1")), (vec![0, 1, 2], vec![3, 4, 5], vec![6, 7]));
    assert!(places.iter().map(|(x, _)| *x).eq(0..8));
    assert_eq!(view.map(place_of, 5..6).wait().unwrap(), [(5, "w2".to_owned())]);
    assert!(view.map(place_of, 0..0).wait().unwrap().is_empty());
}

#[test]
fn values_are_pushed_to_the_workers_of_the_view_only() {
    let cluster = cluster(2);
    let all = cluster.view_all().wait().unwrap();
    let second = cluster.view(&["w2"]).wait().unwrap();
    second.push("factor", &2.5).wait().unwrap();
    assert_eq!(second.apply(scaled, (4.0,)).wait().unwrap(), [10.0]);
    assert_eq!(second.pull::<f64>("factor").wait().unwrap(), [2.5]);
    match all.apply(scaled, (4.0,)).wait() {
        Err(Error::Failed(failed)) => {
            assert_eq!(failed.worker.as_deref(), Some("w1"));
            assert!(failed.reason.contains("worker w1 has no value called `factor`"), "{failed}");
        }
        other => panic!("{other:?}"),
    }
    all.broadcast("factor", &0.5).wait().unwrap();
    assert_eq!(all.apply(scaled, (4.0,)).wait().unwrap(), [2.0, 2.0]);
    assert_eq!(second.remove("factor").wait().unwrap(), [true]);
    assert_eq!(all.remove("factor").wait().unwrap(), [true, false]);
    assert!(matches!(all.pull::<f64>("factor").wait(), Err(Error::Failed(_))));
}

#[test]
fn what_is_scattered_is_worked_on_and_gathered_again() {
    let cluster = cluster(3);
    let view = cluster.view(&["w3", "w1", "w2"]).wait().unwrap();
    view.scatter("numbers", (0..10u64).collect()).wait().unwrap();
    let parts = view.pull::<Vec<u64>>("numbers").wait().unwrap();
    assert_eq!(parts, [vec![0, 1, 2, 3], vec![4, 5, 6], vec![7, 8, 9]]);
    view.apply(square_the_numbers, ()).wait().unwrap();
    let squares = view.gather::<u64>("squares").wait().unwrap();
    assert!(squares.into_iter().eq((0..10).map(|x| x * x)));
    view.scatter("numbers", vec![1u64]).wait().unwrap();
    assert_eq!(view.gather::<u64>("numbers").wait().unwrap(), [1]);
    assert!(matches!(view.pull::<String>("numbers").wait(), Err(Error::Value { .. })));
}

#[test]
fn values_of_all_kinds_come_back_as_they_were() {
    let cluster = cluster(2);
    let view = cluster.view_all().wait().unwrap();
    let bytes = Bytes::from((0..300_000u32).map(|at| (at % 251) as u8).collect::<Vec<_>>());
    view.push("bytes", &bytes).wait().unwrap();
    assert_eq!(view.pull::<Bytes>("bytes").wait().unwrap(), [bytes.clone(), bytes]);
    let numbers: Vec<f64> = (0..50_000).map(|at| f64::from(at) / 7.0).collect();
    view.push("numbers", &numbers).wait().unwrap();
    assert_eq!(view.pull::<Vec<f64>>("numbers").wait().unwrap(), [numbers.clone(), numbers]);
    view.push("nan", &f64::NAN).wait().unwrap();
    assert!(view.pull::<f64>("nan").wait().unwrap().iter().all(|x| x.is_nan()));
    view.push("text", &"tab\tand \"quotes\"".to_owned()).wait().unwrap();
    let text = view.pull::<String>("text").timeout(Duration::from_secs(60)).wait().unwrap();
    assert_eq!(text, ["tab\tand \"quotes\"", "tab\tand \"quotes\""]);
}

#[test]
fn load_balanced_calls_stay_among_the_workers_of_their_view() {
    let cluster = cluster(3);
    let some = cluster.view(&["w1", "w3"]).wait().unwrap().load_balanced();
    let places: Result<Vec<_>, Error> = some.map(place_of, 0..200).collect();
    let places = places.unwrap();
    assert!(places.iter().map(|(x, _)| *x).eq(0..200));
    assert!(places.iter().all(|(_, worker)| worker == "w1" || worker == "w3"));
    let one = cluster.view(&["w2"]).wait().unwrap().load_balanced();
    assert_eq!(one.apply(name_of_worker, ()).wait().unwrap(), "w2");
    let anywhere = cluster.load_balanced();
    assert_eq!(anywhere.apply(place_of, (7,)).wait().unwrap().0, 7);
    assert_eq!(anywhere.map(place_of, 0..20).filter_map(Result::ok).count(), 20);
}

#[test]
fn workers_of_one_process_hand_long_values_to_each_other() {
    let cluster = cluster(2);
    let dag = Dag::new("long");
    let made = dag.task(long, (1_000_000,)).targets(["w1"]);
    let there = dag.task(length, (&made,)).targets(["w2"]);
    let run = cluster.submit(&dag).wait().unwrap();
    assert_eq!(run.result(&there).wait().unwrap(), 1_000_000);
    assert_eq!(run.instances(&there).wait().unwrap()[0].worker.as_deref(), Some("w2"));
}
