//! Rtnetlink (rtnetlink(7)): short questions to the kernel, and its news.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};

use netlink_packet_core::{
    NLM_F_REQUEST, NetlinkBuffer, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkLayerType, LinkMessage};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};

/// Room for one datagram: the kernel's own (`NLMSG_GOODSIZE`) are not longer.
const DATAGRAM_LEN: usize = 32 * 1_024;
/// News read in one turn; the rest waits for the next one.
const NEWS_PER_TURN: usize = 1_024;
/// Room for news between two turns; without it they are lost, which is told.
const NEWS_BUFFER: u32 = 1 << 20;

/// Groups whose news may change the way to anywhere.
const GROUPS: [u32; 8] = [
    libc::RTNLGRP_LINK,
    libc::RTNLGRP_IPV4_IFADDR,
    libc::RTNLGRP_IPV6_IFADDR,
    libc::RTNLGRP_IPV4_ROUTE,
    libc::RTNLGRP_IPV6_ROUTE,
    libc::RTNLGRP_IPV4_RULE,
    libc::RTNLGRP_IPV6_RULE,
    libc::RTNLGRP_NEXTHOP,
];

/// A link address of Ethernet.
pub(super) type LinkAddress = [u8; 6];

/// A socket to ask questions with.
pub(super) struct Questions {
    socket: Socket,
    sequence: u32,
    buffer: Vec<u8>,
}

impl std::fmt::Debug for Questions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Questions").field("sequence", &self.sequence).finish_non_exhaustive()
    }
}

impl Questions {
    /// Opens the socket; the caller is in the namespace.
    pub(super) fn open_inside() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        Ok(Self { socket, sequence: 0, buffer: vec![0; DATAGRAM_LEN] })
    }

    /// The kernel's one answer; `None` if it refuses, or says what we do not understand.
    pub(super) fn ask(&mut self, question: RouteNetlinkMessage) -> Option<RouteNetlinkMessage> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST;
        header.sequence_number = self.sequence;
        let mut message = NetlinkMessage::new(header, NetlinkPayload::from(question));
        message.finalize();
        let length = message.buffer_len();
        message.serialize(self.buffer.get_mut(..length)?);
        self.socket.send(self.buffer.get(..length)?, 0).ok()?;
        loop {
            // The kernel answers before it returns from `send`: nothing there means nothing comes.
            let datagram = receive(&self.socket, &mut self.buffer).ok()?;
            let answer = NetlinkMessage::<RouteNetlinkMessage>::deserialize(datagram).ok()?;
            // An answer to an earlier question that was given up.
            if answer.header.sequence_number != self.sequence {
                continue;
            }
            return match answer.payload {
                NetlinkPayload::InnerMessage(answer) => Some(answer),
                _ => None,
            };
        }
    }
}

/// Something that the kernel told without being asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum News {
    /// Links, addresses, routes or rules changed.
    Routes,
    /// A neighbour changed.
    Neighbour(Neighbour),
    /// So much happened that some of it was lost.
    Lost,
}

/// A neighbour and how it is reached, if it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Neighbour {
    /// The interface that it is on.
    pub(super) interface: u32,
    /// Its address.
    pub(super) address: IpAddr,
    /// Its link address, while the kernel would use it.
    pub(super) link: Option<LinkAddress>,
    /// Whether the kernel was sure of it at that moment.
    pub(super) is_fresh: bool,
}

/// A socket that hears the kernel's news.
pub(super) struct Watch {
    socket: Socket,
    buffer: Vec<u8>,
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch").finish_non_exhaustive()
    }
}

/// Whether news of neighbours are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Neighbours {
    /// They are.
    Heard,
    /// The kernel looks after them.
    Ignored,
}

impl Watch {
    /// Opens the socket; the caller is in the namespace. It needs no privilege.
    pub(super) fn open_inside(neighbours: Neighbours) -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        // What is lost for want of room is told.
        let _ = socket.set_rx_buf_sz(NEWS_BUFFER);
        socket.bind(&SocketAddr::new(0, 0))?;
        GROUPS.into_iter().try_for_each(|group| socket.add_membership(group))?;
        if neighbours == Neighbours::Heard {
            socket.add_membership(libc::RTNLGRP_NEIGH)?;
        }
        Ok(Self { socket, buffer: vec![0; DATAGRAM_LEN] })
    }

    /// Hands on what was told since the last call.
    pub(super) fn read(&mut self, mut tell: impl FnMut(News)) {
        for _ in 0..NEWS_PER_TURN {
            match receive(&self.socket, &mut self.buffer) {
                Ok(datagram) => read_datagram(datagram, &mut tell),
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => tell(News::Lost),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
    }
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Receives one datagram of the kernel without blocking.
fn receive<'a>(socket: &Socket, buffer: &'a mut [u8]) -> io::Result<&'a [u8]> {
    let mut room = &mut *buffer;
    let (length, from) = socket.recv_from(&mut room, libc::MSG_DONTWAIT | libc::MSG_TRUNC)?;
    // Root's processes may write to our socket too: only port 0 is the kernel.
    if from.port_number() != 0 {
        return Ok(&[]);
    }
    // What did not fit was not understood, which is as good as lost.
    buffer.get(..length).ok_or_else(|| io::Error::from_raw_os_error(libc::ENOBUFS))
}

/// Tells what one datagram says. Of routes only that they changed: a router of the whole Internet
/// tells a thousand a second, and they may be of kinds that the parser does not know.
fn read_datagram(mut datagram: &[u8], tell: &mut impl FnMut(News)) {
    while let Ok(message) = NetlinkBuffer::new_checked(datagram) {
        let length = (message.length() as usize).next_multiple_of(4);
        match message.message_type() {
            libc::RTM_NEWNEIGH | libc::RTM_DELNEIGH => {
                let is_gone = message.message_type() == libc::RTM_DELNEIGH;
                if let Some(mut neighbour) = parse_neighbour(datagram) {
                    neighbour.link = neighbour.link.filter(|_| !is_gone);
                    tell(News::Neighbour(neighbour));
                }
            }
            kind if kind >= libc::RTM_NEWLINK => tell(News::Routes),
            _ => {}
        }
        match datagram.get(length..) {
            Some(rest) if length > 0 => datagram = rest,
            _ => return,
        }
    }
}

fn parse_neighbour(datagram: &[u8]) -> Option<Neighbour> {
    match NetlinkMessage::<RouteNetlinkMessage>::deserialize(datagram).ok()?.payload {
        NetlinkPayload::InnerMessage(
            RouteNetlinkMessage::NewNeighbour(message) | RouteNetlinkMessage::DelNeighbour(message),
        ) => neighbour_of(&message),
        _ => None,
    }
}

/// Reads a neighbour; `None` if it is not one of IP, such as a bridge's.
fn neighbour_of(message: &NeighbourMessage) -> Option<Neighbour> {
    let (mut address, mut link) = (None, None);
    for attribute in &message.attributes {
        match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(dest)) => {
                address = Some(IpAddr::V4(*dest));
            }
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(dest)) => {
                address = Some(IpAddr::V6(*dest));
            }
            NeighbourAttribute::LinkLayerAddress(bytes) => link = bytes.as_slice().try_into().ok(),
            _ => {}
        }
    }
    let state = message.header.state;
    // The kernel sends at once in these states (`NUD_VALID`; NOARP devices are left to it).
    let is_usable = matches!(
        state,
        NeighbourState::Reachable
            | NeighbourState::Stale
            | NeighbourState::Delay
            | NeighbourState::Probe
            | NeighbourState::Permanent
    );
    Some(Neighbour {
        interface: message.header.ifindex,
        address: address?,
        link: link.filter(|_| is_usable),
        is_fresh: matches!(state, NeighbourState::Reachable | NeighbourState::Permanent),
    })
}

/// What kind of frames an interface takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Link {
    /// Ethernet frames to a neighbour's address.
    Ethernet,
    /// Bare packets: TUN, `WireGuard`, PPP.
    Bare,
    /// Something that we leave to the kernel.
    Other,
}

/// Asks about interfaces, and remembers.
#[derive(Debug, Default)]
pub(super) struct Links(HashMap<u32, Link>);

impl Links {
    /// What an interface is, if packets of this length fit.
    pub(super) fn get(&mut self, questions: &mut Questions, interface: u32, length: u32) -> Link {
        *self
            .0
            .entry(interface)
            .or_insert_with(|| ask_link(questions, interface, length).unwrap_or(Link::Other))
    }

    /// Forgets all: an index may mean another interface now.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

fn ask_link(questions: &mut Questions, interface: u32, length: u32) -> Option<Link> {
    let mut message = LinkMessage::default();
    message.header.index = interface;
    let RouteNetlinkMessage::NewLink(link) =
        questions.ask(RouteNetlinkMessage::GetLink(message))?
    else {
        return None;
    };
    let is_small =
        |attribute: &LinkAttribute| matches!(attribute, LinkAttribute::Mtu(mtu) if *mtu < length);
    if link.attributes.iter().any(is_small) {
        return None;
    }
    let has_neighbours = !link.header.flags.contains(LinkFlags::Noarp);
    Some(match link.header.link_layer_type {
        LinkLayerType::Ether if has_neighbours => Link::Ethernet,
        LinkLayerType::None | LinkLayerType::Ppp => Link::Bare,
        _ => Link::Other,
    })
}

/// Asks about one neighbour; `None` if the kernel knows none.
pub(super) fn ask_neighbour(
    questions: &mut Questions,
    interface: u32,
    address: IpAddr,
) -> Option<Neighbour> {
    let mut message = NeighbourMessage::default();
    message.header.family = family_of(address);
    message.header.ifindex = interface;
    let dest = match address {
        IpAddr::V4(address) => NeighbourAddress::Inet(address),
        IpAddr::V6(address) => NeighbourAddress::Inet6(address),
    };
    message.attributes.push(NeighbourAttribute::Destination(dest));
    match questions.ask(RouteNetlinkMessage::GetNeighbour(message))? {
        RouteNetlinkMessage::NewNeighbour(message) => neighbour_of(&message),
        _ => None,
    }
}

/// The number of an address's family.
pub(super) const fn family_of(address: IpAddr) -> AddressFamily {
    match address {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    }
}
