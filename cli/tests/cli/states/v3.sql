-- The tables of version 3, and what that version wrote into them.
CREATE TABLE runs (
    run        INTEGER PRIMARY KEY AUTOINCREMENT,
    name       TEXT NOT NULL,
    pipeline   BLOB NOT NULL,
    base_dir   BLOB NOT NULL,
    seed       INTEGER NOT NULL,
    fail_fast  INTEGER NOT NULL,
    state      INTEGER NOT NULL,
    started    INTEGER NOT NULL,
    finished   INTEGER,
    owner      INTEGER NOT NULL
) STRICT;

CREATE TABLE tasks (
    run        INTEGER NOT NULL,
    task       INTEGER NOT NULL,
    name       TEXT NOT NULL,
    width      INTEGER NOT NULL,
    succeeded  INTEGER,
    failed     INTEGER,
    skipped    INTEGER,
    cancelled  INTEGER,
    PRIMARY KEY (run, task)
) WITHOUT ROWID, STRICT;

CREATE TABLE workers (
    worker     INTEGER PRIMARY KEY AUTOINCREMENT,
    name       TEXT NOT NULL,
    host       TEXT NOT NULL,
    joined     INTEGER NOT NULL,
    left_at    INTEGER
) STRICT;

CREATE TABLE events (
    run         INTEGER NOT NULL,
    task        INTEGER NOT NULL,
    first_index INTEGER NOT NULL,
    seq         INTEGER NOT NULL,
    count       INTEGER NOT NULL,
    state       INTEGER NOT NULL,
    attempt     INTEGER NOT NULL,
    worker      INTEGER,
    started     INTEGER NOT NULL,
    finished    INTEGER NOT NULL,
    cause       INTEGER,
    code        INTEGER,
    root_task   INTEGER,
    root_index  INTEGER,
    reason      TEXT,
    stderr_tail BLOB,
    value       BLOB,
    outputs     BLOB,
    PRIMARY KEY (run, task, first_index, seq)
) WITHOUT ROWID, STRICT;

CREATE INDEX events_long ON events (run, task, first_index, count) WHERE count > 64;
CREATE INDEX events_failed ON events (run, task, first_index) WHERE state = 5;
ALTER TABLE tasks ADD COLUMN known INTEGER NOT NULL DEFAULT 1;
ALTER TABLE tasks ADD COLUMN duration INTEGER;
CREATE INDEX runs_by_name ON runs (name) WHERE finished IS NOT NULL;
DROP VIEW IF EXISTS attempts;
CREATE VIEW attempts AS
SELECT e.run, t.name AS task, e.first_index, e.count,
       CASE e.state WHEN 1 THEN 'ready' WHEN 2 THEN 'leased' WHEN 3 THEN 'backoff' WHEN 4 THEN 'succeeded'
                    WHEN 5 THEN 'failed' WHEN 6 THEN 'skipped' WHEN 7 THEN 'cancelled' END AS state,
       e.attempt, w.name AS worker, e.started, e.finished, e.reason, e.value
FROM events e
JOIN tasks t ON t.run = e.run AND t.task = e.task
LEFT JOIN workers w ON w.worker = e.worker;

-- A run with an instance that failed, and a task that was skipped for it.
ALTER TABLE tasks ADD COLUMN leased INTEGER NOT NULL DEFAULT 4294967295;
ALTER TABLE tasks ADD COLUMN widened INTEGER NOT NULL DEFAULT 0;
CREATE TABLE starts (
    epoch      INTEGER PRIMARY KEY AUTOINCREMENT,
    at         INTEGER NOT NULL,
    process    INTEGER NOT NULL
) STRICT;
CREATE TABLE notes (
    run         INTEGER NOT NULL,
    seq         INTEGER NOT NULL,
    at          INTEGER NOT NULL,
    kind        INTEGER NOT NULL,
    task        INTEGER,
    first_index INTEGER,
    PRIMARY KEY (run, seq)
) WITHOUT ROWID, STRICT;

INSERT INTO runs (run, name, pipeline, base_dir, seed, fail_fast, state, started, finished, owner)
VALUES (1, 'old', CAST('{"name":"old","vars":[],"tasks":[{"name":"price","action":{"run":[[{"literal":"sh"}],[{"literal":"-c"}],[{"literal":"[ \"$1\" != 2 ] || [ -e go ] || exit 3; echo \"$1$1\""}],[{"literal":"sh"}],[{"placeholder":{"param":["x",[]]}}]]},"sweep":{"axes":[{"name":"x","names":["x"],"points":{"rows":[[{"number":"1"}],[{"number":"2"}],[{"number":"3"}]]}}]},"capture":"text"},{"name":"sum","action":{"run":[[{"literal":"cp"}],[{"placeholder":{"manifest":0}}],[{"placeholder":{"out":0}}]]},"pattern":{"gather":[0]},"outputs":[["all",[{"literal":"all.jsonl"}]]]}]}' AS BLOB), CAST('/' AS BLOB), 7, 0, 2, 1763715600000000, 1763715609000000, 4194303);
INSERT INTO tasks (run, task, name, width, succeeded, failed, skipped, cancelled)
VALUES (1, 0, 'price', 3, 2, 1, 0, 0), (1, 1, 'sum', 1, 0, 0, 1, 0);
INSERT INTO workers (worker, name, host, joined, left_at)
VALUES (1, 'w1', 'host', 1763715600000000, 1763715609000000);
INSERT INTO events (run, task, first_index, seq, count, state, attempt, worker, started, finished, cause, code,
    root_task, root_index, reason, stderr_tail, value)
VALUES
    (1, 0, 0, 1, 1, 4, 1, 1, 1763715601000000, 1763715602000000, NULL, NULL, NULL, NULL, NULL, NULL, CAST('"11"' AS BLOB)),
    (1, 0, 1, 2, 1, 5, 1, 1, 1763715602000000, 1763715603000000, 1, 3, NULL, NULL, 'exit code 3', CAST('no' AS BLOB), NULL),
    (1, 1, 0, 3, 1, 6, 0, NULL, 0, 1763715603000000, 21, NULL, 0, 1, NULL, NULL, NULL),
    (1, 0, 2, 4, 1, 4, 1, 1, 1763715603000000, 1763715604000000, NULL, NULL, NULL, NULL, NULL, NULL, CAST('"33"' AS BLOB));
UPDATE tasks SET duration = 1000000 WHERE task = 0;
PRAGMA user_version = 3;
INSERT INTO starts VALUES(1,1700000000000000,4711);
