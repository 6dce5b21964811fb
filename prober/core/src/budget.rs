//! Token buckets: what may be sent at most, whatever is asked.
//!
//! Every address and every /24 or /64 that is sent to has an account. Surveys find theirs by
//! address; rows of the sweep hold a [`Lease`] on theirs and find them by index.
//!
//! Where an account gives less than the rows ask of it, they are served in the order in which they
//! were due, and nobody keeps a list: the account only knows how late those are whom it serves at
//! present. Whoever is less late comes back when it is as late as they are. So every row waits
//! equally long, and no survey, however many questions it has, takes more than half meanwhile.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use crate::plan::Budget;
use crate::time::Instant;

/// A burst may be this many seconds' worth of packets; a survey's first second needs about 45.
const BURST_SECONDS: f64 = 2.0;
/// Of what rows of the sweep wait for, surveys may take this part.
const SURVEYS_SHARE: f64 = 0.5;
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

    /// Whether there are so many tokens.
    pub(crate) fn holds(&mut self, now: Instant, count: f64) -> bool {
        self.fill(now);
        self.level >= count
    }

    /// Takes so many tokens for what was done already; the level may fall below zero.
    pub(crate) fn spend(&mut self, now: Instant, count: f64) {
        self.fill(now);
        self.level -= count;
    }

    /// Whether there is a token.
    pub(crate) fn has(&mut self, now: Instant) -> bool {
        self.fill(now);
        self.level >= 1.0
    }

    /// Seconds until there is a token.
    fn wait(&self) -> f64 {
        seconds_for(1.0 - self.level, self.rate)
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

/// The bucket of an address, of its prefix or of everything, and who waits for it.
#[derive(Debug, Clone, Copy)]
struct Account {
    bucket: Bucket,
    leases: u32,
    /// How many seconds late those rows are that are served at present; 0 while none waits.
    line: f64,
    /// What surveys may still take while rows wait.
    surveys: f64,
}

impl Account {
    fn new(rate: f64, now: Instant) -> Self {
        let size = size_of_bucket(rate);
        let surveys = size * SURVEYS_SHARE;
        Self { bucket: Bucket::new(rate, size, now), leases: 0, line: 0.0, surveys }
    }

    fn fill(&mut self, now: Instant) {
        let passed = now.since(self.bucket.at).as_secs_f64();
        self.bucket.fill(now);
        let gained = self.surveys + passed * self.bucket.rate * SURVEYS_SHARE;
        self.surveys = gained.min(self.bucket.size * SURVEYS_SHARE);
        // For two seconds nobody came for what there is: those who waited are gone.
        if self.bucket.level >= self.bucket.size {
            self.line = 0.0;
        }
    }

    /// Whether a row that is so many seconds late is served now; else when it should come again.
    fn admit_late(&mut self, now: Instant, late: f64) -> Result<(), f64> {
        self.fill(now);
        if self.bucket.level < 1.0 {
            let wait = self.bucket.wait();
            if late >= self.line {
                self.line = late + wait;
            }
            return Err((self.line - late).max(wait));
        }
        // What is saved up may serve those who are less late: it suffices for all before them.
        let spare = seconds_for(self.bucket.level - 1.0, self.bucket.rate);
        let early = self.line - spare - late;
        if early > 0.0 { Err(early) } else { Ok(()) }
    }

    /// Serves a row that was admitted.
    const fn spend_late(&mut self, late: f64) {
        self.bucket.level -= 1.0;
        self.line = self.line.min(late);
    }

    /// Whether a survey may send now; else in how many seconds.
    fn admit_survey(&mut self, now: Instant) -> Result<(), f64> {
        self.fill(now);
        let wait = self.bucket.wait();
        let share = self.bucket.rate * SURVEYS_SHARE;
        let shared = if self.line > 0.0 { seconds_for(1.0 - self.surveys, share) } else { 0.0 };
        let wait = wait.max(shared);
        if wait > 0.0 { Err(wait) } else { Ok(()) }
    }

    const fn spend_survey(&mut self) {
        self.bucket.level -= 1.0;
        self.surveys = (self.surveys - 1.0).max(0.0);
    }

    fn retune(&mut self, rate: f64, now: Instant) {
        self.bucket.retune(rate, now);
        (self.line, self.surveys) = (0.0, self.surveys.min(self.bucket.size * SURVEYS_SHARE));
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

/// Buckets of one kind, by address.
#[derive(Debug, Default)]
struct Shelf {
    rate: f64,
    index: BTreeMap<IpAddr, u32>,
    accounts: Vec<Account>,
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
        let fresh = Account::new(self.rate, now);
        let at = self.free.pop().unwrap_or_else(|| {
            self.accounts.push(fresh);
            u32::try_from(self.accounts.len() - 1).unwrap_or(u32::MAX)
        });
        if let Some(slot) = self.get(at) {
            *slot = fresh;
        }
        self.index.insert(address, at);
        self.unleased += 1;
        at
    }

    fn get(&mut self, at: u32) -> Option<&mut Account> {
        self.accounts.get_mut(usize::try_from(at).ok()?)
    }

    fn lease(&mut self, address: IpAddr, now: Instant) -> u32 {
        let at = self.find(address, now);
        if let Some(account) = self.get(at) {
            account.leases += 1;
            if account.leases == 1 {
                self.unleased -= 1;
            }
        }
        at
    }

    fn release(&mut self, at: u32) {
        if let Some(account) = self.get(at)
            && account.leases > 0
        {
            account.leases -= 1;
            if account.leases == 0 {
                self.unleased += 1;
            }
        }
    }

    fn forget_full(&mut self, now: Instant) {
        let Self { index, accounts, free, unleased, .. } = self;
        index.retain(|_, at| {
            let known = usize::try_from(*at).ok().and_then(|at| accounts.get(at));
            let keep = known.is_some_and(|known| known.leases > 0 || !known.bucket.is_full(now));
            if !keep {
                free.push(*at);
                *unleased -= 1;
            }
            keep
        });
    }

    fn retune(&mut self, rate: f64, now: Instant) {
        self.rate = rate;
        self.accounts.iter_mut().for_each(|account| account.retune(rate, now));
    }
}

/// The buckets of a plan.
#[derive(Debug)]
pub struct Budgets {
    limits: Budget,
    all: Account,
    destinations: Shelf,
    prefixes: Shelf,
}

impl Budgets {
    /// Full buckets.
    pub fn new(limits: Budget, now: Instant) -> Self {
        let shelf = |rate| Shelf { rate, ..Shelf::default() };
        Self {
            limits,
            all: Account::new(limits.packets_per_second, now),
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

    /// Takes a packet's worth from every bucket of a lease, for a row that is due just now.
    ///
    /// # Errors
    ///
    /// When it is not its turn yet; nothing is taken then.
    pub fn take_leased(&mut self, now: Instant, lease: Lease) -> Result<(), Denial> {
        self.take_late(now, lease, Duration::ZERO)
    }

    /// Takes a packet's worth from every bucket of a lease for a row that is so late, or says when
    /// its turn will come.
    ///
    /// # Errors
    ///
    /// When one of the buckets is empty, or others are later; nothing is taken then.
    pub fn take_late(&mut self, now: Instant, lease: Lease, late: Duration) -> Result<(), Denial> {
        self.all.fill(now);
        let wait = self.all.bucket.wait();
        // Who is next here the wheel knows; surveys must know that somebody is.
        self.all.line = wait;
        if wait > 0.0 {
            return Err(Denial::All(at_least_a_millisecond(wait)));
        }
        let near = self.destinations.get(lease.destination);
        let wide = self.prefixes.get(lease.prefix);
        let (Some(near), Some(wide)) = (near, wide) else {
            return Err(Denial::Destination(Duration::from_secs(60)));
        };
        let late = late.as_secs_f64();
        let admitted = near.admit_late(now, late);
        admitted.map_err(|wait| Denial::Destination(at_least_a_millisecond(wait)))?;
        // Who waited for its own address does not go before those who waited for the prefix.
        let late_here = (late - near.line).max(0.0);
        let admitted = wide.admit_late(now, late_here);
        admitted.map_err(|wait| Denial::Destination(at_least_a_millisecond(wait)))?;
        self.all.bucket.level -= 1.0;
        near.spend_late(late);
        wide.spend_late(late_here);
        Ok(())
    }

    /// Whether a survey may send a packet to this address now, or how long to wait.
    pub(crate) fn admit(&mut self, now: Instant, to: IpAddr) -> Result<(), Duration> {
        let Lease { destination, prefix } = self.find(now, to);
        let accounts = [self.destinations.get(destination), self.prefixes.get(prefix)];
        let concerned = accounts.into_iter().flatten().chain([&mut self.all]);
        let waits = concerned.filter_map(|account| account.admit_survey(now).err());
        let wait = waits.fold(0.0, f64::max);
        if wait > 0.0 { Err(at_least_a_millisecond(wait)) } else { Ok(()) }
    }

    /// Books a packet that [`Self::admit`] let pass.
    pub(crate) fn spend(&mut self, now: Instant, to: IpAddr) {
        let Lease { destination, prefix } = self.find(now, to);
        let accounts = [self.destinations.get(destination), self.prefixes.get(prefix)];
        let concerned = accounts.into_iter().flatten().chain([&mut self.all]);
        concerned.for_each(Account::spend_survey);
    }

    fn find(&mut self, now: Instant, to: IpAddr) -> Lease {
        let destination = self.destinations.find(to, now);
        Lease { destination, prefix: self.prefixes.find(prefix(to), now) }
    }
}

fn at_least_a_millisecond(wait: f64) -> Duration {
    Duration::from_secs_f64(wait.min(60.0)).max(Duration::from_millis(1))
}

/// How long so many tokens take to come.
const fn seconds_for(tokens: f64, rate: f64) -> f64 {
    (tokens.max(0.0) / rate.max(0.001)).min(60.0)
}

fn size_of_bucket(rate: f64) -> f64 {
    (rate * BURST_SECONDS).max(1.0)
}

/// The first address of the /24 or /64 that an address belongs to.
pub const fn prefix(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(v4) => IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits() & 0xffff_ff00)),
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !(u64::MAX as u128))),
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
        let Denial::Destination(wait) = denial else { panic!("{denial:?}") };
        assert!(budgets.take_late(Instant::ZERO + wait, lease, wait).is_ok());
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
