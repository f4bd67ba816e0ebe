//! Signs of life, which renew the lease and fetch acknowledgements.

use std::rc::Rc;
use std::time::Duration;

use dagrun_core::ids::Micros;
use dagrun_disk::clock;
use dagrun_schema::dagrun_capnp::session;
use dagrun_schema::wire::{self, AttemptProgress};
use tokio::sync::Notify;

use crate::memory::Left;
use crate::reports::Receipts;
use crate::service::Service;
use crate::slots::Slots;

/// How often the scheduler hears from an idle worker.
const HEARTBEAT: Duration = Duration::from_secs(2);
/// How often the progress of functions is polled.
const PROGRESS: Duration = Duration::from_millis(200);
/// How often it is looked how much memory is left.
const LOOK: Duration = Duration::from_secs(1);
/// How long a scheduler may take at least to answer a sign of life.
const MILDEST: Duration = Duration::from_secs(1);
/// Bytes of reports that are kept before their acknowledgement is asked for at once.
const MUCH_KEPT: usize = 64 << 10;

/// Sends signs of life, and reports the progress of the worker's functions.
pub(super) struct Beat {
    pub(super) session: session::Client,
    pub(super) slots: Slots,
    pub(super) lease: Micros,
    pub(super) receipts: Option<Rc<Receipts>>,
    pub(super) service: Rc<Service>,
    /// Notified when the scheduler does not answer.
    pub(super) silent: Rc<Notify>,
}

impl Beat {
    /// Works until the scheduler does not answer, which cuts the line where another one can be made.
    pub(super) async fn run(self) {
        let lease = self.lease.to_duration();
        let (often, patience) = match lease.is_zero() {
            true => (HEARTBEAT, None),
            false => (HEARTBEAT.min(lease / 5), Some((lease / 3).max(MILDEST))),
        };
        let mut interval = tokio::time::interval(PROGRESS.min(often));
        let step = interval.period();
        let mut quiet = often;
        let (mut left, mut unseen, mut short) = (Left::default(), LOOK, String::new());
        loop {
            interval.tick().await;
            let progress = self.slots.progress();
            quiet += step;
            let many = self.receipts.as_ref().is_some_and(|it| it.kept.get() > MUCH_KEPT);
            unseen += step;
            let mut news = false;
            if unseen >= LOOK {
                unseen = Duration::ZERO;
                let now = left.look().unwrap_or_default();
                news = now.is_empty() != short.is_empty();
                short = now;
            }
            if progress.is_empty() && quiet < often && !many && !news {
                continue;
            }
            quiet = Duration::ZERO;
            let mut request = self.session.heartbeat_request();
            let progress = progress.into_iter();
            let progress: Vec<_> =
                progress.map(|(attempt, fraction)| AttemptProgress { attempt, fraction }).collect();
            wire::write_list(&progress, request.get().init_progress(wire::length(progress.len())));
            request.get().set_short(&short);
            let sent = clock::uptime();
            let answer = request.send().promise;
            let answer = match patience {
                Some(patience) => tokio::time::timeout(patience, answer).await.ok(),
                None => Some(answer.await),
            };
            let Some(Ok(answer)) = answer else { break };
            let Ok(answer) = answer.get() else { break };
            self.service.lease().renew(sent, self.lease);
            if let Some(receipts) = &self.receipts {
                receipts.acknowledged.set(answer.get_acknowledged());
            }
        }
        // Where there is no other line, the end of this one is handled where it is served.
        self.silent.notify_one();
    }
}
