//! Token buckets: what may be sent at most, whatever is asked.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use crate::plan::Budget;
use crate::time::Instant;

/// A burst may be this many seconds' worth of packets; a survey's first second needs about 45.
const BURST_SECONDS: f64 = 2.0;
/// Buckets kept; a full bucket is forgotten first, since it equals a new one.
const BUCKETS: usize = 1 << 16;

/// One token bucket.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bucket {
    rate: f64,
    size: f64,
    level: f64,
    at: Instant,
}

impl Bucket {
    /// A full bucket of `size` tokens that gains `rate` a second.
    pub(super) const fn new(rate: f64, size: f64, now: Instant) -> Self {
        Self { rate, size, level: size, at: now }
    }

    fn fill(&mut self, now: Instant) {
        let gained = now.since(self.at).as_secs_f64() * self.rate;
        self.level = (self.level + gained).min(self.size);
        self.at = now;
    }

    /// Takes one token if there is one.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        self.fill(now);
        let granted = self.level >= 1.0;
        if granted {
            self.level -= 1.0;
        }
        granted
    }

    /// Whether there is a token.
    pub(super) fn has(&mut self, now: Instant) -> bool {
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
}

/// The buckets of a plan.
#[derive(Debug)]
pub(super) struct Budgets {
    limits: Budget,
    all: Bucket,
    destinations: BTreeMap<IpAddr, Bucket>,
    prefixes: BTreeMap<IpAddr, Bucket>,
}

impl Budgets {
    /// Full buckets.
    pub(super) fn new(limits: Budget, now: Instant) -> Self {
        Self {
            limits,
            all: bucket(limits.packets_per_second, now),
            destinations: BTreeMap::new(),
            prefixes: BTreeMap::new(),
        }
    }

    /// Takes a packet's worth from every bucket concerned, or says how long to wait.
    pub(super) fn take(&mut self, now: Instant, to: IpAddr) -> Result<(), Duration> {
        self.admit(now, to)?;
        self.spend(to);
        Ok(())
    }

    /// Books a packet that [`Self::admit`] let pass.
    pub(super) fn spend(&mut self, to: IpAddr) {
        self.all.level -= 1.0;
        let concerned = [self.destinations.get_mut(&to), self.prefixes.get_mut(&prefix(to))];
        concerned.into_iter().flatten().for_each(|bucket| bucket.level -= 1.0);
    }

    /// Whether a packet may be sent to this address now, or how long to wait.
    pub(super) fn admit(&mut self, now: Instant, to: IpAddr) -> Result<(), Duration> {
        if self.destinations.len() >= BUCKETS {
            self.destinations.retain(|_, bucket| !bucket.is_full(now));
            self.prefixes.retain(|_, bucket| !bucket.is_full(now));
        }
        let (limits, prefix) = (self.limits, prefix(to));
        let destination = self.destinations.entry(to);
        let destination = destination.or_insert_with(|| bucket(limits.per_destination, now));
        let prefix = self.prefixes.entry(prefix);
        let prefix = prefix.or_insert_with(|| bucket(limits.per_prefix, now));
        let mut buckets = [&mut self.all, destination, prefix];
        buckets.iter_mut().for_each(|bucket| bucket.fill(now));
        let wait = buckets.iter().map(|bucket| bucket.wait()).max().unwrap_or_default();
        if wait.is_zero() { Ok(()) } else { Err(wait.max(Duration::from_millis(1))) }
    }
}

fn bucket(rate: f64, now: Instant) -> Bucket {
    Bucket::new(rate, (rate * BURST_SECONDS).max(1.0), now)
}

/// The /24 or /64 an address belongs to.
pub(super) fn prefix(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(v4) => IpAddr::V4((v4.to_bits() & 0xffff_ff00).into()),
        IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() & !u128::from(u64::MAX)).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_destination_is_never_flooded() {
        let limits = Budget { per_destination: 10.0, ..Budget::default() };
        let mut budgets = Budgets::new(limits, Instant::ZERO);
        let to: IpAddr = "192.0.2.1".parse().unwrap();
        let mut granted = 0;
        for millis in 0..10_000 {
            let now = Instant::from_start(Duration::from_millis(millis));
            granted += u32::from(budgets.take(now, to).is_ok());
        }
        assert!((100..=120).contains(&granted), "{granted} packets in 10 s at 10 a second");
    }

    #[test]
    fn a_refusal_says_when_to_come_back() {
        let limits = Budget { per_destination: 1.0, ..Budget::default() };
        let mut budgets = Budgets::new(limits, Instant::ZERO);
        let to: IpAddr = "2001:db8::1".parse().unwrap();
        while budgets.take(Instant::ZERO, to).is_ok() {}
        let wait = budgets.take(Instant::ZERO, to).unwrap_err();
        assert!(budgets.take(Instant::ZERO + wait, to).is_ok());
    }
}
