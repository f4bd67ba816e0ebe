@0xd4c9a1f07b2e6835;

# The protocol of dagrun, version 1. Workers and clients dial out; only the scheduler listens.
#
# Authority is by capability: a connection begins with `Bootstrap` and nothing else. A good token
# buys either a `Client` or a `WorkerGate`; the holder of one can do nothing that the other can.
# Dropping a capability ends what it stands for.
#
# Times are microseconds since the Unix epoch, 0 for "not yet". Task names are UTF-8; paths and
# captured output are bytes. What may be missing is a union; no number or text stands for it.

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

struct SelectedInstances {
  # Consecutive instances of a task.
  task @0 :UInt32;
  first @1 :UInt32;
  count @2 :UInt32;
}

interface Client {
  submit @0 (submission :Submission) -> (id :UInt64, run :Run);
  run @1 (which :WhichRun) -> (run :Run);
  runs @2 (limit :UInt32) -> (runs :List(RunSummary));
  workers @3 () -> (workers :List(WorkerStatus));
  shutdown @4 () -> ();
  # Ends the scheduler and all its workers.
  retry @5 (id :UInt64, failedOnly :Bool, selected :List(SelectedInstances),
            with :Submission) -> (retried :Retried);
  # Submits what that run was submitted with, which must have ended. With `failedOnly` what
  # succeeded there counts as succeeded, and is not run again. With `selected` these run again, and
  # what has its data from them, and nothing else but with `failedOnly` what had not succeeded.
  # `with` is run in place of what that run was submitted with; its seed is not used.
  forget @6 (id :UInt64) -> ();
  # Takes a run out of the history, which must have ended: its records, logs and values. What a later
  # run took over from it stays.
  resume @7 (id :UInt64) -> (run :Run);
  # Goes on with a run that was interrupted: what succeeded and failed stays.
  refused @8 () -> (refused :Refused);
  # What the scheduler has refused since its start.
}

struct WhichRun {
  union {
    last @0 :Void;
    # The one submitted last.
    id @1 :UInt64;
  }
}

struct Retried {
  union {
    nothing @0 :Void;
    # All of it had succeeded.
    begun :group {
      id @1 :UInt64;
      run @2 :Run;
      takenOver @3 :UInt64;
      # So many instances had succeeded before.
    }
  }
}

struct Submission {
  pipeline @0 :Data;
  # A checked pipeline, JSON of `dagrun_core::pipeline::Pipeline`; the scheduler checks it again.
  baseDir @1 :Data;
  seed @2 :UInt64;
  failFast @3 :Bool;
  maxFail :union {
    # How many failures it bears before the rest is cancelled.
    any @4 :Void;
    count @5 :UInt32;
    part @6 :UInt32;
    # In 1/10,000 of the instances that are known.
  }
}

struct Scope {
  # How much of a run.
  union {
    run @0 :Void;
    task @1 :Text;
    instance :group {
      name @2 :Text;
      # Of the task.
      index @3 :UInt32;
    }
  }
}

interface Run {
  status @0 () -> (status :RunStatus);
  watch @1 (observer :Observer, detailed :Bool) -> (subscription :Subscription);
  # With `detailed`, updates name the instances that have ended.
  cancel @2 (scope :Scope) -> ();
  instances @3 (first :Instance, limit :UInt32, failedOnly :Bool) -> (page :InstancePage);
  value @4 (task :Text, index :UInt32, offset :UInt64, limit :UInt32)
      -> (data :Data, total :UInt64);
  # A part of a value, of at most so many bytes; `total` is the length of the whole.
  logs @5 (scope :Scope, cursor :Data, failedOnly :Bool) -> (page :LogPage);
  # `cursor` is opaque, empty to begin with.
  pipeline @6 () -> (submission :Submission);
  explain @7 (task :Text, index :UInt32) -> (lines :List(Text));
  # Why an instance is in its state, and how each of its attempts went; for people to read.
  results @8 (task :UInt32, first :UInt32, limit :UInt32) -> (results :List(InstanceResult));
  # Up to `limit` instances of a task with their values, fewer when these are long.
  command @9 (instance :Instance) -> (argv :List(Data));
  # What the last attempt of an instance was to start.
  interrupt @10 () -> ();
  # Ends what runs, because its scheduler is about to end: the run becomes interrupted.
  times @11 () -> (tasks :List(TaskTimes));
  # How long instances took, for each task; from what is on disk.
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
  waiting @7 :Text;
  # Why nothing of the run is started for now; empty otherwise.
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
  instance @0 :Instance;
  reason @1 :Text;
  stderrTail @2 :Data;
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
  tags @8 :List(Text);
  # `NAME` or `NAME=VALUE`.
}

struct RunStatus {
  id @0 :UInt64;
  name @1 :Text;
  state @2 :UInt8;
  started @3 :UInt64;
  finished @4 :UInt64;
  tasks @5 :List(TaskStatus);
  waiting @6 :Text;
  # Why nothing of it is started for now; empty otherwise.
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

struct TaskTimes {
  # Of the last attempts of instances that succeeded or failed in this run. Times in microseconds.
  instances @0 :UInt32;
  started @1 :UInt64;
  finished @2 :UInt64;
  # The first start and the last end; 0 where there is no instance.
  mean @3 :UInt64;
  longest @4 :UInt64;
  retried @5 :UInt32;
  # How many of them took more than one attempt.
}

struct Instance {
  task @0 :UInt32;
  index @1 :UInt32;
}

struct InstancePage {
  # In task and index order.
  rows @0 :List(InstanceRow);
  union {
    end @1 :Void;
    next @2 :Instance;
    # Where the next page begins.
  }
}

struct InstanceRow {
  instance @0 :Instance;
  state @1 :UInt8;
  attempts @2 :UInt32;
  started @3 :UInt64;
  finished @4 :UInt64;
  reason @5 :Text;
  worker :union {
    nobody @6 :Void;
    name @7 :Text;
  }
  exit :union {
    unknown @8 :Void;
    code @9 :Int32;
  }
}

struct InstanceResult {
  row @0 :InstanceRow;
  detail @1 :Data;
  value :union {
    none @2 :Void;
    some @3 :Data;
  }
  outputs @4 :List(Data);
}

struct LogPage {
  chunks @0 :List(LogChunk);
  cursor @1 :Data;
  more @2 :Bool;
  # False at the present end.
}

struct LogChunk {
  instance @0 :Instance;
  attempt @1 :UInt32;
  stream @2 :Stream;
  at @3 :UInt64;
  bytes @4 :Data;
}

enum Stream {
  stdout @0;
  stderr @1;
  note @2;
  # A note of dagrun's.
}

struct WorkerStatus {
  id @0 :UInt32;
  name @1 :Text;
  host @2 :Text;
  offer @3 :Offer;
  running @4 :UInt32;
  lastHeartbeat @5 :UInt64;
  note @6 :Text;
  # Why it is given less than it offers; empty otherwise.
}

struct Refused {
  logins @0 :UInt64;
  # Wrong secrets.
  strangers @1 :UInt64;
  # Connections that had to give way before they had logged in.
  messages @2 :UInt64;
  # Too large, or no messages at all: each ended its connection.
  sessions @3 :UInt64;
  # Registrations beyond those that a line of a worker may have.
  requests @4 :UInt64;
  # How often nothing more was read of a connection that had not read its answers.
  reports @5 :UInt64;
  # Of attempts that were not their worker's, or no longer.
}

struct Offer {
  slots @0 :UInt32;
  labels @1 :List(Text);
  memory @2 :UInt64;
  # Bytes.
  resources @3 :List(Resource);
}

struct Resource {
  name @0 :Text;
  amount @1 :UInt64;
}

# ---------------------------------------------------------------------------------- workers

interface WorkerGate {
  register @0 (registration :Registration, worker :Worker)
      -> (session :Session, id :UInt32, name :Text, lease :UInt64, returned :Bool);
  # `lease` is for how long the worker may publish what it makes without hearing from the scheduler,
  # in microseconds; 0: as long as its line stands. `returned`: what it has is still its own, but for
  # what is revoked over this line. If not, all of it is void.
}

struct Registration {
  # What a worker says of itself.
  name @0 :Text;
  # Empty: the scheduler picks one.
  host @1 :Text;
  pid @2 :UInt32;
  offer @3 :Offer;
  functions @4 :List(Function);
  values @5 :Door;
  uid @6 :Text;
  # What tells it from any other worker, as long as it lives: ASCII letters and digits. Empty for one
  # that lives and dies with its line.
  serial @7 :UInt32;
  # How often it has registered before: an older registration that arrives later is void.
  lock @8 :Data;
  # A file that it holds locked as long as it lives, for a scheduler on the same host. Or empty.
  held @9 :List(AttemptRange);
  # The attempts that it has, waiting, running or with an end that is still to be acknowledged.
  runs @10 :List(UInt64);
  # The runs of which it has anything.
  leaving @11 :Bool;
  # It takes nothing new.
  claims @12 :List(ClaimedAttempts);
  # What of these attempts it can name, for a scheduler that did not hand them out but goes on with their
  # runs.
}

struct ClaimedAttempts {
  run @0 :UInt64;
  task @1 :UInt32;
  firstIndex @2 :UInt32;
  count @3 :UInt32;
  # Consecutive instances, with attempts of consecutive ids.
  firstAttempt @4 :UInt64;
  number @5 :UInt32;
  memory @6 :UInt64;
  started @7 :UInt64;
  # 0: they wait.
  ended @8 :Bool;
  # Their reports follow, as these have not been acknowledged.
}

struct AttemptRange {
  first @0 :UInt64;
  count @1 :UInt32;
}

struct Door {
  # Where a worker gives values to others.
  union {
    closed @0 :Void;
    open :group {
      address @1 :Text;
      # `ADDRESS:PORT`.
      secret @2 :Data;
      # What they must know, 32 bytes.
    }
  }
}

struct Function {
  name @0 :Text;
  signature @1 :UInt64;
}

interface Session {
  report @0 (reports :List(Report), number :UInt64) -> ();
  # `number` counts the calls of a worker from 1, over all its sessions.
  heartbeat @1 (progress :List(AttemptProgress), short :Text) -> (acknowledged :UInt64);
  # With the progress that functions have reported since the last one. All reports up to the number
  # `acknowledged` are on the scheduler's disk, and need not be kept any more. `short` says what its
  # machine is short of, so that nothing more is to be handed out; empty: of nothing.
  leaving @2 () -> ();
  # Hand out nothing more: the worker ends soon.
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
  # All other workers that offer values, in place of the list before; and with a closed door those
  # that were lost lately.
  release @5 (run :UInt64, values :List(Instance)) -> ();
  # The values of these will not be needed again.
}

struct Peer {
  id @0 :UInt32;
  name @1 :Text;
  values @2 :Door;
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
  announce @7 :Bool;
  # An attempt of it may have ended a worker: its start is reported before it begins, so that it can
  # be blamed.
  fenced @8 :List(FencedAttempt);
  # Earlier attempts that may still run elsewhere: what they write must not get to its place.
  memory @9 :UInt64;
  # Bytes of memory that each of them asks for; 0: none.
}

struct FencedAttempt {
  worker @0 :Text;
  # The uid of its worker.
  number @1 :UInt32;
}

struct Input {
  outputs @0 :List(Data);
  value :union {
    none @1 :Void;
    some @2 :Data;
  }
}

struct Report {
  first @0 :UInt64;
  count @1 :UInt32;
  started @2 :UInt64;
  finished @3 :UInt64;
  detail @4 :Detail;
  # Null when there is nothing to add.
  outcome :union {
    started @5 :Void;
    succeeded @6 :Void;
    returned @7 :Void;
    exit @8 :Int32;
    # Its exit code.
    signal @9 :Int32;
    timeout @10 :Void;
    lost @11 :Void;
    start @12 :Void;
    missingOutput @13 :Void;
    capture @14 :Void;
    cancelled @15 :Void;
    function @16 :Void;
    panic @17 :Void;
    scarce @18 :Void;
    # It was not started, as the machine was short of something.
    missing @19 :Void;
    # It was not started, as what it executes is not there.
    preempted @20 :Void;
    # Its worker ended it, because it leaves.
    memory @21 :Void;
    # It used more memory than it asked for, or memory ran out.
    value @22 :UInt64;
    # It was not started, as the value of this instance is not where it was: the number of its task, and
    # below it 32 bits of its index.
  }
}

struct Detail {
  reason @0 :Text;
  stderrTail @1 :Data;
  outputs @2 :List(Data);
  value :union {
    none @3 :Void;
    some @4 :Data;
  }
  stamps @5 :List(Stamp);
  # Empty, or one for each output of the task.
}

struct Stamp {
  union {
    unknown @0 :Void;
    # It is at a URL.
    directory @1 :Void;
    file :group {
      bytes @2 :UInt64;
      modified @3 :Int64;
      # Nanoseconds since 1970-01-01 UTC.
    }
    tree :group {
      # A directory that is to be removed, with all that is in it.
      entries @4 :UInt64;
      total @5 :UInt64;
      # The size of all files in it, in bytes.
      newest @6 :Int64;
      # As `modified`.
    }
  }
}
