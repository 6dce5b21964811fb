//! Which planned addresses lie near each other: the siblings that a trace may compare with, and the
//! routers on the way to them.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::Monitor;
use super::flights::ViewKey;
use super::refusals::Refusal;
use crate::budget::prefix;
use crate::target::{Fronted, Siblings, Target, TargetName};
use crate::vantage::VantageId;

/// Neighbours looked at on either side at most: only the two nearest that answer are traced.
const LOOK: usize = 32;
/// Routers on the way to a subnet that are kept at most: those heard last.
const ROUTERS_MAX: usize = 32;

/// Planned addresses by vantage, in order, with how many views have them.
#[derive(Debug, Default)]
pub(super) struct Neighbourhood {
    planned: BTreeMap<(VantageId, IpAddr), u32>,
    /// Those of which nothing is heard now.
    mute: BTreeSet<(VantageId, IpAddr)>,
    /// How far the ports of shared addresses are in health, by target.
    shared: BTreeMap<(VantageId, IpAddr), BTreeMap<TargetName, u8>>,
    /// The routers on the way to each subnet in health, those heard last at the end. Routers limit
    /// their errors: a look at one target hears some, all looks at its subnet hear them all.
    ways: BTreeMap<(VantageId, IpAddr), Vec<IpAddr>>,
    /// What a router on the way to each subnet last refused.
    refusals: BTreeMap<IpAddr, (VantageId, Refusal)>,
}

impl Neighbourhood {
    /// A view of this address begins; canaries are nobody's neighbours.
    pub(super) fn add(&mut self, vantage: VantageId, address: IpAddr, canary: bool) {
        if !canary {
            *self.planned.entry((vantage, address)).or_default() += 1;
        }
    }

    /// A view of this address ends.
    pub(super) fn remove(&mut self, vantage: VantageId, address: IpAddr, canary: bool) {
        let count = self.planned.get_mut(&(vantage, address));
        if let Some(count) = count.filter(|_| !canary) {
            *count -= 1;
            if *count == 0 {
                self.planned.remove(&(vantage, address));
                self.mute.remove(&(vantage, address));
            }
            // Whoever stays is learnt anew.
            self.shared.remove(&(vantage, address));
            let subnet = prefix(address);
            let first = self.planned.range((vantage, subnet)..).next();
            if first.is_none_or(|(at, _)| at.0 != vantage || prefix(at.1) != subnet) {
                self.ways.remove(&(vantage, subnet));
                self.refusals.remove(&subnet);
            }
        }
    }

    /// Notes which routers a look at a healthy address has heard; `moved` when its way is another
    /// than before.
    pub(super) fn note_way(
        &mut self,
        (vantage, address): (VantageId, IpAddr),
        heard: impl Iterator<Item = IpAddr>,
        moved: bool,
    ) {
        let way = self.ways.entry((vantage, prefix(address))).or_default();
        if moved {
            way.clear();
        }
        for router in heard {
            way.retain(|known| *known != router);
            way.push(router);
        }
        way.drain(..way.len().saturating_sub(ROUTERS_MAX));
    }

    /// Notes what a router said of an address.
    pub(super) fn note_refusal(&mut self, (vantage, address): (VantageId, IpAddr), said: Refusal) {
        self.refusals.insert(prefix(address), (vantage, said));
    }

    /// An address answers: what was said of it is over.
    pub(super) fn forget_refusal(&mut self, (_, address): (VantageId, IpAddr)) {
        let subnet = prefix(address);
        if self.refusals.get(&subnet).is_some_and(|(_, said)| said.about() == address) {
            self.refusals.remove(&subnet);
        }
    }

    /// What a router on the way from here said of an address of the same subnet, to whatever
    /// vantage; nothing where others of the subnet answer, for it is not refused as a whole.
    pub(super) fn refusal(&self, (vantage, address): (VantageId, IpAddr)) -> Option<Refusal> {
        let (heard, said) = self.refusals.get(&prefix(address))?;
        let passes = *heard == vantage || self.way(vantage, address).contains(&said.sender());
        let is_mute = |near: &IpAddr| self.mute.contains(&(vantage, *near));
        let alone = self.nearest(vantage, address).first().is_none_or(is_mute);
        (passes && alone).then_some(*said)
    }

    /// The routers on the way to an address, as far as looks at its subnet have heard them.
    pub(super) fn way(&self, vantage: VantageId, address: IpAddr) -> &[IpAddr] {
        self.ways.get(&(vantage, prefix(address))).map_or(&[], Vec::as_slice)
    }

    /// Whether this very address is planned.
    pub(super) fn has(&self, vantage: VantageId, address: IpAddr) -> bool {
        self.planned.contains_key(&(vantage, address))
    }

    /// Notes whether anything is heard of an address: the way toward one that fails as well tells
    /// little.
    pub(super) fn note_mute(&mut self, vantage: VantageId, address: IpAddr, mute: bool) {
        let at = (vantage, address);
        if mute && self.planned.contains_key(&at) {
            self.mute.insert(at);
        } else {
            self.mute.remove(&at);
        }
    }

    /// Notes how far the port of a healthy target is, where others share its address.
    pub(super) fn note_distance(&mut self, key: &ViewKey, routers: u8) {
        let at = (key.vantage, key.address);
        if self.planned.get(&at).is_some_and(|count| *count > 1) {
            self.shared.entry(at).or_default().insert(key.target.clone(), routers);
        }
    }

    /// Whether ports of one address are at different distances: something passes them on to hosts
    /// of their own.
    pub(super) fn is_fronted(&self, vantage: VantageId, address: IpAddr) -> bool {
        let Some(distances) = self.shared.get(&(vantage, address)) else { return false };
        let mut distances = distances.values();
        let first = distances.next();
        distances.any(|next| Some(next) != first)
    }

    /// The planned addresses of the same /24 or /64, itself left out: those that answer before
    /// those that do not, the nearest first.
    pub(super) fn nearest(&self, vantage: VantageId, address: IpAddr) -> Vec<IpAddr> {
        let at = (vantage, address);
        let is_near = |other: &IpAddr| *other != address && prefix(*other) == prefix(address);
        let same = |(found, _): &(&(VantageId, IpAddr), &u32)| found.0 == vantage;
        let below = self.planned.range(..at).rev().take_while(same).map(|(found, _)| found.1);
        let above = self.planned.range(at..).take_while(same).map(|(found, _)| found.1);
        let mut near: Vec<_> = below.take(LOOK).chain(above.take(LOOK + 1)).collect();
        near.retain(is_near);
        let is_mute = |other: &IpAddr| self.mute.contains(&(vantage, *other));
        let gap = |other: &IpAddr| bits(*other).abs_diff(bits(address));
        near.sort_by_key(|other| (is_mute(other), gap(other), *other));
        near
    }
}

impl Monitor {
    /// A target with the front that is inferred where none is configured.
    pub(super) fn as_it_stands<'a>(
        &self,
        target: &'a Target,
        (vantage, address): (VantageId, IpAddr),
    ) -> Cow<'a, Target> {
        let inferred =
            target.fronted == Fronted::None && self.neighbourhood.is_fronted(vantage, address);
        if inferred {
            Cow::Owned(Target { fronted: Fronted::Nat, ..target.clone() })
        } else {
            Cow::Borrowed(target)
        }
    }

    /// Neighbours whose path may be traced: of the plan in the same /24 or /64, else configured
    /// ones, else the subnet's first addresses.
    pub(super) fn siblings(&self, key: &ViewKey) -> Vec<IpAddr> {
        let Some(watch) = self.targets.get(&key.target) else { return Vec::new() };
        if watch.target.siblings == Siblings::Off {
            return Vec::new();
        }
        let subnet = prefix(key.address);
        let first = [1_u8, 2].map(|host| match subnet {
            IpAddr::V4(v4) => IpAddr::V4((v4.to_bits() | u32::from(host)).into()),
            IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() | u128::from(host)).into()),
        });
        let configured = watch.target.neighbours.iter().copied();
        let configured = configured.filter(|near| prefix(*near) == subnet);
        let mut siblings = Vec::new();
        // The nearest: if all targets of a subnet traced the same two, those two would drown.
        let near = self.neighbourhood.nearest(key.vantage, key.address);
        for address in near.into_iter().chain(configured).chain(first) {
            if address != key.address && !siblings.contains(&address) && siblings.len() < 2 {
                siblings.push(address);
            }
        }
        siblings
    }
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => v4.to_bits().into(),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_of_one_address_at_different_distances_are_behind_a_front() {
        let (vantage, address) = (VantageId(0), IpAddr::from([10, 0, 0, 1]));
        let mut all = Neighbourhood::default();
        let key = |name| ViewKey { target: TargetName::new(name), vantage, address };
        all.add(vantage, address, false);
        all.note_distance(&key("a"), 4);
        all.add(vantage, address, false);
        all.note_distance(&key("b"), 5);
        assert!(!all.is_fronted(vantage, address), "a has not been seen since it shares");
        all.note_distance(&key("a"), 5);
        assert!(!all.is_fronted(vantage, address), "one host with two ports");
        all.note_distance(&key("a"), 4);
        assert!(all.is_fronted(vantage, address));
        all.note_distance(&key("a"), 5);
        assert!(!all.is_fronted(vantage, address), "the way has changed for both");
        all.note_distance(&key("a"), 4);
        all.remove(vantage, address, false);
        assert!(!all.is_fronted(vantage, address));
    }

    #[test]
    fn the_nearest_of_the_subnet_come_first() {
        let (vantage, other) = (VantageId(0), VantageId(1));
        let mut all = Neighbourhood::default();
        let address = |last: u8| IpAddr::from([10, 0, 0, last]);
        for last in [5, 9, 20, 21, 200] {
            all.add(vantage, address(last), false);
        }
        all.add(vantage, IpAddr::from([10, 0, 1, 0]), false);
        all.add(vantage, address(19), true);
        all.add(other, address(18), false);
        let found = all.nearest(vantage, address(20));
        assert_eq!(found, [address(21), address(9), address(5), address(200)]);
        all.note_mute(vantage, address(21), true);
        all.note_mute(vantage, address(9), true);
        let found = all.nearest(vantage, address(20));
        assert_eq!(found, [address(5), address(200), address(21), address(9)], "who answers");
        all.note_mute(vantage, address(9), false);
        all.remove(vantage, address(21), false);
        all.remove(vantage, address(9), true);
        assert_eq!(all.nearest(vantage, address(20))[0], address(9));
        assert!(all.nearest(other, address(18)).is_empty());
    }
    #[test]
    fn looks_at_a_subnet_hear_its_routers_together() {
        let (vantage, other) = (VantageId(0), VantageId(1));
        let address = |last: u8| IpAddr::from([10, 0, 0, last]);
        let router = |number: u8| IpAddr::from([10, 9, number, 1]);
        let mut all = Neighbourhood::default();
        all.add(vantage, address(1), false);
        all.add(vantage, address(2), false);
        all.note_way((vantage, address(1)), [router(1), router(3)].into_iter(), false);
        all.note_way((vantage, address(2)), [router(1), router(2)].into_iter(), false);
        assert_eq!(all.way(vantage, address(1)), [router(3), router(1), router(2)]);
        assert!(all.way(other, address(1)).is_empty(), "another vantage goes another way");
        all.note_way((vantage, address(2)), (10..50).map(router), false);
        let kept: Vec<_> = (18..50).map(router).collect();
        assert_eq!(all.way(vantage, address(1)), kept, "those heard last");
        all.note_way((vantage, address(2)), [router(4)].into_iter(), true);
        assert_eq!(all.way(vantage, address(1)), [router(4)], "the old way is gone");
        all.remove(vantage, address(1), false);
        assert_eq!(all.way(vantage, address(1)), [router(4)]);
        all.remove(vantage, address(2), false);
        assert!(all.way(vantage, address(1)).is_empty(), "nobody is there any more");
    }
}
