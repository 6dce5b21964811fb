//! Addresses that go in pairs: every interface of the lab has one of each family.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// One of the two IP families.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Both families, in order.
    pub const BOTH: [Self; 2] = [Self::V4, Self::V6];

    /// Gives the family of an address.
    pub fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }

    /// Gives the option that makes `ip` speak of this family.
    pub(crate) fn option(self) -> &'static str {
        match self {
            Self::V4 => "-4",
            Self::V6 => "-6",
        }
    }
}

/// The two addresses of one interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// The IPv4 address.
    pub v4: Ipv4Addr,
    /// The IPv6 address.
    pub v6: Ipv6Addr,
}

impl Addresses {
    /// Gives the address of one family.
    pub fn of(self, family: Family) -> IpAddr {
        match family {
            Family::V4 => self.v4.into(),
            Family::V6 => self.v6.into(),
        }
    }

    /// Gives both addresses, IPv4 first.
    pub fn both(self) -> [IpAddr; 2] {
        Family::BOTH.map(|family| self.of(family))
    }

    /// Gives the IPv4 address with a port.
    pub fn socket_v4(self, port: u16) -> SocketAddr {
        (self.v4, port).into()
    }

    /// Gives the IPv6 address with a port.
    pub fn socket_v6(self, port: u16) -> SocketAddr {
        (self.v6, port).into()
    }
}

/// A network prefix of either family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefix {
    /// The first address.
    pub address: IpAddr,
    /// How many leading bits count.
    pub length: u8,
}

impl Prefix {
    /// Gives the family.
    pub fn family(self) -> Family {
        Family::of(self.address)
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

impl From<IpAddr> for Prefix {
    fn from(address: IpAddr) -> Self {
        let length = match address {
            IpAddr::V4(_) => 32,
            IpAddr::V6(_) => 128,
        };
        Self { address, length }
    }
}

/// Any number of prefixes: what a fault or a match may be aimed at.
///
/// Built from an address, a pair of [`Addresses`], a [`Prefix`] or a [`Subnet`], so that a fault
/// on a host hits both families unless one address is named.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prefixes(pub(crate) Vec<Prefix>);

impl Prefixes {
    /// Gives those of one family.
    pub(crate) fn of(&self, family: Family) -> impl Iterator<Item = Prefix> {
        self.0.iter().copied().filter(move |prefix| prefix.family() == family)
    }
}

impl fmt::Display for Prefixes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<String> = self.0.iter().map(Prefix::to_string).collect();
        f.write_str(&words.join(" and "))
    }
}

impl From<IpAddr> for Prefixes {
    fn from(address: IpAddr) -> Self {
        Self(vec![address.into()])
    }
}

impl From<Ipv4Addr> for Prefixes {
    fn from(address: Ipv4Addr) -> Self {
        IpAddr::from(address).into()
    }
}

impl From<Ipv6Addr> for Prefixes {
    fn from(address: Ipv6Addr) -> Self {
        IpAddr::from(address).into()
    }
}

impl From<Addresses> for Prefixes {
    fn from(addresses: Addresses) -> Self {
        Self(addresses.both().map(Prefix::from).into())
    }
}

impl From<Prefix> for Prefixes {
    fn from(prefix: Prefix) -> Self {
        Self(vec![prefix])
    }
}

impl From<Subnet> for Prefixes {
    fn from(subnet: Subnet) -> Self {
        Self(Family::BOTH.map(|family| subnet.prefix(family)).into())
    }
}

/// A network in both families, from which interfaces take the same host number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subnet {
    network: Addresses,
    length_v4: u8,
}

impl Subnet {
    /// Names a point-to-point network: `10.BLOCK.NUMBER.0/30` and `fd00:BLOCK:NUMBER::/64`.
    pub fn link(block: u8, number: u8) -> Self {
        Self::new(block, number, 30)
    }

    /// Names a shared network: `10.BLOCK.NUMBER.0/24` and `fd00:BLOCK:NUMBER::/64`.
    pub fn lan(block: u8, number: u8) -> Self {
        Self::new(block, number, 24)
    }

    /// Gives the addresses of a host number: `.10` and `::10` for 10.
    ///
    /// The IPv6 address shows the same digits, so its value is the number read as hexadecimal.
    pub fn host(self, number: u8) -> Addresses {
        let [a, b, c, _] = self.network.v4.octets();
        let mut v6 = self.network.v6.segments();
        v6[7] = same_digits(number);
        Addresses { v4: Ipv4Addr::new(a, b, c, number), v6: v6.into() }
    }

    /// Gives the prefix of one family.
    pub fn prefix(self, family: Family) -> Prefix {
        Prefix { address: self.network.of(family), length: self.length(family) }
    }

    pub(crate) fn length(self, family: Family) -> u8 {
        match family {
            Family::V4 => self.length_v4,
            Family::V6 => 64,
        }
    }

    fn new(block: u8, number: u8, length_v4: u8) -> Self {
        let v4 = Ipv4Addr::new(10, block, number, 0);
        let (block, number) = (same_digits(block), same_digits(number));
        let v6 = Ipv6Addr::new(0xfd00, block, number, 0, 0, 0, 0, 0);
        Self { network: Addresses { v4, v6 }, length_v4 }
    }
}

/// Gives the number whose hexadecimal digits are the decimal digits of `number`.
fn same_digits(number: u8) -> u16 {
    let number = u16::from(number);
    number / 100 * 0x100 + number / 10 % 10 * 0x10 + number % 10
}
