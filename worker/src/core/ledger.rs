//! The reports of a worker, until they are on its scheduler's disk: in the order in which they came, in
//! numbered batches, sent again over another line when one is cut.

use std::collections::VecDeque;
use std::ops::Range;

use dagrun_core::engine::{Outcome, Report};

/// Reports in a batch at most.
pub(crate) const BATCH: usize = 256;
/// Bytes of details in a batch at most, unless one report alone has more.
const BATCH_BYTES: usize = 4 << 20;

/// A message for the scheduler.
#[derive(Debug)]
pub(crate) enum Message<B> {
    /// The outcome of attempts.
    Report(Report),
    /// Answer when everything before has been reported and acknowledged.
    Barrier(B),
}

/// What is next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    Report,
    Barrier,
}

/// Messages that wait, and reports that have been sent and are not acknowledged.
#[derive(Debug)]
pub(crate) struct Ledger<B> {
    waiting: VecDeque<Message<B>>,
    /// Whether reports are kept: not where a lost line ends the worker.
    keeps: bool,
    /// The number of the last batch.
    number: u64,
    /// Batches that have not been acknowledged.
    kept: VecDeque<(u64, Vec<Report>)>,
    kept_bytes: usize,
}

impl<B> Ledger<B> {
    pub(crate) fn new(keeps: bool) -> Ledger<B> {
        Ledger { waiting: VecDeque::new(), keeps, number: 0, kept: VecDeque::new(), kept_bytes: 0 }
    }

    pub(crate) fn push(&mut self, message: Message<B>) {
        self.waiting.push_back(message);
    }

    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Bytes that are kept until they are acknowledged, about.
    pub(crate) fn kept_bytes(&self) -> usize {
        self.kept_bytes
    }

    /// What is to be sent or answered next.
    pub(crate) fn next(&self) -> Option<Next> {
        self.waiting.front().map(|message| match message {
            Message::Report(_) => Next::Report,
            Message::Barrier(_) => Next::Barrier,
        })
    }

    /// Takes the barrier that is next, if one is.
    pub(crate) fn take_barrier(&mut self) -> Option<B> {
        match self.waiting.pop_front()? {
            Message::Barrier(barrier) => Some(barrier),
            report @ Message::Report(_) => {
                self.waiting.push_front(report);
                None
            }
        }
    }

    /// Takes the reports that are next, as many as fit into a batch, with the number of the batch. It is
    /// given back with [`Ledger::keep`] once it is sent.
    pub(crate) fn take_batch(&mut self) -> (u64, Vec<Report>) {
        let mut batch = Vec::with_capacity(self.waiting.len().min(BATCH));
        let mut bytes = 0;
        while let Some(Message::Report(report)) = self.waiting.front() {
            bytes += weight(report);
            if batch.len() == BATCH || (bytes > BATCH_BYTES && !batch.is_empty()) {
                break;
            }
            if let Some(Message::Report(report)) = self.waiting.pop_front() {
                batch.push(report);
            }
        }
        self.number += 1;
        (self.number, batch)
    }

    /// Keeps a batch until it is acknowledged.
    pub(crate) fn keep(&mut self, number: u64, batch: Vec<Report>) {
        if self.keeps {
            self.kept_bytes += batch.iter().map(weight).sum::<usize>();
            self.kept.push_back((number, batch));
        }
    }

    /// The batches that are not acknowledged, to be sent over another line.
    pub(crate) fn kept(&self, at: usize) -> Option<(u64, &[Report])> {
        self.kept.get(at).map(|(number, batch)| (*number, batch.as_slice()))
    }

    /// Drops the batches up to the one that has been acknowledged.
    pub(crate) fn trim(&mut self, acknowledged: u64) {
        while self.kept.front().is_some_and(|(number, _)| *number <= acknowledged) {
            let Some((_, batch)) = self.kept.pop_front() else { return };
            let bytes: usize = batch.iter().map(weight).sum();
            self.kept_bytes = self.kept_bytes.saturating_sub(bytes);
        }
    }

    /// The attempts whose end is still to be acknowledged.
    pub(crate) fn pending(&self) -> Vec<Range<u64>> {
        self.ends().map(attempts).collect()
    }

    /// Those of them that ran, as far as is known.
    pub(crate) fn ended(&self) -> Vec<Range<u64>> {
        let given_back =
            |report: &&Report| matches!(report.outcome, Outcome::Returned | Outcome::Refused(_));
        self.ends().filter(|report| !given_back(report)).map(attempts).collect()
    }

    fn ends(&self) -> impl Iterator<Item = &Report> {
        let waiting = self.waiting.iter().filter_map(|message| match message {
            Message::Report(report) => Some(report),
            Message::Barrier(_) => None,
        });
        let kept = self.kept.iter().flat_map(|(_, batch)| batch);
        waiting.chain(kept).filter(|report| report.outcome != Outcome::Started)
    }

    /// Drops what has not been acknowledged: it is of no interest to the scheduler that is there now.
    pub(crate) fn discard(&mut self) {
        self.waiting.clear();
        self.kept.clear();
        self.kept_bytes = 0;
    }
}

/// The attempts that a report is about.
fn attempts(report: &Report) -> Range<u64> {
    report.first.0..report.first.0.saturating_add(report.count.into())
}

/// Bytes that a report adds to a message, about.
fn weight(report: &Report) -> usize {
    size_of::<Report>()
        + report.detail.as_ref().map_or(0, |detail| {
            detail.reason.len()
                + detail.stderr_tail.len()
                + detail.value.as_ref().map_or(0, Vec::len)
                + detail.outputs.iter().map(Vec::len).sum::<usize>()
                + size_of_val(&*detail.stamps)
        })
}

#[cfg(test)]
mod tests {
    use dagrun_core::ids::{AttemptId, Timestamp};

    use super::*;

    fn report(attempt: u64) -> Message<()> {
        let zero = Timestamp(0);
        Message::Report(Report::one(AttemptId(attempt), Outcome::Succeeded, zero, zero))
    }

    #[test]
    fn batches_are_numbered_and_kept_until_they_are_acknowledged() {
        let mut ledger = Ledger::new(true);
        for attempt in 0..BATCH as u64 + 1 {
            ledger.push(report(attempt));
        }
        ledger.push(Message::Barrier(()));
        ledger.push(report(1_000));
        for (expected, length) in [(1, BATCH), (2, 1)] {
            assert_eq!(ledger.next(), Some(Next::Report));
            assert_eq!(ledger.take_barrier(), None);
            let (number, batch) = ledger.take_batch();
            assert_eq!((number, batch.len()), (expected, length));
            ledger.keep(number, batch);
        }
        assert_eq!(ledger.next(), Some(Next::Barrier));
        assert_eq!(ledger.take_barrier(), Some(()));
        assert_eq!(ledger.pending().len(), BATCH + 2);
        ledger.trim(1);
        assert_eq!(ledger.pending(), [1_000..1_001, 256..257]);
        assert_eq!(ledger.kept(0).map(|(number, batch)| (number, batch.len())), Some((2, 1)));
        assert!(ledger.kept_bytes() > 0);
        ledger.discard();
        assert_eq!((ledger.pending(), ledger.kept_bytes(), ledger.next()), (vec![], 0, None));
    }

    #[test]
    fn nothing_is_kept_where_a_lost_line_ends_the_worker() {
        let mut ledger = Ledger::new(false);
        ledger.push(report(7));
        let (number, batch) = ledger.take_batch();
        ledger.keep(number, batch);
        assert!(ledger.kept(0).is_none());
    }
}
