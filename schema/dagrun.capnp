@0xd4c9a1f07b2e6835;

# The protocol of dagrun, version 1. Workers and clients dial out; only the scheduler listens.
#
# Authority is by capability: a connection begins with `Bootstrap` and nothing else. A good token
# buys either a `Client` or a `WorkerGate`; the holder of one can do nothing that the other can.
# Dropping a capability means gone.
#
# Times are microseconds since the Unix epoch, 0 for "not yet". Task names are UTF-8; paths and
# captured output are bytes.

const protocolVersion :UInt32 = 1;

interface Bootstrap {
  login @0 (token :Data, protocol :UInt32) -> (granted :Granted);
}

struct Granted {
  union {
    client @0 :Client;
    gate @1 :WorkerGate;
  }
}

# ---------------------------------------------------------------------------------- clients

interface Client {
  submit @0 (submission :Submission) -> (id :UInt64, run :Run, takenOver :UInt64);
  # `takenOver` instances had succeeded before. An id of 0, and no run: there is nothing to retry.
  run @1 (id :UInt64) -> (run :Run);
  # 0 is the last one submitted.
  runs @2 (limit :UInt32) -> (runs :List(RunSummary));
  workers @3 () -> (workers :List(WorkerStatus));
  shutdown @4 () -> ();
  # Ends the scheduler and all its workers.
}

struct Submission {
  pipeline @0 :Data;
  # A checked pipeline, JSON of `dagrun_core::pipeline::Pipeline`; the scheduler checks it again.
  baseDir @1 :Data;
  seed @2 :UInt64;
  failFast @3 :Bool;
  retryOf @4 :UInt64;
  # Not 0: submit what that run was submitted with, which must have ended; the fields before this
  # one are ignored.
  failedOnly @5 :Bool;
  # With `retryOf`: what succeeded there counts as succeeded, and is not run again.
}

interface Run {
  status @0 () -> (status :RunStatus);
  watch @1 (observer :Observer, detailed :Bool) -> (subscription :Subscription);
  # With `detailed`, updates name the instances that have ended.
  cancel @2 (task :Text, index :Int64) -> ();
  # An empty task is the whole run, a negative index the whole task.
  instances @3 (fromTask :UInt32, fromIndex :UInt32, limit :UInt32, failedOnly :Bool)
      -> (rows :List(InstanceRow), nextTask :UInt32, nextIndex :UInt32, more :Bool);
  value @4 (task :Text, index :UInt32) -> (value :Data);
  logs @5 (task :Text, index :Int64, cursor :Data, failedOnly :Bool)
      -> (chunks :List(LogChunk), cursor :Data, more :Bool);
  # `cursor` is opaque, empty to begin with. `more` is false at the present end.
  pipeline @6 () -> (submission :Submission);
  explain @7 (task :Text, index :UInt32) -> (lines :List(Text));
  # Why an instance is where it is, and how each of its attempts went; for people to read.
  valuePart @8 (task :Text, index :UInt32, offset :UInt64, limit :UInt32)
      -> (data :Data, total :UInt64);
  # A part of a value, of at most so many bytes; `total` is the length of the whole.
  results @9 (task :UInt32, first :UInt32, limit :UInt32) -> (results :List(InstanceResult));
  # Up to `limit` instances of a task with their values, fewer when these are long.
}

interface Subscription {}

interface Observer {
  update @0 (update :Update) -> ();
  # The next update is sent when this one has returned; what happens meanwhile is merged into it.
}

struct Update {
  state @0 :UInt8;
  finished @1 :UInt64;
  tasks @2 :List(TaskDelta);
  failures @3 :List(Failure);
  # At most 16 an update; the rest is in the history.
  workers @4 :UInt32;
  # Workers present.
  ended @5 :List(Ended);
  endedLost @6 :Bool;
  # More instances have ended than could be remembered: ask for all of them.
}

struct Ended {
  task @0 :UInt32;
  first @1 :UInt32;
  count @2 :UInt32;
  state @3 :UInt8;
}

struct TaskDelta {
  task @0 :UInt32;
  counts @1 :List(UInt32);
  running @2 :UInt32;
  widthUnknown @3 :Bool;
  # The number of instances is not known yet, and all counts are zero.
}

struct Failure {
  task @0 :UInt32;
  index @1 :UInt32;
  reason @2 :Text;
  stderrTail @3 :Data;
}

struct RunSummary {
  id @0 :UInt64;
  name @1 :Text;
  state @2 :UInt8;
  started @3 :UInt64;
  finished @4 :UInt64;
  instances @5 :UInt64;
  done @6 :UInt64;
  failed @7 :UInt64;
}

struct RunStatus {
  id @0 :UInt64;
  name @1 :Text;
  state @2 :UInt8;
  started @3 :UInt64;
  finished @4 :UInt64;
  tasks @5 :List(TaskStatus);
}

struct TaskStatus {
  name @0 :Text;
  counts @1 :List(UInt32);
  # By number of the state: blocked, ready, leased, backoff, succeeded, failed, skipped, cancelled.
  running @2 :UInt32;
  widthUnknown @3 :Bool;
  partial @5 :UInt32;
  # How much of those that run is done, by their own word: the sum, in thousandths of an instance.
  note @4 :Text;
  # Why its ready instances can never start with the workers present; empty otherwise.
}

struct InstanceRow {
  task @0 :UInt32;
  index @1 :UInt32;
  state @2 :UInt8;
  attempts @3 :UInt32;
  worker @4 :Text;
  started @5 :UInt64;
  finished @6 :UInt64;
  exitCode @7 :Int32;
  hasExitCode @8 :Bool;
  reason @9 :Text;
}

struct InstanceResult {
  row @0 :InstanceRow;
  value @1 :Data;
  hasValue @2 :Bool;
  detail @3 :Data;
}

struct LogChunk {
  task @0 :UInt32;
  index @1 :UInt32;
  attempt @2 :UInt32;
  stream @3 :UInt8;
  # 0 standard output, 1 standard error, 2 a note of dagrun's.
  at @4 :UInt64;
  bytes @5 :Data;
}

struct WorkerStatus {
  id @0 :UInt32;
  name @1 :Text;
  host @2 :Text;
  slots @3 :UInt32;
  running @4 :UInt32;
  labels @5 :List(Text);
  lastHeartbeat @6 :UInt64;
  memory @7 :UInt64;
  resources @8 :List(Resource);
}

struct Resource {
  name @0 :Text;
  amount @1 :UInt64;
}

# ---------------------------------------------------------------------------------- workers

interface WorkerGate {
  register @0 (info :WorkerInfo, worker :Worker) -> (session :Session, id :UInt32, name :Text);
}

struct WorkerInfo {
  name @0 :Text;
  # Empty: the scheduler picks one.
  host @1 :Text;
  pid @2 :UInt32;
  slots @3 :UInt32;
  labels @4 :List(Text);
  memory @5 :UInt64;
  # Bytes.
  resources @6 :List(Resource);
  functions @7 :List(Function);
  dataAddress @8 :Text;
  # Where other workers fetch values, `ADDRESS:PORT`; empty: nowhere.
  dataSecret @9 :Data;
  # What they must know, 32 bytes.
}

struct Function {
  name @0 :Text;
  signature @1 :UInt64;
}

interface Session {
  report @0 (reports :List(Report)) -> ();
  heartbeat @1 (progress :List(AttemptProgress)) -> ();
  # With what functions have said anew of how far they have come.
}

struct AttemptProgress {
  attempt @0 :UInt64;
  fraction @1 :Float32;
  # From 0 to 1.
}

interface Worker {
  dispatch @0 (recipes :List(Recipe), assignments :List(Assignment)) -> ();
  revoke @1 (attempts :List(UInt64), cancel :Bool) -> ();
  forget @2 (run :UInt64) -> ();
  # The run has ended: close its logs, drop its recipes, end whatever is left of its processes.
  shutdown @3 () -> ();
  peers @4 (peers :List(Peer)) -> ();
  # All other workers that offer values, in place of those told before; and without an address those
  # that have gone lately.
  release @5 (run :UInt64, values :List(Instance)) -> ();
  # Nobody will be given the values of these any more.
}

struct Peer {
  id @0 :UInt32;
  name @1 :Text;
  address @2 :Text;
  secret @3 :Data;
}

struct Instance {
  task @0 :UInt32;
  index @1 :UInt32;
}

struct Recipe {
  run @0 :UInt64;
  task @1 :UInt32;
  recipe @2 :Data;
  # JSON of `dagrun_core::recipe::Recipe`.
  logDir @3 :Data;
  # Where the worker keeps the run's logs.
}

struct Assignment {
  run @0 :UInt64;
  task @1 :UInt32;
  firstIndex @2 :UInt32;
  count @3 :UInt32;
  firstAttempt @4 :UInt64;
  number @5 :UInt32;
  inputs @6 :List(List(Input));
  # Empty, or a list per instance in index order.
}

struct Input {
  value @0 :Data;
  hasValue @1 :Bool;
  outputs @2 :List(Data);
}

struct Report {
  first @0 :UInt64;
  count @1 :UInt32;
  outcome @2 :Outcome;
  code @3 :Int32;
  # Exit code or signal.
  started @4 :UInt64;
  finished @5 :UInt64;
  detail @6 :Detail;
  # Null when there is nothing to add.
}

enum Outcome {
  started @0;
  succeeded @1;
  returned @2;
  exit @3;
  signal @4;
  timeout @5;
  lost @6;
  start @7;
  missingOutput @8;
  capture @9;
  cancelled @10;
  function @11;
  panic @12;
}

struct Detail {
  reason @0 :Text;
  stderrTail @1 :Data;
  value @2 :Data;
  hasValue @3 :Bool;
  outputs @4 :List(Data);
}
