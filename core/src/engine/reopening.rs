//! Which instances that had ended are open again when their run is resumed: what an interruption cut
//! off, what had run only because of it, what is lost and needed, what is to run again in any case.

use std::ops::Range;

use super::again::{Indices, Ties, in_order};
use super::cause::Reopening;
use super::clause::counts;
use super::plan::{Consumed, Past, RunPlan, TaskPlan, ValueEdge};
use super::restore::{Kept, Restore, find};
use crate::ids::TaskId;
use crate::pipeline::{Clause, Quantifier};
use crate::status::State;

impl Restore<'_> {
    /// Opens what an interruption cut off, and what had run only because of it: what succeeded or failed
    /// while the run was being interrupted stays if it would have been started all the same.
    ///
    /// `widths` gives the number of instances of each task, as far as it is known.
    pub fn cut_off(&mut self, widths: &[Option<u32>]) {
        if self.breaks.interrupted.is_none() {
            return;
        }
        for at in in_order(self.plan, Ties::All) {
            let task = TaskId(u32::try_from(at).unwrap_or(u32::MAX));
            let during = self.tasks[at].ends.iter().filter(|kept| kept.during);
            let (ran, cut): (Vec<Kept>, Vec<Kept>) =
                during.partition(|kept| matches!(kept.end.state, State::Succeeded | State::Failed));
            let cut = cut.iter().map(Kept::range).collect();
            self.reopen(task, &cut, Reopening::CutOff);
            if !ran.is_empty() {
                let opens = Opens::of(self, task, widths);
                let indices = ran.iter().flat_map(Kept::range);
                let wrong = indices.filter(|index| !opens.is_open(self, *index));
                let wrong = wrong.map(|index| index..index + 1).collect();
                self.reopen(task, &wrong, Reopening::Consequence);
            }
        }
    }

    /// Opens instances whose values are lost, as far as what has not ended, or is open again, consumes
    /// these; `lost` gives them by task, sorted and disjoint.
    pub fn make_again(&mut self, widths: &[Option<u32>], lost: &[Indices]) {
        let plan = self.plan;
        for at in in_order(plan, Ties::Data).into_iter().rev() {
            let to = TaskId(u32::try_from(at).unwrap_or(u32::MAX));
            let width = widths.get(at).copied().flatten();
            let open = self.open(to, width);
            if open.is_empty() {
                continue;
            }
            for edge in plan.values.iter().filter(|edge| edge.to == to) {
                let Some(lost) = lost.get(edge.from.at()).filter(|lost| !lost.is_empty()) else {
                    continue;
                };
                let wanted = wanted_by(plan, edge, &open, width, lost);
                self.reopen(edge.from, &wanted, Reopening::Lost);
            }
        }
    }

    /// Those of the instances, by task, sorted and disjoint, whose values are consumed by what has not
    /// ended, or is open again.
    #[must_use]
    pub fn wanted(&self, widths: &[Option<u32>], values: &[Indices]) -> Vec<Indices> {
        let mut wanted = vec![Indices::new(); values.len()];
        for edge in &self.plan.values {
            let (Some(values), Some(wanted)) =
                (values.get(edge.from.at()), wanted.get_mut(edge.from.at()))
            else {
                continue;
            };
            if values.is_empty() {
                continue;
            }
            let width = widths.get(edge.to.at()).copied().flatten();
            let open = self.open(edge.to, width);
            if !open.is_empty() {
                wanted.append(&mut wanted_by(self.plan, edge, &open, width, values));
            }
        }
        for wanted in &mut wanted {
            wanted.sort_unstable_by_key(|range| range.start);
            let parts = std::mem::take(wanted);
            for part in parts {
                match wanted.last_mut() {
                    Some(last) if part.start <= last.end => last.end = last.end.max(part.end),
                    _ => wanted.push(part),
                }
            }
        }
        wanted
    }

    /// Opens what cannot stay since something else is open again: scattered instances whose array is made
    /// again, what maps these, and the tasks that are to run again whenever something does that needs
    /// them or that they come after. Takes back the numbers of instances that became known only while the
    /// run was being interrupted, or are to become known again.
    ///
    /// `during` says of each task whether its number of instances became known while the run was being
    /// interrupted.
    pub fn settle(&mut self, widths: &mut [Option<u32>], during: &[bool]) {
        let plan = self.plan;
        self.settle_widths(widths, during);
        let open = (0..).map(TaskId).zip(&*widths).map(|(task, width)| self.open(task, *width));
        let open: Vec<Indices> = open.collect();
        for task in Past::rerun(plan, &open) {
            let succeeded = self.ended(task, State::Succeeded);
            self.reopen(task, &succeeded, Reopening::Rerun);
        }
        self.settle_widths(widths, during);
    }

    fn settle_widths(&mut self, widths: &mut [Option<u32>], during: &[bool]) {
        let plan = self.plan;
        for at in in_order(plan, Ties::All) {
            let task = TaskId(u32::try_from(at).unwrap_or(u32::MAX));
            let late = plan.tasks.get(at).filter(|plan| plan.width.is_late());
            let (Some(late), Some(Some(_))) = (late, widths.get(at)) else { continue };
            let early = during.get(at).is_some_and(|is| *is) && !self.knows(task);
            let stays = match late.map {
                Some(map) => widths.get(map.upstream.at()).is_some_and(Option::is_some),
                None => !early && (self.is_whole(late, widths) || self.never_ran(task, widths[at])),
            };
            if !stays {
                self.reopen(task, &self.all_ended(task), Reopening::Lost);
                self.forget_attempts(task);
                widths[at] = None;
            }
        }
    }

    /// Whether a task has ended without any of its instances having run: whatever they are, they stay.
    fn never_ran(&self, task: TaskId, width: Option<u32>) -> bool {
        let ran = [State::Succeeded, State::Failed].map(|state| self.ended(task, state));
        ran.iter().all(Vec::is_empty) && self.open(task, width).is_empty()
    }

    /// Whether all is there that a task scatters, if it does.
    fn is_whole(&self, task: &TaskPlan, widths: &[Option<u32>]) -> bool {
        let Some(scatter) = task.scatter else { return true };
        let width = widths.get(scatter.from.at()).copied().flatten();
        width.is_some() && self.open(scatter.from, width).is_empty()
    }
}

/// Those of the instances of a task whose values are consumed over an edge by what is open.
fn wanted_by(
    plan: &RunPlan,
    edge: &ValueEdge,
    open: &Indices,
    width: Option<u32>,
    values: &Indices,
) -> Indices {
    let wanted: Indices = match edge.of {
        Consumed::Map(factor) if width.is_some() => {
            let of =
                |range: &Range<u32>| range.start / factor.max(1)..range.end.div_ceil(factor.max(1));
            open.iter().map(of).collect()
        }
        Consumed::Gathered => match groups_of(plan, edge.to) {
            Some(groups) => {
                let members = (0..).zip(groups);
                let members = members.filter(|(_, group)| is_among(open, **group));
                members.map(|(at, _)| at..at + 1).collect()
            }
            None => values.clone(),
        },
        Consumed::Map(_) | Consumed::Single => values.clone(),
    };
    both(values, &wanted)
}

/// The group of each instance that a task gathers, if it gathers by groups.
fn groups_of(plan: &RunPlan, task: TaskId) -> Option<&[u32]> {
    plan.tasks.get(task.at())?.gather.as_ref()?.groups.as_deref()
}

fn is_among(ranges: &Indices, index: u32) -> bool {
    let at = ranges.partition_point(|range| range.end <= index);
    ranges.get(at).is_some_and(|range| range.contains(&index))
}

/// What is in both; each is sorted and disjoint.
fn both(these: &Indices, those: &Indices) -> Indices {
    let mut found = Indices::new();
    for range in these {
        let from = those.partition_point(|other| other.end <= range.start);
        for other in those.iter().skip(from).take_while(|other| other.start < range.end) {
            let start = range.start.max(other.start);
            match found.last_mut() {
                Some(last) if start <= last.end => {
                    last.end = last.end.max(range.end.min(other.end));
                }
                _ => found.push(start..range.end.min(other.end)),
            }
        }
    }
    found
}

/// Whether instances of a task could start, by what has ended of others.
struct Opens {
    /// Whether all that all instances wait for alike has come about.
    gate: bool,
    map: Option<(TaskId, u32)>,
    /// Whether the group of each instance is complete.
    groups: Option<Vec<bool>>,
}

impl Opens {
    fn of(restore: &Restore<'_>, task: TaskId, widths: &[Option<u32>]) -> Opens {
        let plan = &restore.plan.tasks[task.at()];
        let gate = plan.clauses.iter().all(|clause| is_met(restore, clause, widths));
        let map = plan.map.map(|map| (map.upstream, map.factor.max(1)));
        let groups = plan.gather.as_ref().map(|gather| {
            // Of each group: how many are to be gathered, have succeeded, have not.
            let mut groups = vec![(0u64, 0u64, 0u64); plan.width.each() as usize];
            let mut known = true;
            for upstream in &gather.upstreams {
                let width = widths.get(upstream.at()).copied().flatten();
                known &= width.is_some();
                for index in 0..width.unwrap_or(0) {
                    let of = gather.groups.as_ref().and_then(|of| of.get(index as usize));
                    let Some(group) = groups.get_mut(of.map_or(0, |group| *group as usize)) else {
                        continue;
                    };
                    group.0 += 1;
                    match find(&restore.tasks[upstream.at()].ends, index).map(|it| it.end.state) {
                        None => {}
                        Some(State::Succeeded) => group.1 += 1,
                        Some(_) => group.2 += 1,
                    }
                }
            }
            let enough = |(all, succeeded, others): &(u64, u64, u64)| {
                let needed = gather.min_success.map_or(*all, |min| min.of(*all));
                known && succeeded + others == *all && *succeeded >= needed
            };
            groups.iter().map(enough).collect()
        });
        Opens { gate, map, groups }
    }

    fn is_open(&self, restore: &Restore<'_>, index: u32) -> bool {
        let mapped = self.map.is_none_or(|(upstream, factor)| {
            let found = find(&restore.tasks[upstream.at()].ends, index / factor);
            found.is_some_and(|kept| kept.end.state == State::Succeeded)
        });
        let complete = |groups: &Vec<bool>| groups.get(index as usize).is_some_and(|is| *is);
        self.gate && mapped && self.groups.as_ref().is_none_or(complete)
    }
}

fn is_met(restore: &Restore<'_>, clause: &Clause, widths: &[Option<u32>]) -> bool {
    let (mut hits, mut misses, mut pending) = (0u64, 0u64, 0u64);
    for upstream in &clause.upstreams {
        let ends = &restore.tasks[upstream.at()].ends;
        let mut ended = 0;
        for end in ends.iter().map(|kept| kept.end) {
            let count = u64::from(end.count);
            ended += count;
            match counts(clause.on, end.state == State::Succeeded) {
                true => hits += count,
                false => misses += count,
            }
        }
        let width = widths.get(upstream.at()).copied().flatten();
        pending += width.map_or(1, |width| u64::from(width).saturating_sub(ended));
    }
    match clause.quantifier {
        _ if hits + misses + pending == 0 => true,
        Quantifier::All => misses == 0 && pending == 0,
        Quantifier::Any => hits > 0,
    }
}
