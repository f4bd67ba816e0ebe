//! Serving: over one line after the other, until the worker is to end.

use std::ops::Range;
use std::rc::Rc;
use std::sync::mpsc as std_mpsc;
use std::time::Duration;

use dagrun_core::ids::WorkerId;
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

use super::beat::Beat;
use super::stops::{Leaving, Stops};
use super::{
    Accepted, CLOSING, Connection, EndReason, FAREWELL, JOINING, Joined, Line, Own, Registered,
    StartError, converse, register,
};
use crate::reports::{Pump, Receipts};

/// How long to wait before the scheduler is looked for again.
const SHORTEST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// How serving one line ended.
enum Served {
    /// The line is cut.
    Cut(String),
    /// The worker is to end.
    Over(EndReason),
}

impl Joined {
    /// Works until it is shut down or loses the scheduler for good.
    pub(crate) async fn serve(
        mut self,
        answer: &std_mpsc::SyncSender<Accepted>,
        stopped: mpsc::UnboundedReceiver<()>,
    ) -> EndReason {
        let service = self.service.clone();
        let receipts = self.config.rejoin.as_ref().map(|_| Rc::<Receipts>::default());
        let (slots, runs) = (service.slots.clone(), service.runs.clone());
        let (_, closed) = mpsc::unbounded_channel();
        let messages = std::mem::replace(&mut self.messages, closed);
        let dispatched = service.dispatched.clone();
        let given = service.given.clone();
        let mut pump = Pump::new(messages, slots, runs, dispatched, receipts.clone(), given);
        let _ = answer.send(Ok((self.registered.id, self.registered.name.clone())));
        let mut stops = Stops { received: stopped, leaving: None, drain: self.config.drain };
        let mut serial = 0;
        loop {
            let session = self.registered.session.clone();
            let (cut, silent) = (Rc::new(Notify::new()), Rc::new(Notify::new()));
            let running = tokio::task::spawn_local(pump.run(session.clone(), cut.clone()));
            let beating = Beat {
                session: session.clone(),
                slots: service.slots.clone(),
                lease: self.registered.lease,
                receipts: receipts.clone(),
                service: service.clone(),
                silent: silent.clone(),
            };
            let heart = tokio::task::spawn_local(beating.run());
            drop(session);
            let served = self.serve_line(&mut stops, &silent).await;
            heart.abort();
            let why = match served {
                Served::Over(reason) => {
                    self.end(&reason).await;
                    running.abort();
                    if let Some(line) = self.line.filter(|line| !line.rpc.0.is_finished()) {
                        let _ = tokio::time::timeout(CLOSING, line.disconnector).await;
                    }
                    return reason;
                }
                Served::Cut(why) => why,
            };
            cut.notify_one();
            if let Some(line) = self.line.take() {
                line.abandon().await;
            }
            let Ok(left) = running.await else { return EndReason::Broken };
            pump = left;
            let again = self.rejoin(&mut pump, &mut serial, &mut stops, why).await;
            if let Err(reason) = again {
                drop(pump);
                self.service.wind_down().await;
                return reason;
            }
        }
    }

    /// Serves until the line is cut or the worker is to end.
    async fn serve_line(&mut self, stops: &mut Stops, silent: &Notify) -> Served {
        let (service, session) = (self.service.clone(), self.registered.session.clone());
        let mut line = self.line.as_mut();
        let returns = self.config.rejoin.is_some();
        loop {
            tokio::select! {
                why = lost(line.as_deref_mut()) => return match returns {
                    true => Served::Cut(why),
                    false => Served::Over(EndReason::ConnectionLost(why)),
                },
                () = silent.notified(), if returns => {
                    return Served::Cut("the scheduler does not answer".to_owned());
                }
                () = service.done.notified() => return Served::Over(EndReason::Dismissed),
                leaving = stops.next(&service.slots) => match leaving {
                    Leaving::Begins => {
                        service.leave();
                        let request = session.leaving_request();
                        tokio::task::spawn_local(async move {
                            // A cut line is noticed elsewhere, and the next registration says so again.
                            let _ = request.send().promise.await;
                        });
                    }
                    Leaving::Ends => return Served::Over(EndReason::ShutDown),
                },
            }
        }
    }

    async fn end(&mut self, reason: &EndReason) {
        if *reason != EndReason::Dismissed {
            self.service.wind_down().await;
        } else if let Some(line) = &mut self.line {
            // Lets the scheduler receive the answer; it may then close the connection itself.
            let _ = tokio::time::timeout(FAREWELL, &mut line.rpc.0).await;
        }
    }

    /// Looks for the scheduler until it is found. What runs goes on meanwhile.
    async fn rejoin(
        &mut self,
        pump: &mut Pump,
        serial: &mut u32,
        stops: &mut Stops,
        mut why: String,
    ) -> Result<(), EndReason> {
        let service = self.service.clone();
        let mut pause = SHORTEST_PAUSE;
        let mut idle_since = Instant::now();
        loop {
            if service.slots.running() > 0 {
                idle_since = Instant::now();
            }
            let rejoin = self.config.rejoin.as_ref();
            let patience = rejoin.and_then(|rejoin| rejoin.patience);
            if patience.is_some_and(|patience| idle_since.elapsed() >= patience) {
                return Err(EndReason::ConnectionLost(why));
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                leaving = stops.next(&service.slots) => match leaving {
                    Leaving::Begins => service.leave(),
                    Leaving::Ends => return Err(EndReason::ShutDown),
                },
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
            let found = rejoin.map(|rejoin| (rejoin.find)());
            let (address, token) = match found {
                Some(Ok(found)) => found,
                Some(Err(error)) => {
                    why = error.to_string();
                    continue;
                }
                None => return Err(EndReason::ConnectionLost(why)),
            };
            *serial += 1;
            // First what runs, then what has ended: an attempt that ends in between is among both.
            let mut held = service.slots.held();
            held.extend(pump.pending());
            let is_new = held.is_empty() && service.runs.is_empty();
            let (config, lock) = (&self.config, self.lock.as_deref());
            let (held, claims) = (joined(held), pump.claims());
            let own = Own { config, lock, serial: *serial, held, claims };
            let trying = async {
                let (bootstrap, line) = converse(Connection::Tcp(address), &service).await?;
                let registered = register(&bootstrap, &own, &token, &service).await?;
                Ok::<_, StartError>((registered, line))
            };
            match tokio::time::timeout(JOINING, trying).await {
                Ok(Ok((registered, line))) if registered.returned || is_new => {
                    if is_new {
                        pump.discard();
                    }
                    self.take_up(registered, line);
                    return Ok(());
                }
                // This scheduler is another one, or has given all to others. It is registered once more
                // when nothing is left.
                Ok(Ok((_, line))) => {
                    line.abandon().await;
                    service.give_up_all().await;
                    pump.discard();
                    pause = SHORTEST_PAUSE;
                }
                Ok(Err(error)) => why = dagrun_core::one_line(&error),
                Err(_) => why = StartError::Silent.to_string(),
            }
        }
    }

    /// Goes on over another line.
    fn take_up(&mut self, registered: Registered, line: Line) {
        let service = &self.service;
        service.values.set_own(WorkerId(registered.id));
        service.lease().renew(registered.asked, registered.lease);
        service.name.replace(registered.name.clone());
        self.registered = registered;
        self.line = Some(line);
    }
}

impl Line {
    /// Closes it, so that nothing that was sent over it is carried out any more.
    async fn abandon(mut self) {
        if !self.rpc.0.is_finished() {
            self.rpc.0.abort();
            let _ = (&mut self.rpc.0).await;
        }
    }
}

/// The same ranges, in order, those that touch or overlap as one.
fn joined(mut ranges: Vec<Range<u64>>) -> Vec<Range<u64>> {
    ranges.sort_unstable_by_key(|range| range.start);
    let mut joined: Vec<Range<u64>> = Vec::new();
    for range in ranges {
        match joined.last_mut() {
            // A message counts attempts in 32 bits.
            Some(last)
                if range.start <= last.end
                    && range.end.max(last.end) - last.start <= u64::from(u32::MAX) =>
            {
                last.end = last.end.max(range.end);
            }
            _ => joined.push(range),
        }
    }
    joined
}

/// Waits until a connection has ended, and returns why. A scheduler on this thread cannot be lost.
async fn lost(line: Option<&mut Line>) -> String {
    match line {
        None => std::future::pending().await,
        Some(line) => match (&mut line.rpc.0).await {
            Ok(Ok(())) => "the scheduler closed the connection".to_owned(),
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_joined() {
        assert_eq!(joined(vec![5..6, 1..2, 2..4, 9..12, 10..11]), [1..4, 5..6, 9..12]);
        let all = [0..u64::from(u32::MAX), u64::from(u32::MAX)..1 << 33];
        assert_eq!(joined(all.to_vec()), all);
    }
}
