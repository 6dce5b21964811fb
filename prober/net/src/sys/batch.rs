//! `sendmmsg`: many packets in one call, from memory that is allocated once.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd};

use libc::{c_uint, c_void};

use super::length_of;

/// Packets in one batch at most: more gain nothing and overrun receivers.
pub(crate) const BATCH_MAX: usize = 64;

/// Room for one packet; those of the sweep are at most 76 bytes long.
pub(crate) const PACKET_LEN_MAX: usize = 128;

/// Room for one packet of a batch.
pub(crate) type PacketRoom = [u8; PACKET_LEN_MAX];

/// Who is told of what leaves, where nobody else sees it.
pub(crate) trait Witness {
    /// Packets that may leave in one call: the time before it stands for all of them.
    fn at_once(&self) -> usize;
    /// A call begins.
    fn begin(&mut self);
    /// The call that began took this packet.
    fn sent(&mut self, packet: &[u8]);
}

/// Where a packet goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum To {
    /// Wherever the kernel routes this address, through a raw socket.
    Ip(IpAddr),
    /// Out of an interface as it is, through a packet socket of type `SOCK_DGRAM`.
    Link {
        /// The interface's index.
        interface: u32,
        /// Whether the packet is IPv6.
        is_v6: bool,
        /// The neighbour's link address; `None` where the link has none.
        address: Option<[u8; 6]>,
    },
}

/// Storage for every kind of socket address that a batch needs.
#[derive(Clone, Copy)]
#[repr(C)]
union Address {
    v4: libc::sockaddr_in,
    v6: libc::sockaddr_in6,
    link: libc::sockaddr_ll,
}

/// Packets to be sent together through one socket.
pub(crate) struct Batch {
    packets: Box<[PacketRoom]>,
    addresses: Box<[Address]>,
    parts: Box<[libc::iovec]>,
    headers: Box<[libc::mmsghdr]>,
    length: usize,
}

// SAFETY: the pointers in `parts` and `headers` are written anew from the boxes beside them before
// every use, so nothing in here is tied to a thread.
unsafe impl Send for Batch {}

impl std::fmt::Debug for Batch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Batch").field("length", &self.length).finish_non_exhaustive()
    }
}

impl Batch {
    /// An empty batch with all its memory.
    pub(crate) fn new() -> Self {
        let part = libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 };
        // SAFETY: `mmsghdr` holds only integers and pointers, for which zero is valid.
        let header: libc::mmsghdr = unsafe { std::mem::zeroed() };
        // SAFETY: `sockaddr_in6` holds only integers, for which zero is valid.
        let address = Address { v6: unsafe { std::mem::zeroed() } };
        Self {
            packets: vec![[0; PACKET_LEN_MAX]; BATCH_MAX].into_boxed_slice(),
            addresses: vec![address; BATCH_MAX].into_boxed_slice(),
            parts: vec![part; BATCH_MAX].into_boxed_slice(),
            headers: vec![header; BATCH_MAX].into_boxed_slice(),
            length: 0,
        }
    }

    /// Adds one packet, which `write` puts into its place and gives the length of; false, and
    /// nothing added, if there is no place or no packet.
    pub(crate) fn push(
        &mut self,
        to: To,
        write: impl FnOnce(&mut PacketRoom) -> Option<usize>,
    ) -> bool {
        let at = self.length;
        let (Some(room), Some(address)) = (self.packets.get_mut(at), self.addresses.get_mut(at))
        else {
            return false;
        };
        let Some(length) = write(room).filter(|length| *length <= PACKET_LEN_MAX) else {
            return false;
        };
        let (value, address_len) = address_of(to);
        *address = value;
        self.parts[at].iov_len = length;
        self.headers[at].msg_hdr.msg_namelen = address_len;
        self.length += 1;
        true
    }

    /// Sends all that was added, without blocking, and empties the batch; what was refused is told
    /// by its place in the order of adding.
    pub(crate) fn send(
        &mut self,
        fd: impl AsFd,
        witness: &mut impl Witness,
        mut refused: impl FnMut(usize, io::Error),
    ) {
        let length = std::mem::take(&mut self.length);
        self.point(length);
        let mut at = 0;
        while at < length {
            let end = length.min(at + witness.at_once().max(1));
            witness.begin();
            match self.send_from(&fd, at, end) {
                Ok(count) if count > 0 => {
                    for (room, part) in self.packets.iter().zip(&self.parts).skip(at).take(count) {
                        witness.sent(room.get(..part.iov_len).unwrap_or_default());
                    }
                    at += count;
                }
                Ok(_) => return,
                Err(error) => match error.raw_os_error() {
                    Some(libc::EINTR) => {}
                    // The socket's buffer is full, and so it stays for the rest of this call.
                    Some(libc::EAGAIN) => {
                        let full = || io::Error::from_raw_os_error(libc::EAGAIN);
                        (at..length).for_each(|at| refused(at, full()));
                        return;
                    }
                    // Everything else concerns the entry alone: even ENOBUFS, which comes from
                    // the queue of one of many devices.
                    _ => {
                        refused(at, error);
                        at += 1;
                    }
                },
            }
        }
    }

    /// Lets the headers point to their packets.
    fn point(&mut self, length: usize) {
        for at in 0..length {
            self.parts[at].iov_base = self.packets[at].as_mut_ptr().cast::<c_void>();
            let header = &mut self.headers[at].msg_hdr;
            header.msg_name = (&raw mut self.addresses[at]).cast::<c_void>();
            header.msg_iov = &raw mut self.parts[at];
            header.msg_iovlen = 1;
        }
    }

    /// One `sendmmsg`: how many were sent, or why the first was not.
    fn send_from(&mut self, fd: &impl AsFd, from: usize, to: usize) -> io::Result<usize> {
        let headers = &mut self.headers[from..to];
        let count = c_uint::try_from(headers.len()).unwrap_or_default();
        let fd = fd.as_fd().as_raw_fd();
        // SAFETY: `headers` has `count` entries, whose pointers `point` just set to live memory of
        // the lengths given beside them; the kernel reads all of it and writes `msg_len` only.
        let sent = unsafe { libc::sendmmsg(fd, headers.as_mut_ptr(), count, libc::MSG_DONTWAIT) };
        usize::try_from(sent).map_err(|_| io::Error::last_os_error())
    }
}

/// The socket address of a destination, and how long it is.
fn address_of(to: To) -> (Address, libc::socklen_t) {
    match to {
        To::Ip(IpAddr::V4(address)) => {
            let v4 = libc::sockaddr_in {
                sin_family: family(libc::AF_INET),
                sin_port: 0,
                sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(address.octets()) },
                sin_zero: [0; 8],
            };
            (Address { v4 }, length_of::<libc::sockaddr_in>())
        }
        To::Ip(IpAddr::V6(address)) => {
            let v6 = libc::sockaddr_in6 {
                sin6_family: family(libc::AF_INET6),
                sin6_port: 0,
                sin6_flowinfo: 0,
                sin6_addr: libc::in6_addr { s6_addr: address.octets() },
                sin6_scope_id: 0,
            };
            (Address { v6 }, length_of::<libc::sockaddr_in6>())
        }
        To::Link { interface, is_v6, address } => {
            let protocol = if is_v6 { libc::ETH_P_IPV6 } else { libc::ETH_P_IP };
            let mut sll_addr = [0; 8];
            sll_addr[..6].copy_from_slice(&address.unwrap_or_default());
            let link = libc::sockaddr_ll {
                sll_family: family(libc::AF_PACKET),
                sll_protocol: u16::try_from(protocol).unwrap_or_default().to_be(),
                sll_ifindex: i32::try_from(interface).unwrap_or_default(),
                sll_hatype: 0,
                sll_pkttype: 0,
                sll_halen: if address.is_some() { 6 } else { 0 },
                sll_addr,
            };
            (Address { link }, length_of::<libc::sockaddr_ll>())
        }
    }
}

fn family(number: libc::c_int) -> libc::sa_family_t {
    libc::sa_family_t::try_from(number).unwrap_or_default()
}
