//! Connections that have not logged in: how many there may be, and how logins that fail are slowed.
//!
//! Only they are limited by address. Under pressure the oldest of the address that has most of them gives
//! way, so that whoever has a right secret gets in: that takes a moment. Peers on this machine's Unix
//! sockets have no address, and are exempt.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use dagrun_core::ids::Micros;
use dagrun_disk::clock::uptime;
use rustc_hash::FxHashMap;
use tokio::sync::Notify;

/// Connections from other places that have not logged in yet, at once.
const MOST: usize = 64;
/// Logins that may fail on one connection.
const FAILURES: u32 = 3;
/// Addresses whose failed logins are remembered, and for how long.
const ADDRESSES: usize = 1_024;
const MEMORY: Micros = Micros(60_000_000);
/// By how much each failed login of an address slows the answer to the next one, and how much at most.
const SLOWER: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// All of them.
#[derive(Default)]
pub(super) struct Strangers {
    /// By number, so the oldest first.
    present: RefCell<BTreeMap<u64, (IpAddr, Rc<Notify>)>>,
    next: Cell<u64>,
    failures: RefCell<FxHashMap<IpAddr, Failures>>,
    /// How many had to give way, and how many logins failed.
    pub(super) gave_way: Cell<u64>,
    pub(super) failed: Cell<u64>,
}

#[derive(Clone, Copy)]
struct Failures {
    count: u32,
    last: Micros,
}

/// A connection that has not logged in.
pub(super) struct Stranger {
    all: Rc<Strangers>,
    number: u64,
    address: Option<IpAddr>,
    failed: Cell<u32>,
    out: Rc<Notify>,
}

/// What follows from a failed login.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Failed {
    /// How long to wait before it is answered.
    pub(super) wait: Duration,
    /// How many have failed from there lately.
    pub(super) lately: u32,
    /// Where it came from, if it came from elsewhere.
    pub(super) address: Option<IpAddr>,
}

impl Strangers {
    /// A connection has been made.
    pub(super) fn admit(self: &Rc<Self>, address: Option<IpAddr>) -> Rc<Stranger> {
        self.next.set(self.next.get() + 1);
        let (number, out) = (self.next.get(), Rc::new(Notify::new()));
        if let Some(address) = address {
            let mut present = self.present.borrow_mut();
            if present.len() >= MOST
                && let Some(oldest) = oldest_of_most(&present)
                && let Some((_, out)) = present.remove(&oldest)
            {
                self.gave_way.set(self.gave_way.get() + 1);
                out.notify_one();
            }
            present.insert(number, (address, Rc::clone(&out)));
        }
        Rc::new(Stranger { all: Rc::clone(self), number, address, failed: Cell::new(0), out })
    }

    fn failed_from(&self, address: IpAddr) -> u32 {
        let now = uptime();
        let mut failures = self.failures.borrow_mut();
        let is_old = |of: &Failures| now.0.saturating_sub(of.last.0) > MEMORY.0;
        if failures.len() >= ADDRESSES && !failures.contains_key(&address) {
            failures.retain(|_, of| !is_old(of));
            if failures.len() >= ADDRESSES {
                failures.clear();
            }
        }
        let of = failures.entry(address).or_insert(Failures { count: 0, last: now });
        if is_old(of) {
            of.count = 0;
        }
        *of = Failures { count: of.count.saturating_add(1), last: now };
        of.count
    }
}

/// The oldest connection of the address that has most.
fn oldest_of_most(present: &BTreeMap<u64, (IpAddr, Rc<Notify>)>) -> Option<u64> {
    let mut counts: FxHashMap<IpAddr, usize> = FxHashMap::default();
    for (address, _) in present.values() {
        *counts.entry(*address).or_default() += 1;
    }
    let most = counts.values().copied().max()?;
    let of_most = |address: &IpAddr| counts.get(address) == Some(&most);
    present.iter().find(|(_, (address, _))| of_most(address)).map(|(number, _)| *number)
}

impl Stranger {
    /// It has logged in, or is about to end: it is none any more.
    pub(super) fn leave(&self) {
        self.all.present.borrow_mut().remove(&self.number);
    }

    /// A login has failed; after several the connection ends.
    pub(super) fn fail(&self) -> Failed {
        self.all.failed.set(self.all.failed.get() + 1);
        self.failed.set(self.failed.get() + 1);
        if self.failed.get() >= FAILURES {
            self.out.notify_one();
        }
        let lately = match self.address {
            Some(address) => self.all.failed_from(address),
            None => self.failed.get(),
        };
        let (each, most) = SLOWER;
        let wait = self.address.map_or(Duration::ZERO, |_| each.saturating_mul(lately).min(most));
        Failed { wait, lately, address: self.address }
    }

    /// Completes when the connection has to end.
    pub(super) async fn out(&self) {
        self.out.notified().await;
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        self.leave();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> Option<IpAddr> {
        Some(IpAddr::from([10, 0, 0, last]))
    }

    fn is_out(stranger: &Stranger) -> bool {
        use futures::FutureExt as _;
        stranger.out().now_or_never().is_some()
    }

    #[test]
    fn the_oldest_of_those_who_are_most_gives_way() {
        let all = Rc::new(Strangers::default());
        let other = all.admit(address(1));
        let many: Vec<_> = (0..200).map(|_| all.admit(address(2))).collect();
        assert!(!is_out(&other));
        let gone = many.iter().take_while(|stranger| is_out(stranger)).count();
        assert_eq!(gone, 200 - (MOST - 1));
        assert!(!many.iter().skip(gone).any(|stranger| is_out(stranger)));
        assert_eq!(all.gave_way.get(), gone as u64);
        // Peers without an address take no place.
        let near: Vec<_> = (0..200).map(|_| all.admit(None)).collect();
        assert!(!near.iter().any(|stranger| is_out(stranger)));
        drop(many);
        assert_eq!(all.present.borrow().len(), 1);
    }

    #[test]
    fn failed_logins_are_slowed_by_address_and_end_their_connection() {
        let all = Rc::new(Strangers::default());
        let first = all.admit(address(1));
        let waits: Vec<_> = (0..2).map(|_| first.fail().wait.as_millis()).collect();
        assert_eq!(waits, [100, 200]);
        assert!(!is_out(&first));
        first.fail();
        assert!(is_out(&first));
        let second = all.admit(address(1));
        assert_eq!((second.fail().lately, second.fail().wait.as_millis()), (4, 500));
        assert_eq!(all.admit(address(2)).fail().wait.as_millis(), 100);
        assert_eq!(all.admit(None).fail().wait, Duration::ZERO);
        for _ in 0..100 {
            let _ = all.admit(address(1)).fail();
        }
        assert_eq!(all.admit(address(1)).fail().wait, Duration::from_secs(2));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let all = Strangers::default();
        for number in 0..5_000u32 {
            all.failed_from(IpAddr::from(number.to_be_bytes()));
        }
        assert!(all.failures.borrow().len() <= ADDRESSES);
    }
}
