//! Many packets in one system call: `sendmmsg` and `recvmmsg`.

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;

use super::length_of;

/// Where the packets of an [`Outbox`] go.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Destination {
    /// To the address set for each, by the kernel's own routing.
    Routed,
    /// Out of one interface, the link-layer header being part of the packet.
    Interface(libc::c_int),
}

/// Packets of one length to be sent at once.
pub(crate) struct Outbox {
    destination: Destination,
    length: usize,
    bytes: Vec<u8>,
    routed: Vec<libc::sockaddr_in>,
    link: libc::sockaddr_ll,
    vectors: Vec<libc::iovec>,
    headers: Vec<libc::mmsghdr>,
}

impl Outbox {
    /// Makes room for `count` copies of a packet.
    pub(crate) fn new(count: usize, template: &[u8], destination: Destination) -> Self {
        // SAFETY: `sockaddr_ll` is plain data, for which zero is valid.
        let mut link: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        link.sll_family = family(libc::AF_PACKET);
        if let Destination::Interface(index) = destination {
            link.sll_ifindex = index;
        }
        // SAFETY: `sockaddr_in` is plain data, for which zero is valid.
        let mut routed: libc::sockaddr_in = unsafe { std::mem::zeroed() };
        routed.sin_family = family(libc::AF_INET);
        // SAFETY: `mmsghdr` holds integers and pointers, for which zero and null are valid.
        let header: libc::mmsghdr = unsafe { std::mem::zeroed() };
        let empty = libc::iovec { iov_base: std::ptr::null_mut(), iov_len: template.len() };
        Self {
            destination,
            length: template.len(),
            bytes: template.repeat(count),
            routed: vec![routed; count],
            link,
            vectors: vec![empty; count],
            headers: vec![header; count],
        }
    }

    /// How many packets fit.
    pub(crate) fn capacity(&self) -> usize {
        self.headers.len()
    }

    /// The bytes of one packet, to be changed in place.
    pub(crate) fn packet_mut(&mut self, index: usize) -> &mut [u8] {
        &mut self.bytes[index * self.length..][..self.length]
    }

    /// Sets where one packet goes, for [`Destination::Routed`].
    pub(crate) fn address(&mut self, index: usize, target: Ipv4Addr) {
        self.routed[index].sin_addr.s_addr = u32::from_ne_bytes(target.octets());
    }

    /// Sends the first `count` packets; gives how many the kernel took.
    ///
    /// A full queue on the way takes none, which is no error: the caller comes again.
    pub(crate) fn send(&mut self, fd: &impl AsRawFd, count: usize) -> io::Result<usize> {
        let count = count.min(self.capacity());
        for index in 0..count {
            self.vectors[index].iov_base = self.bytes[index * self.length..].as_mut_ptr().cast();
            let header = &mut self.headers[index].msg_hdr;
            header.msg_iov = &raw mut self.vectors[index];
            header.msg_iovlen = 1;
            (header.msg_name, header.msg_namelen) = match self.destination {
                Destination::Routed => {
                    ((&raw mut self.routed[index]).cast(), length_of::<libc::sockaddr_in>())
                }
                Destination::Interface(_) => {
                    ((&raw mut self.link).cast(), length_of::<libc::sockaddr_ll>())
                }
            };
        }
        // SAFETY: the first `count` headers have just been pointed at live vectors, addresses and
        // bytes of this struct, with their true lengths; the kernel writes to the headers only.
        let sent = unsafe {
            libc::sendmmsg(fd.as_raw_fd(), self.headers.as_mut_ptr(), count as libc::c_uint, 0)
        };
        match super::check(sent) {
            Ok(sent) => Ok(usize::try_from(sent).unwrap_or_default()),
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => Ok(0),
            Err(error) => Err(error),
        }
    }
}

/// Room for packets that are received at once.
pub(crate) struct Inbox {
    bytes: Vec<u8>,
    vectors: Vec<libc::iovec>,
    headers: Vec<libc::mmsghdr>,
}

impl Inbox {
    /// Makes room for `count` packets.
    pub(crate) fn new(count: usize) -> Self {
        // SAFETY: `mmsghdr` holds integers and pointers, for which zero and null are valid.
        let header: libc::mmsghdr = unsafe { std::mem::zeroed() };
        let empty = libc::iovec { iov_base: std::ptr::null_mut(), iov_len: ROOM };
        Self {
            bytes: vec![0; count * ROOM],
            vectors: vec![empty; count],
            headers: vec![header; count],
        }
    }

    /// Takes what is there, without waiting; gives how many packets came.
    pub(crate) fn receive(&mut self, fd: &impl AsRawFd) -> io::Result<usize> {
        for (index, header) in self.headers.iter_mut().enumerate() {
            self.vectors[index].iov_base = self.bytes[index * ROOM..].as_mut_ptr().cast();
            header.msg_hdr.msg_iov = &raw mut self.vectors[index];
            header.msg_hdr.msg_iovlen = 1;
        }
        // SAFETY: every header has just been pointed at a live vector over `ROOM` bytes of its
        // own; no address, control data or timeout is asked for.
        let received = unsafe {
            libc::recvmmsg(
                fd.as_raw_fd(),
                self.headers.as_mut_ptr(),
                self.headers.len() as libc::c_uint,
                libc::MSG_DONTWAIT,
                std::ptr::null_mut(),
            )
        };
        match super::check(received) {
            Ok(received) => Ok(usize::try_from(received).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
            Err(error) => Err(error),
        }
    }
}

fn family(family: libc::c_int) -> libc::sa_family_t {
    libc::sa_family_t::try_from(family).unwrap_or_default()
}

/// More than any packet here is long.
const ROOM: usize = 128;
