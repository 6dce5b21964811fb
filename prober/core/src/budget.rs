//! Token buckets: what may be sent at most, whatever is asked.
//!
//! Every address and every /24 or /64 that is sent to has a bucket. Surveys find theirs by address;
//! rows of the sweep hold a [`Lease`] on theirs and find them by index.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use crate::plan::Budget;
use crate::time::Instant;

/// A burst may be this many seconds' worth of packets; a survey's first second needs about 45.
const BURST_SECONDS: f64 = 2.0;
/// Buckets without a lease kept at most; a full bucket is forgotten first, since it equals a new
/// one.
const UNLEASED_MAX: usize = 1 << 16;

/// One token bucket.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bucket {
    rate: f64,
    size: f64,
    level: f64,
    at: Instant,
}

impl Bucket {
    /// A full bucket of `size` tokens that gains `rate` a second.
    pub(crate) const fn new(rate: f64, size: f64, now: Instant) -> Self {
        Self { rate, size, level: size, at: now }
    }

    fn fill(&mut self, now: Instant) {
        let gained = now.since(self.at).as_secs_f64() * self.rate;
        self.level = (self.level + gained).min(self.size);
        self.at = now;
    }

    /// Takes one token if there is one.
    pub(crate) fn take(&mut self, now: Instant) -> bool {
        self.fill(now);
        let granted = self.level >= 1.0;
        if granted {
            self.level -= 1.0;
        }
        granted
    }

    /// Whether there is a token.
    pub(crate) fn has(&mut self, now: Instant) -> bool {
        self.fill(now);
        self.level >= 1.0
    }

    fn wait(&self) -> Duration {
        let missing = (1.0 - self.level).max(0.0);
        Duration::from_secs_f64((missing / self.rate.max(0.001)).min(60.0))
    }

    fn is_full(&self, now: Instant) -> bool {
        let mut copy = *self;
        copy.fill(now);
        copy.level >= copy.size
    }

    /// Another rate from now on; what was gained stays, as far as it fits.
    fn retune(&mut self, rate: f64, now: Instant) {
        self.fill(now);
        (self.rate, self.size) = (rate, size_of_bucket(rate));
        self.level = self.level.min(self.size);
    }
}

/// The right to find an address's buckets by index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    destination: u32,
    prefix: u32,
}

impl Lease {
    /// No bucket: nothing may be sent by it.
    pub const NONE: Self = Self { destination: u32::MAX, prefix: u32::MAX };
}

/// Why nothing may be sent now, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denial {
    /// Nothing at all.
    All(Duration),
    /// Nothing to this address or its neighbours.
    Destination(Duration),
}

impl Denial {
    const fn wait(self) -> Duration {
        match self {
            Self::All(wait) | Self::Destination(wait) => wait,
        }
    }
}

/// Buckets of one kind, by address.
#[derive(Debug, Default)]
struct Shelf {
    rate: f64,
    index: BTreeMap<IpAddr, u32>,
    buckets: Vec<(Bucket, u32)>,
    free: Vec<u32>,
    unleased: usize,
}

impl Shelf {
    fn find(&mut self, address: IpAddr, now: Instant) -> u32 {
        if let Some(known) = self.index.get(&address) {
            return *known;
        }
        if self.unleased >= UNLEASED_MAX {
            self.forget_full(now);
        }
        let fresh = (Bucket::new(self.rate, size_of_bucket(self.rate), now), 0);
        let at = self.free.pop().unwrap_or_else(|| {
            self.buckets.push(fresh);
            u32::try_from(self.buckets.len() - 1).unwrap_or(u32::MAX)
        });
        if let Some(slot) = self.get(at) {
            *slot = fresh;
        }
        self.index.insert(address, at);
        self.unleased += 1;
        at
    }

    fn get(&mut self, at: u32) -> Option<&mut (Bucket, u32)> {
        self.buckets.get_mut(usize::try_from(at).ok()?)
    }

    fn lease(&mut self, address: IpAddr, now: Instant) -> u32 {
        let at = self.find(address, now);
        if let Some((_, leases)) = self.get(at) {
            *leases += 1;
            if *leases == 1 {
                self.unleased -= 1;
            }
        }
        at
    }

    fn release(&mut self, at: u32) {
        if let Some((_, leases)) = self.get(at)
            && *leases > 0
        {
            *leases -= 1;
            if *leases == 0 {
                self.unleased += 1;
            }
        }
    }

    fn forget_full(&mut self, now: Instant) {
        let Self { index, buckets, free, unleased, .. } = self;
        index.retain(|_, at| {
            let slot = usize::try_from(*at).ok().and_then(|at| buckets.get(at));
            let keep = slot.is_some_and(|(bucket, leases)| *leases > 0 || !bucket.is_full(now));
            if !keep {
                free.push(*at);
                *unleased -= 1;
            }
            keep
        });
    }

    fn retune(&mut self, rate: f64, now: Instant) {
        self.rate = rate;
        self.buckets.iter_mut().for_each(|(bucket, _)| bucket.retune(rate, now));
    }
}

/// The buckets of a plan.
#[derive(Debug)]
pub struct Budgets {
    limits: Budget,
    all: Bucket,
    destinations: Shelf,
    prefixes: Shelf,
}

impl Budgets {
    /// Full buckets.
    pub fn new(limits: Budget, now: Instant) -> Self {
        let shelf = |rate| Shelf { rate, ..Shelf::default() };
        Self {
            limits,
            all: bucket(limits.packets_per_second, now),
            destinations: shelf(limits.per_destination),
            prefixes: shelf(limits.per_prefix),
        }
    }

    /// Puts other limits in force; leases go on.
    pub fn set_limits(&mut self, limits: Budget, now: Instant) {
        if limits == self.limits {
            return;
        }
        self.limits = limits;
        self.all.retune(limits.packets_per_second, now);
        self.destinations.retune(limits.per_destination, now);
        self.prefixes.retune(limits.per_prefix, now);
    }

    /// The right to find this address's buckets by index, until it is released.
    pub fn lease(&mut self, to: IpAddr, now: Instant) -> Lease {
        let destination = self.destinations.lease(to, now);
        Lease { destination, prefix: self.prefixes.lease(prefix(to), now) }
    }

    /// Gives a lease back.
    pub fn release(&mut self, lease: Lease) {
        self.destinations.release(lease.destination);
        self.prefixes.release(lease.prefix);
    }

    /// Takes a packet's worth from every bucket of a lease, or says how long to wait.
    ///
    /// # Errors
    ///
    /// When one of the buckets is empty; nothing is taken then.
    pub fn take_leased(&mut self, now: Instant, lease: Lease) -> Result<(), Denial> {
        self.admit_leased(now, lease)?;
        self.spend_leased(lease);
        Ok(())
    }

    /// Whether a packet may be sent to this address now, or how long to wait.
    pub(crate) fn admit(&mut self, now: Instant, to: IpAddr) -> Result<(), Duration> {
        let lease = self.find(now, to);
        self.admit_leased(now, lease).map_err(Denial::wait)
    }

    /// Books a packet that [`Self::admit`] let pass.
    pub(crate) fn spend(&mut self, now: Instant, to: IpAddr) {
        let lease = self.find(now, to);
        self.spend_leased(lease);
    }

    fn find(&mut self, now: Instant, to: IpAddr) -> Lease {
        let destination = self.destinations.find(to, now);
        Lease { destination, prefix: self.prefixes.find(prefix(to), now) }
    }

    fn admit_leased(&mut self, now: Instant, lease: Lease) -> Result<(), Denial> {
        if !self.all.has(now) {
            return Err(Denial::All(at_least_a_millisecond(self.all.wait())));
        }
        let near = self.destinations.get(lease.destination);
        let wide = self.prefixes.get(lease.prefix);
        let (Some((near, _)), Some((wide, _))) = (near, wide) else {
            return Err(Denial::Destination(Duration::from_secs(60)));
        };
        let granted = near.has(now) && wide.has(now);
        let wait = near.wait().max(wide.wait());
        if granted { Ok(()) } else { Err(Denial::Destination(at_least_a_millisecond(wait))) }
    }

    fn spend_leased(&mut self, lease: Lease) {
        self.all.level -= 1.0;
        let near = self.destinations.get(lease.destination);
        let concerned = near.into_iter().chain(self.prefixes.get(lease.prefix));
        concerned.for_each(|(bucket, _)| bucket.level -= 1.0);
    }
}

fn at_least_a_millisecond(wait: Duration) -> Duration {
    wait.max(Duration::from_millis(1))
}

fn size_of_bucket(rate: f64) -> f64 {
    (rate * BURST_SECONDS).max(1.0)
}

fn bucket(rate: f64, now: Instant) -> Bucket {
    Bucket::new(rate, size_of_bucket(rate), now)
}

/// The /24 or /64 an address belongs to.
pub(crate) fn prefix(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(v4) => IpAddr::V4((v4.to_bits() & 0xffff_ff00).into()),
        IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() & !u128::from(u64::MAX)).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::from_start(Duration::from_millis(millis))
    }

    #[test]
    fn a_destination_is_never_flooded_by_survey_and_sweep_together() {
        let limits = Budget { per_destination: 10.0, ..Budget::default() };
        let mut budgets = Budgets::new(limits, Instant::ZERO);
        let to: IpAddr = "192.0.2.1".parse().unwrap();
        let lease = budgets.lease(to, Instant::ZERO);
        let mut granted = 0;
        for millis in 0..10_000 {
            granted += u32::from(budgets.take_leased(at(millis), lease).is_ok());
            if budgets.admit(at(millis), to).is_ok() {
                budgets.spend(at(millis), to);
                granted += 1;
            }
        }
        assert!((100..=120).contains(&granted), "{granted} packets in 10 s at 10 a second");
    }

    #[test]
    fn a_refusal_says_when_to_come_back() {
        let limits = Budget { per_destination: 1.0, ..Budget::default() };
        let mut budgets = Budgets::new(limits, Instant::ZERO);
        let lease = budgets.lease("2001:db8::1".parse().unwrap(), Instant::ZERO);
        while budgets.take_leased(Instant::ZERO, lease).is_ok() {}
        let denial = budgets.take_leased(Instant::ZERO, lease).unwrap_err();
        assert!(matches!(denial, Denial::Destination(_)));
        assert!(budgets.take_leased(Instant::ZERO + denial.wait(), lease).is_ok());
    }

    #[test]
    fn leases_outlive_the_forgetting_and_other_limits() {
        let mut budgets = Budgets::new(Budget::default(), Instant::ZERO);
        let to: IpAddr = "192.0.2.1".parse().unwrap();
        let lease = budgets.lease(to, Instant::ZERO);
        while budgets.take_leased(Instant::ZERO, lease).is_ok() {}
        for host in 0..200_000_u32 {
            let _ = budgets.admit(at(1), IpAddr::from((0x0a00_0000 + host).to_be_bytes()));
        }
        assert!(budgets.destinations.index.len() <= UNLEASED_MAX + 1);
        assert!(budgets.take_leased(at(1), lease).is_err(), "its bucket was not made anew");
        let limits = Budget { per_destination: 5_000.0, ..Budget::default() };
        budgets.set_limits(limits, at(2));
        assert!(budgets.take_leased(at(3), lease).is_ok());
        budgets.release(lease);
        assert!(budgets.take_leased(at(3), Lease::NONE).is_err());
    }
}
