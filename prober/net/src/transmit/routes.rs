//! The way to a destination when the kernel does not route for us: route, next hop, neighbour.
//!
//! Whatever is not plain unicast out of one device we understand stays with the kernel, whose raw
//! socket does everything right.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteMessage, RouteMetric, RouteType, RouteVia,
};
use reachd_core::time::Instant;

use super::netlink::{Link, LinkAddress, Links, Neighbour, Questions, ask_neighbour, family_of};
use super::slots::Way;
use crate::sys::batch::{PACKET_LEN_MAX, To};
use crate::vantage::Place;

/// How often the kernel gets a packet for a next hop, so that it verifies its neighbour: what we
/// send ourselves neither confirms an entry nor starts its probes.
const KICK_EVERY: Duration = Duration::from_secs(15);
/// Next hops remembered at most: more than any kernel has neighbours by default.
const HOPS_MAX: usize = 65_536;

/// Room that every packet of ours needs, and so the least MTU of devices and routes.
#[expect(clippy::cast_possible_truncation, reason = "a constant of three digits")]
const MTU_MIN: u32 = PACKET_LEN_MAX as u32;

/// A next hop, shared by the destinations behind it.
#[derive(Debug)]
struct Hop {
    interface: u32,
    reach: Reach,
}

/// How a next hop is reached.
#[derive(Debug, Clone, Copy)]
enum Reach {
    /// The device takes bare packets.
    Bare,
    /// The kernel verifies this neighbour from `kick` on.
    Neighbour { link: LinkAddress, kick: Instant },
    /// The kernel must find the neighbour first.
    Unresolved,
}

/// Where one route leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Route {
    interface: u32,
    gateway: Option<IpAddr>,
}

/// Routes and neighbours as the kernel sees them.
#[derive(Debug)]
pub(super) struct Routes {
    questions: Questions,
    links: Links,
    source: Option<IpAddr>,
    device: Option<u32>,
    mark: Option<u32>,
    hops: Vec<Hop>,
    index: HashMap<(u32, IpAddr), u32>,
}

impl Routes {
    /// Opens what it asks with; the caller is in the place's namespace.
    pub(super) fn open_inside(place: &Place) -> io::Result<Self> {
        Ok(Self {
            questions: Questions::open_inside()?,
            links: Links::default(),
            source: place.source(),
            device: place.device_index(),
            mark: place.mark(),
            hops: Vec::new(),
            index: HashMap::new(),
        })
    }

    /// Finds the way to a destination.
    pub(super) fn find(&mut self, dest: IpAddr, now: Instant) -> Way {
        // The entry of the table tells what the resolved route hides: several next hops, and a
        // tunnel around the packet.
        let is_plain = self.ask(dest, RouteFlags::FibMatch).is_some();
        match self.ask(dest, RouteFlags::empty()).filter(|_| is_plain) {
            Some(route) => self.hop(route.interface, route.gateway.unwrap_or(dest), now),
            None => Way::Raw,
        }
    }

    /// Where a frame to this hop goes; `None` if the kernel must send it, to find or to verify the
    /// neighbour.
    pub(super) fn aim(&mut self, hop: u32, is_v6: bool, now: Instant) -> Option<To> {
        let hop = self.hops.get_mut(hop as usize)?;
        let address = match &mut hop.reach {
            Reach::Bare => None,
            Reach::Unresolved => return None,
            Reach::Neighbour { kick, .. } if *kick <= now => {
                *kick = now + KICK_EVERY;
                return None;
            }
            Reach::Neighbour { link, .. } => Some(*link),
        };
        Some(To::Link { interface: hop.interface, is_v6, address })
    }

    /// Takes a neighbour's new state.
    pub(super) fn hear(&mut self, neighbour: &Neighbour, now: Instant) {
        let key = (neighbour.interface, neighbour.address);
        let hop = self.index.get(&key).and_then(|hop| self.hops.get_mut(*hop as usize));
        if let Some(hop) = hop
            && !matches!(hop.reach, Reach::Bare)
        {
            hop.reach = Reach::of(Some(neighbour), now);
        }
    }

    /// Forgets all: routes changed, and an index may mean another interface now.
    pub(super) fn clear(&mut self) {
        self.links.clear();
        self.hops.clear();
        self.index.clear();
    }

    /// Asks for a route under the vantage's own rules, as its raw socket is routed.
    fn ask(&mut self, dest: IpAddr, flags: RouteFlags) -> Option<Route> {
        let bits = if dest.is_ipv4() { 32 } else { 128 };
        let mut question = RouteMessage::default();
        question.header.address_family = family_of(dest);
        question.header.destination_prefix_length = bits;
        question.header.flags = flags;
        question.attributes.push(RouteAttribute::Destination(dest.into()));
        // An unbound raw socket is routed without a source, whatever its header says.
        if let Some(source) = self.source {
            question.header.source_prefix_length = bits;
            question.attributes.push(RouteAttribute::Source(source.into()));
        }
        question.attributes.extend(self.device.map(RouteAttribute::Oif));
        question.attributes.extend(self.mark.map(RouteAttribute::Mark));
        match self.questions.ask(RouteNetlinkMessage::GetRoute(question))? {
            RouteNetlinkMessage::NewRoute(answer) => plain(&answer),
            _ => None,
        }
    }

    /// The next hop of this address on this interface.
    fn hop(&mut self, interface: u32, address: IpAddr, now: Instant) -> Way {
        let link = self.links.get(&mut self.questions, interface, MTU_MIN);
        let key = (interface, address);
        let known = self.index.get(&key).copied();
        let asked = |questions: &mut Questions| {
            Reach::of(ask_neighbour(questions, interface, address).as_ref(), now)
        };
        let reach = match (link, known.and_then(|hop| self.hops.get(hop as usize))) {
            (Link::Other, _) => return Way::Raw,
            (Link::Bare, _) => Reach::Bare,
            // A neighbour that we know is looked after by news and kicks.
            (Link::Ethernet, Some(Hop { reach: reach @ Reach::Neighbour { .. }, .. })) => *reach,
            (Link::Ethernet, _) => asked(&mut self.questions),
        };
        if let Some(hop) = known {
            if let Some(entry) = self.hops.get_mut(hop as usize) {
                entry.reach = reach;
            }
            return Way::Hop(hop);
        }
        match u32::try_from(self.hops.len()) {
            Ok(hop) if self.hops.len() < HOPS_MAX => {
                self.hops.push(Hop { interface, reach });
                self.index.insert(key, hop);
                Way::Hop(hop)
            }
            _ => Way::Raw,
        }
    }
}

impl Reach {
    /// What the kernel's word about a neighbour makes of it.
    fn of(neighbour: Option<&Neighbour>, now: Instant) -> Self {
        match neighbour {
            Some(Neighbour { link: Some(link), is_fresh, .. }) => {
                // An entry that the kernel itself doubts is verified before it is used at length.
                let kick = if *is_fresh { now + KICK_EVERY } else { now };
                Self::Neighbour { link: *link, kick }
            }
            _ => Self::Unresolved,
        }
    }
}

/// Reads a route; `None` if it is one for the kernel.
fn plain(message: &RouteMessage) -> Option<Route> {
    if message.header.kind != RouteType::Unicast {
        return None;
    }
    let (mut interface, mut gateway) = (None, None);
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Oif(index) => interface = Some(*index),
            RouteAttribute::Gateway(RouteAddress::Inet(address))
            | RouteAttribute::Via(RouteVia::Inet(address)) => gateway = Some((*address).into()),
            RouteAttribute::Gateway(RouteAddress::Inet6(address))
            | RouteAttribute::Via(RouteVia::Inet6(address)) => gateway = Some((*address).into()),
            RouteAttribute::Gateway(_)
            | RouteAttribute::Via(_)
            | RouteAttribute::MultiPath(_)
            | RouteAttribute::Encap(_)
            | RouteAttribute::EncapType(_)
            | RouteAttribute::NewDestination(_)
            | RouteAttribute::NewDestinationAddress(_) => return None,
            RouteAttribute::Metrics(metrics) => {
                let is_small = |metric: &RouteMetric| match metric {
                    RouteMetric::Mtu(mtu) => *mtu < MTU_MIN,
                    _ => false,
                };
                if metrics.iter().any(is_small) {
                    return None;
                }
            }
            _ => {}
        }
    }
    // The entry of a group of next hops may name no interface.
    interface.map(|interface| Route { interface, gateway })
}
