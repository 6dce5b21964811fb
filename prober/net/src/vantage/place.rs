//! The place a vantage's sockets are made in.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use pnet::ipnetwork::IpNetwork;
use reachd_core::vantage::{Binding, Vantage};
use reachd_core::wording::Wording;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::namespace::{Namespace, NamespaceId, own_id};
use crate::sys;

/// Everything a socket needs to leave from a vantage; cheap to clone, free to send to tasks.
#[derive(Debug, Clone)]
pub struct Place {
    namespace: Option<Namespace>,
    namespace_id: NamespaceId,
    source: Option<IpAddr>,
    device: Option<(Arc<str>, u32)>,
    mark: Option<u32>,
}

/// The loopback and other addresses of the calling thread's network namespace.
///
/// # Errors
///
/// When the kernel tells nothing, for lack of memory or descriptors.
pub fn own_addresses() -> io::Result<Vec<IpAddr>> {
    let interfaces = pnet::datalink::interfaces();
    if interfaces.is_empty() {
        // Every namespace has a loopback interface, up or down.
        return Err(io::Error::from_raw_os_error(libc::ENOBUFS));
    }
    Ok(interfaces.iter().flat_map(|interface| &interface.ips).map(IpNetwork::ip).collect())
}

impl Place {
    /// Finds the place of a vantage as things stand now.
    pub fn find(vantage: &Vantage) -> io::Result<Self> {
        let mut place = Self {
            namespace: None,
            namespace_id: own_id()?,
            source: None,
            device: None,
            mark: vantage.mark,
        };
        match &vantage.binding {
            Binding::Any => {}
            Binding::Source(address) => {
                place.source = Some(*address);
                if !own_addresses()?.contains(address) {
                    return Err(io::Error::from_raw_os_error(libc::EADDRNOTAVAIL));
                }
            }
            Binding::Interface(name) => {
                let index = sys::interface_index(name)?;
                place.device = Some((name.as_str().into(), index));
            }
            Binding::Namespace(name) => {
                let namespace = Namespace::open(name)?;
                place.namespace_id = namespace.id();
                place.namespace = Some(namespace);
            }
        }
        Ok(place)
    }

    /// The name of its namespace, if it is not our own.
    pub fn namespace_name(&self) -> Option<&str> {
        self.namespace.as_ref().map(Namespace::name)
    }

    /// The network namespace it lies in.
    pub const fn namespace_id(&self) -> NamespaceId {
        self.namespace_id
    }

    /// The source address it is bound to.
    pub const fn source(&self) -> Option<IpAddr> {
        self.source
    }

    /// The index of the device it is bound to.
    pub(crate) fn device_index(&self) -> Option<u32> {
        self.device.as_ref().map(|(_, index)| *index)
    }

    /// The firewall mark of its packets.
    pub(crate) const fn mark(&self) -> Option<u32> {
        self.mark
    }

    /// Runs `work` inside the place's network namespace.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
        match &self.namespace {
            Some(namespace) => namespace.run(work),
            None => work(),
        }
    }

    /// All addresses of the place's network namespace.
    pub fn addresses(&self) -> io::Result<Vec<IpAddr>> {
        self.enter(own_addresses)
    }

    /// Whether the address lies in a network that one of our interfaces is on: no gateway is
    /// between.
    ///
    /// # Errors
    ///
    /// As [`own_addresses`].
    pub fn is_on_link(&self, to: IpAddr) -> io::Result<bool> {
        self.enter(move || {
            let interfaces = pnet::datalink::interfaces();
            let networks = interfaces.iter().flat_map(|interface| &interface.ips);
            let host_bits = |network: &IpNetwork| match network {
                IpNetwork::V4(v4) => v4.prefix() < 32,
                IpNetwork::V6(v6) => v6.prefix() < 128,
            };
            let mut networks = networks.filter(|network| host_bits(network));
            Ok(networks.any(|network| network.contains(to)))
        })
    }

    /// What is gone of it, if something is; `own` are the addresses of our own namespace, if known.
    pub fn missing(&self, own: Option<&[IpAddr]>) -> Option<Wording> {
        if let Some(namespace) = &self.namespace
            && !namespace.is_current()
        {
            let name = namespace.name();
            return Some(Wording::new(
                format!("network namespace {name} was deleted or replaced"),
                format!("网络命名空间 {name} 已被删除或替换"),
            ));
        }
        if let Some((name, index)) = &self.device
            && sys::interface_index(name).ok() != Some(*index)
        {
            return Some(Wording::new(
                format!("interface {name} was deleted or replaced"),
                format!("网卡 {name} 已被删除或替换"),
            ));
        }
        match (self.source, own) {
            (Some(source), Some(own)) if !own.contains(&source) => Some(Wording::new(
                format!("address {source} is on no interface"),
                format!("没有网卡配置了地址 {source}"),
            )),
            _ => None,
        }
    }

    /// Makes a socket in the place, tied to its device and mark but not yet to its source.
    pub fn socket(
        &self,
        family: IpAddr,
        ty: Type,
        protocol: Option<Protocol>,
    ) -> io::Result<Socket> {
        self.enter(|| self.socket_inside(family, ty, protocol))
    }

    /// As [`Self::socket`], for a caller who is in the namespace already.
    pub(crate) fn socket_inside(
        &self,
        family: IpAddr,
        ty: Type,
        protocol: Option<Protocol>,
    ) -> io::Result<Socket> {
        let domain = match family {
            IpAddr::V4(_) => Domain::IPV4,
            IpAddr::V6(_) => Domain::IPV6,
        };
        let socket = Socket::new(domain, ty, protocol)?;
        socket.set_nonblocking(true)?;
        self.bind_device(&socket)?;
        if let Some(mark) = self.mark {
            socket.set_mark(mark)?;
        }
        Ok(socket)
    }

    /// Ties a socket to the place's device, if it has one.
    pub(super) fn bind_device(&self, socket: &Socket) -> io::Result<()> {
        match &self.device {
            Some((name, _)) => socket.bind_device(Some(name.as_bytes())),
            None => Ok(()),
        }
    }

    /// Whether the place can reach addresses of this family at all.
    pub const fn serves(&self, family: IpAddr) -> bool {
        match self.source {
            Some(source) => source.is_ipv4() == family.is_ipv4(),
            None => true,
        }
    }

    /// Binds a socket to the place's source, if it has one; without taking a port if TCP or UDP.
    pub fn bind_source(&self, socket: &Socket) -> io::Result<()> {
        let Some(source) = self.source else { return Ok(()) };
        // Without this a bound but unconnected socket takes a port from everybody (ip(7)). Raw
        // sockets have no ports and some kernels refuse the option there.
        let level = libc::IPPROTO_IP;
        let _ = sys::set_int(socket, level, libc::IP_BIND_ADDRESS_NO_PORT, 1);
        socket.bind(&SockAddr::from(SocketAddr::new(source, 0)))
    }
}

/// The unspecified address of a family, to name a family.
pub(crate) const FAMILIES: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)];
