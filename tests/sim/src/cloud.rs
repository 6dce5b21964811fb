//! The usual topology: vantages, each with its own uplink, a shared exchange, a provider's edge,
//! subnets behind gateways, and canaries elsewhere.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::host::{Absent, Host};
use crate::router::Router;
use crate::world::{LocalFault, Place, Subnet, World, subnet};

/// A builder of the usual topology. The way of a packet: `a1 a2 x1 x2 e1 g0` to subnet 0 from
/// vantage `a`; `a1 a2 y0` to the first canary.
#[derive(Debug, Clone, Copy)]
pub struct Cloud {
    /// Vantages, named `a`, `b`, `c` and so on.
    pub vantages: u8,
    /// Subnets of the provider.
    pub subnets: u8,
    /// Windows servers per subnet, from host number 10 on.
    pub hosts: u8,
    /// Canaries on paths of their own.
    pub canaries: u8,
}

/// The IPv4 address of a host.
pub fn address(subnet: u8, host: u8) -> IpAddr {
    Ipv4Addr::new(10, 0, subnet, host).into()
}

/// The IPv6 address of a host.
pub fn address6(subnet: u8, host: u8) -> IpAddr {
    Ipv6Addr::new(0x2001, 0xdb8, u16::from(subnet), 0, 0, 0, 0, u16::from(host)).into()
}

/// The address of a canary.
pub fn canary(number: u8) -> IpAddr {
    Ipv4Addr::new(198, 51, number, 1).into()
}

impl Default for Cloud {
    fn default() -> Self {
        Self { vantages: 1, subnets: 1, hosts: 4, canaries: 0 }
    }
}

impl Cloud {
    /// Builds it.
    pub fn build(self, seed: u64) -> World {
        let mut world = World::new(seed);
        for number in 0..self.vantages {
            let name = char::from(b'a' + number % 26).to_string();
            let uplink: Vec<_> = (1..=2).map(|hop| format!("{name}{hop}")).collect();
            uplink.iter().for_each(|router| add_router(&mut world, router));
            let place = Place {
                v4: Ipv4Addr::new(203, 0, 113, number + 1).into(),
                v6: Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, u16::from(number) + 1).into(),
                uplink,
                skips: 0,
                fault: LocalFault::None,
                resolver: true,
            };
            world.places.insert(name, place);
        }
        for router in ["x1", "x2", "e1"] {
            add_router(&mut world, router);
        }
        for number in 0..self.subnets {
            let gateway = format!("g{number}");
            add_router(&mut world, &gateway);
            let routers = ["x1", "x2", "e1", gateway.as_str()].map(str::to_owned).to_vec();
            for first in [address(number, 0), address6(number, 0)] {
                let routers = routers.clone();
                world.subnets.insert(first, Subnet { routers, absent: Absent::Silence });
            }
            for host in 10..10 + self.hosts {
                world.hosts.insert(address(number, host), Host::windows());
                world.hosts.insert(address6(number, host), Host::windows());
            }
        }
        for number in 0..self.canaries {
            let router = format!("y{number}");
            add_router(&mut world, &router);
            let at = canary(number);
            let way = Subnet { routers: vec![router], absent: Absent::Silence };
            world.subnets.insert(subnet(at), way);
            world.hosts.insert(at, Host::linux(443).with_rdp(crate::host::Port::Closed));
        }
        world
    }
}

pub(crate) fn add_router(world: &mut World, name: &str) {
    let number = u8::try_from(world.routers.len()).unwrap_or(u8::MAX);
    let v4 = Ipv4Addr::new(172, 16, number, 1).into();
    let v6 = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, u16::from(number), 1).into();
    world.routers.insert(name.to_owned(), Router::new(v4, v6));
}
