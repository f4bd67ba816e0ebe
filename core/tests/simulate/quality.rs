//! How close the schedules come to the best possible ones, on graphs small enough to compute these.

use dagrun_core::engine::RunPlan;
use dagrun_core::ids::{InstanceId, Micros};
use dagrun_core::simulate::simulate;

use crate::{after, array, cluster, plan};

/// Pseudo-random numbers (SplitMix64), the same on every machine.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}

/// Tasks of one instance each, whose upstreams come before them.
struct Graph {
    durations: Vec<u64>,
    upstreams: Vec<Vec<usize>>,
    slots: u32,
}

impl Graph {
    /// From 2 to 10 tasks, from sparse to dense, on 2 or 3 slots.
    fn random(random: &mut Random) -> Graph {
        let tasks = 2 + random.below(9) as usize;
        let density = 10 + random.below(50);
        let upstreams = (0..tasks)
            .map(|task| (0..task).filter(|_| random.below(100) < density).collect())
            .collect();
        // Half of the graphs have durations alike, the other half skewed ones.
        let skewed = random.below(2) == 1;
        let durations = (0..tasks)
            .map(|_| {
                let scale = if skewed { 10_000 << random.below(8) } else { 1_000_000 };
                1 + scale / 2 + random.below(scale)
            })
            .collect();
        Graph { durations, upstreams, slots: 2 + random.below(2) as u32 }
    }

    fn plan(&self) -> RunPlan {
        let upstreams = self.upstreams.iter().map(|list| {
            let list: Vec<u32> = list.iter().map(|task| *task as u32).collect();
            if list.is_empty() { array(1) } else { after(&list) }
        });
        plan(upstreams.collect())
    }

    /// The makespan on as many workers of one slot each, or on one worker that has them all.
    fn simulated(&self, one_worker: bool) -> u64 {
        let cluster = match one_worker {
            true => cluster(1, self.slots),
            false => cluster(self.slots, 1),
        };
        let durations = |instance: InstanceId| Micros(self.durations[instance.task.at()]);
        simulate(&self.plan(), cluster, &durations).unwrap().makespan.0
    }

    /// For each task its longest path to the end, itself included.
    fn tails(&self) -> Vec<u64> {
        let mut tails = self.durations.clone();
        for task in (0..tails.len()).rev() {
            for upstream in &self.upstreams[task] {
                tails[*upstream] = tails[*upstream].max(self.durations[*upstream] + tails[task]);
            }
        }
        tails
    }

    /// The best possible makespan, at most `known`.
    fn optimum(&self, known: u64) -> u64 {
        let mut search = Search { graph: self, tails: self.tails(), best: known };
        search.branch(&Partial {
            ends: vec![None; self.durations.len()],
            free: vec![0; self.slots as usize],
            last_start: 0,
            left: self.durations.iter().sum(),
        });
        search.best
    }
}

/// The tasks scheduled so far, in the order of their starts.
#[derive(Clone)]
struct Partial {
    ends: Vec<Option<u64>>,
    /// When each slot is free, sorted.
    free: Vec<u64>,
    last_start: u64,
    /// The durations of all other tasks.
    left: u64,
}

/// Branch and bound over all schedules without preemption, idle slots included: a slot may wait
/// while tasks are ready, which can be better than any schedule that a scheduler without foresight
/// makes.
///
/// It takes the tasks in each order in which they could start, and starts each as early as its
/// upstreams, the slots and the start before it allow. This loses no optimum: take any schedule, go
/// through it in the order of its starts, and each task starts no later than it did. Which of the
/// free slots it takes does not matter, as none of the following tasks starts before it.
struct Search<'a> {
    graph: &'a Graph,
    tails: Vec<u64>,
    best: u64,
}

impl Search<'_> {
    fn branch(&mut self, partial: &Partial) {
        let Graph { durations, upstreams, .. } = self.graph;
        let mut open: Vec<(u64, usize)> = Vec::new();
        for task in (0..durations.len()).filter(|task| partial.ends[*task].is_none()) {
            let ends = upstreams[task].iter().map(|upstream| partial.ends[*upstream]);
            let Some(ready) = ends.collect::<Option<Vec<u64>>>() else { continue };
            let ready = ready.into_iter().max().unwrap_or(0);
            open.push((ready.max(partial.free[0]).max(partial.last_start), task));
        }
        if open.is_empty() {
            let makespan = partial.free.iter().copied().max().unwrap_or(0);
            self.best = self.best.min(makespan);
            return;
        }
        // Every open task starts at this time at the earliest, so do those behind it.
        let path = open.iter().map(|(start, task)| start + self.tails[*task]).max().unwrap_or(0);
        let slots = partial.free.len() as u64;
        let area = (partial.free.iter().map(|free| (*free).max(partial.last_start)).sum::<u64>()
            + partial.left)
            .div_ceil(slots);
        let busy = partial.free.last().copied().unwrap_or(0);
        if path.max(area).max(busy) >= self.best {
            return;
        }
        open.sort_by_key(|(start, task)| (*start, std::cmp::Reverse(self.tails[*task])));
        for (start, task) in open {
            let mut next = partial.clone();
            let end = start + durations[task];
            next.ends[task] = Some(end);
            next.free[0] = end;
            next.free.sort_unstable();
            next.last_start = start;
            next.left -= durations[task];
            self.branch(&next);
        }
    }
}

#[test]
fn the_search_finds_what_takes_foresight() {
    // After x ends at 1, y and z can start, for which the last task waits; starting l at once is
    // worse.
    let graph = Graph {
        durations: vec![1, 10, 10, 10, 10],
        upstreams: vec![vec![], vec![], vec![0], vec![0], vec![2, 3]],
        slots: 2,
    };
    assert_eq!(graph.optimum(u64::MAX), 21);
    assert_eq!(graph.simulated(false), 30);
}

/// The best makespan by another way: at each tick any of the ready tasks may start, or none.
fn tick_by_tick(graph: &Graph, ends: &mut Vec<Option<u64>>, now: u64, best: &mut u64) {
    let last = ends.iter().flatten().copied().max().unwrap_or(0);
    if last.max(now) >= *best {
        return;
    }
    if ends.iter().all(Option::is_some) {
        *best = last;
        return;
    }
    let running = ends.iter().flatten().filter(|end| **end > now).count();
    let ended = |upstream: &usize| ends[*upstream].is_some_and(|end| end <= now);
    let ready: Vec<usize> = (0..ends.len())
        .filter(|task| ends[*task].is_none() && graph.upstreams[*task].iter().all(ended))
        .collect();
    for chosen in 0..1u32 << ready.len() {
        if chosen.count_ones() as usize + running > graph.slots as usize {
            continue;
        }
        let before = ends.clone();
        for (_, task) in ready.iter().enumerate().filter(|(at, _)| chosen >> at & 1 == 1) {
            ends[*task] = Some(now + graph.durations[*task]);
        }
        tick_by_tick(graph, ends, now + 1, best);
        *ends = before;
    }
}

#[test]
fn the_search_agrees_with_one_that_goes_tick_by_tick() {
    let mut random = Random(11);
    for _ in 0..200 {
        let mut graph = Graph::random(&mut random);
        let tasks = graph.durations.len().min(5);
        graph.upstreams.truncate(tasks);
        graph.durations = (0..tasks).map(|_| 1 + random.below(3)).collect();
        let mut best = 1 + graph.durations.iter().sum::<u64>();
        tick_by_tick(&graph, &mut vec![None; tasks], 0, &mut best);
        assert_eq!(graph.optimum(u64::MAX), best, "{:?} {:?}", graph.durations, graph.upstreams);
    }
}

#[test]
#[allow(clippy::print_stdout, reason = "the figure is what one wants to see")]
fn schedules_are_within_a_hundredth_of_the_optimum_on_average() {
    const GRAPHS: usize = 500;
    let mut random = Random(3);
    let mut sums = [0.0; 2];
    let mut worst: f64 = 1.0;
    let mut optimal = 0;
    for _ in 0..GRAPHS {
        let graph = Graph::random(&mut random);
        let simulated = [false, true].map(|one_worker| graph.simulated(one_worker));
        let best = graph.optimum(simulated[0].max(simulated[1]) + 1);
        for (sum, simulated) in sums.iter_mut().zip(simulated) {
            assert!(simulated >= best);
            let ratio = simulated as f64 / best as f64;
            *sum += ratio;
            worst = worst.max(ratio);
        }
        optimal += usize::from(simulated[0] == best);
    }
    let means = sums.map(|sum| sum / GRAPHS as f64);
    let told = format!(
        "{GRAPHS} graphs: {:.4} of the optimum on workers of one slot, {:.4} on one worker; \
         {optimal} optimal, the worst {worst:.3}",
        means[0], means[1]
    );
    println!("{told}");
    assert!(means.iter().all(|mean| *mean <= 1.01), "{told}");
}
