//! Names: which addresses a target has, as each vantage sees it.

use std::net::IpAddr;
use std::time::Duration;

use super::{Monitor, Output, QueryId, Resolution, ResolveOrder, Timer};
use crate::judge::Sign;
use crate::target::{FamilyChoice, TargetName};
use crate::time::Instant;
use crate::vantage::VantageId;

/// A name is asked again no sooner and no later than this, whatever its time to live.
const ASK_AGAIN: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(3_600));
/// A name that failed is asked again this soon.
const RETRY: Duration = Duration::from_secs(5);
/// A literal address needs no asking.
const NEVER: Duration = Duration::from_secs(1 << 32);
/// Failures in a row before a name that once resolved counts as failed; the old addresses are
/// served on meanwhile (serve-stale, RFC 8767).
const PATIENCE: u32 = 2;

/// What one vantage knows of one name.
#[derive(Debug)]
pub(super) struct Names {
    /// Its addresses, old ones included while the resolver fails.
    pub(super) addresses: Vec<IpAddr>,
    /// What is wrong with it, if anything.
    pub(super) trouble: Option<Sign>,
    failures: u32,
}

/// The literal address a host is, if it is one.
fn literal(host: &str) -> Option<IpAddr> {
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

fn wanted(family: FamilyChoice, address: IpAddr) -> bool {
    match family {
        FamilyChoice::Any => true,
        FamilyChoice::V4 => address.is_ipv4(),
        FamilyChoice::V6 => address.is_ipv6(),
    }
}

/// Addresses of one family that are probed at most: whoever owns a record must not choose how many
/// hosts we talk to.
const PER_FAMILY: usize = 3;

fn few_of_each_family(addresses: &mut Vec<IpAddr>) {
    let (mut v4, mut v6) = (0, 0);
    addresses.retain(|address| {
        let seen = if address.is_ipv4() { &mut v4 } else { &mut v6 };
        *seen += 1;
        *seen <= PER_FAMILY
    });
}

impl Monitor {
    /// Asks for a name's addresses, or takes them from the name itself.
    pub(super) fn run_names(&mut self, now: Instant, name: &TargetName, vantage: VantageId) {
        let Some(watch) = self.targets.get_mut(name) else { return };
        if let Some(address) = literal(&watch.target.host) {
            let names = Names { addresses: vec![address], trouble: None, failures: 0 };
            watch.names.insert(vantage, names);
            self.timers.set(Timer::Names(name.clone(), vantage), Some(now + NEVER));
            self.refresh_views(now, name);
            return;
        }
        if self.queries.holds(name, vantage) {
            return;
        }
        let query = QueryId(self.next_query);
        self.next_query = self.next_query.wrapping_add(1);
        let order = ResolveOrder {
            query,
            vantage,
            host: watch.target.host.clone(),
            family: watch.target.family,
        };
        self.queries.add(query, name.clone(), vantage);
        self.outputs.push_back(Output::Resolve(order));
    }

    pub(super) fn handle_resolved(&mut self, now: Instant, query: QueryId, result: Resolution) {
        let Some((name, vantage)) = self.queries.take(query) else { return };
        let Some(watch) = self.targets.get_mut(&name) else { return };
        let family = watch.target.family;
        let names = watch.names.entry(vantage).or_insert_with(|| Names {
            addresses: Vec::new(),
            trouble: None,
            failures: 0,
        });
        let (trouble, again) = match result {
            Resolution::Addresses { mut addresses, ttl } => {
                addresses.retain(|address| wanted(family, *address));
                few_of_each_family(&mut addresses);
                names.addresses = addresses;
                names.failures = 0;
                (None, ttl.clamp(ASK_AGAIN.0, ASK_AGAIN.1))
            }
            Resolution::NoSuchName => (Some(Sign::NameUnknown), RETRY),
            Resolution::ServerFailure => (Some(Sign::NameServerFails), RETRY),
            Resolution::Timeout => (Some(Sign::NameTimesOut), RETRY),
            Resolution::ResolverDead => (Some(Sign::ResolverDead), RETRY),
        };
        if trouble.is_some() {
            names.failures += 1;
        }
        let stale = !names.addresses.is_empty();
        names.trouble = trouble.filter(|_| !stale || names.failures >= PATIENCE);
        let dead = names.trouble == Some(Sign::ResolverDead);
        if let Some(vantage) = self.vantages.get_mut(&vantage) {
            vantage.note_resolver(&name, dead);
        }
        self.timers.set(Timer::Names(name.clone(), vantage), Some(now + again));
        self.review_soon(now, vantage);
        self.refresh_views(now, &name);
        self.rejudge(now, &name);
    }
}
