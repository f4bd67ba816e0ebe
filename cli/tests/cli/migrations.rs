//! State directories of older versions are read as they are, and migrated by the first write; those of
//! newer ones are left alone.

use rusqlite::Connection;
use serde_json::json;

use crate::harness::Test;

/// What each version has left: the tables that it made, and a run.
const STATES: &[(i64, &str)] = &[
    (1, include_str!("states/v1.sql")),
    (2, include_str!("states/v2.sql")),
    (3, include_str!("states/v3.sql")),
];

/// A directory with the state that a version has left.
fn left_by(state: &str) -> Test {
    let test = Test::new("name = 'new'\n[task.a]\nrun = 'true'");
    std::fs::create_dir(test.path(".dagrun")).unwrap();
    let database = Connection::open(test.path(".dagrun/dagrun.db")).unwrap();
    database.execute_batch(state).unwrap();
    let here = test.path("").canonicalize().unwrap();
    let bytes = here.to_str().unwrap().trim_end_matches('/').as_bytes();
    database.execute("UPDATE runs SET base_dir = ?1", [bytes]).unwrap();
    database.close().unwrap();
    test
}

fn version(test: &Test) -> i64 {
    let database = Connection::open(test.path(".dagrun/dagrun.db")).unwrap();
    database.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap()
}

/// What everybody who looks sees of the run.
fn is_read(test: &Test) {
    let run = &test.run(&["runs", "--json"]).exits(0).json();
    let run = run.last().unwrap();
    assert_eq!((&run["name"], &run["state"]), (&json!("old"), &json!("failed")));
    assert_eq!((&run["instances"], &run["failed"]), (&json!(4), &json!(1)));
    let status = &test.run(&["status", "1", "--json"]).exits(0).json()[0];
    assert_eq!(status["tasks"][0]["succeeded"], 2);
    assert_eq!(status["tasks"][1]["skipped"], 1);
    test.run(&["status", "1", "--failed"]).exits(0).out_has("price[1]").out_has("exit code 3");
    test.run(&["output", "1", "price[0]"]).exits(0).out("11\n");
    test.run(&["table", "1", "price", "--columns", "x,state,value"])
        .exits(0)
        .out("x,state,value\n1,succeeded,11\n2,failed,\n3,succeeded,33\n");
    test.run(&["explain", "1", "sum"]).exits(0).out_has("price[1] failed");
    test.run(&["sql", "1", "SELECT sum(x) n FROM price WHERE state = 'succeeded'"])
        .exits(0)
        .out("n\n4\n");
    test.run(&["wait", "1"]).exits(1);
}

#[test]
fn what_older_versions_left_is_read_and_migrated_by_the_first_write() {
    for (old, state) in STATES {
        let test = left_by(state);
        let before = std::fs::read(test.path(".dagrun/dagrun.db")).unwrap();
        is_read(&test);
        assert_eq!(std::fs::read(test.path(".dagrun/dagrun.db")).unwrap(), before, "version {old}");
        // The run is gone on with by today's program.
        test.write("go", "");
        test.run(&["retry", "1", "--failed", "-q"]).exits(0);
        let values = "x,state,value,taken-over\n1,succeeded,11,true\n2,succeeded,22,false\n\
                      3,succeeded,33,true\n";
        test.run(&["table", "2", "price", "--columns", "x,state,value,taken-over"])
            .exits(0)
            .out(values);
        assert_eq!(test.read("all.jsonl").lines().count(), 3);
        is_read(&test);
        // It is as one that was made today.
        let fresh = Test::new("[task.a]\nrun = 'true'");
        fresh.submit(&["-q"]).exits(0);
        assert_eq!(tables(&test), tables(&fresh), "version {old}");
    }
}

/// The tables, views and indices of a database, with their columns.
fn tables(test: &Test) -> Vec<(String, String)> {
    let database = Connection::open(test.path(".dagrun/dagrun.db")).unwrap();
    let sql = "SELECT m.name, group_concat(c.name || ' ' || c.type || ' ' || c.\"notnull\", ', ')
        FROM sqlite_schema m JOIN pragma_table_xinfo(m.name) c
        WHERE m.name NOT LIKE 'sqlite%' GROUP BY m.name
        UNION SELECT name, sql FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL
        UNION SELECT 'version', user_version FROM pragma_user_version ORDER BY 1, 2";
    let mut statement = database.prepare(sql).unwrap();
    let row = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get::<_, rusqlite::types::Value>(1)?));
    let rows = statement.query_map([], row).unwrap();
    rows.map(|row| row.map(|(name, of): (String, _)| (name, format!("{of:?}"))).unwrap()).collect()
}

#[test]
fn a_migration_is_done_as_a_whole_or_not_at_all() {
    for (old, state) in STATES {
        let test = left_by(state);
        // What it is about to make is there already, so that it fails on the way.
        let database = Connection::open(test.path(".dagrun/dagrun.db")).unwrap();
        let newest: i64 = {
            let fresh = Test::new("[task.a]\nrun = 'true'");
            fresh.submit(&["-q"]).exits(0);
            version(&fresh)
        };
        if *old == newest {
            continue;
        }
        let last = match newest {
            2 => "CREATE VIEW runs_by_name AS SELECT 1 AS one",
            3 => "CREATE VIEW notes AS SELECT 1 AS one",
            _ => "ALTER TABLE workers ADD COLUMN lock BLOB",
        };
        database.execute_batch(last).unwrap();
        let before = format!("{:?}", tables(&test));
        database.close().unwrap();
        test.submit(&["-q"]).exits(1).err_has("dagrun.db");
        assert_eq!((version(&test), format!("{:?}", tables(&test))), (*old, before));
        is_read(&test);
    }
}

#[test]
fn what_a_newer_version_left_is_left_alone() {
    let test = left_by(STATES[0].1);
    let database = Connection::open(test.path(".dagrun/dagrun.db")).unwrap();
    database.execute_batch("PRAGMA user_version = 1000; CREATE TABLE more (x)").unwrap();
    database.close().unwrap();
    let before = std::fs::read(test.path(".dagrun/dagrun.db")).unwrap();
    for words in [
        &["runs"][..],
        &["status"],
        &["status", "1"],
        &["submit", "-q"],
        &["retry", "1", "--failed"],
        &["clean"],
        &["cancel", "1"],
        &["output", "1", "price"],
    ] {
        let outcome = test.run(words);
        assert_ne!(outcome.status.code(), Some(0), "{words:?}");
        outcome.err_has("was written by a newer dagrun").err_has("1000").err_has("dagrun.db");
    }
    assert_eq!(std::fs::read(test.path(".dagrun/dagrun.db")).unwrap(), before);
    // Beside it there is space for another.
    test.submit(&["-q", "--state-dir", "beside"]).exits(0);
}
