//! `recvmmsg`: many packets of a raw socket, or of an error queue, in one call, into memory that is
//! allocated once.

use std::io;
use std::net::Ipv6Addr;
use std::os::fd::{AsFd, AsRawFd};

use libc::{c_int, c_uint, c_void};

use super::length_of;
use super::message::{self, CONTROL_LEN, Control};

/// Packets taken in one call at most.
pub(crate) const CATCH_MAX: usize = 64;

/// Free bytes before each packet, for the IPv6 header that raw sockets do not give.
pub(crate) const HEADROOM: usize = 40;

/// Headroom, and the 1,536 bytes at most that our filters let through.
const ROOM_LEN: usize = HEADROOM + 1_536;

/// Which queue of a socket is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Queue {
    /// What came.
    Data,
    /// What went wrong, and what left.
    Errors,
}

/// What is known of a packet besides its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Facts {
    /// The sender, of IPv6.
    pub(crate) source: Option<Ipv6Addr>,
    /// The address it was sent to, of IPv6.
    pub(crate) dest: Option<Ipv6Addr>,
    /// The interface it came from or left by; 0 if not told.
    pub(crate) interface: u32,
    /// Received hop limit, of IPv6.
    pub(crate) hop_limit: Option<u8>,
    /// Kernel stamp in nanoseconds of the wall clock.
    pub(crate) stamp: Option<u64>,
}

/// Room for the packets of one call.
pub(crate) struct Catch {
    rooms: Box<[[u8; ROOM_LEN]]>,
    controls: Box<[Control]>,
    addresses: Box<[libc::sockaddr_in6]>,
    parts: Box<[libc::iovec]>,
    headers: Box<[libc::mmsghdr]>,
    length: usize,
}

// SAFETY: the pointers in `parts` and `headers` are written anew from the boxes beside them before
// every use, so nothing in here is tied to a thread.
unsafe impl Send for Catch {}

impl std::fmt::Debug for Catch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Catch").field("length", &self.length).finish_non_exhaustive()
    }
}

impl Catch {
    /// An empty catch with all its memory.
    pub(crate) fn new() -> Self {
        let part = libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 };
        // SAFETY: `mmsghdr` holds only integers and pointers, for which zero is valid.
        let header: libc::mmsghdr = unsafe { std::mem::zeroed() };
        // SAFETY: `sockaddr_in6` holds only integers, for which zero is valid.
        let address: libc::sockaddr_in6 = unsafe { std::mem::zeroed() };
        Self {
            rooms: vec![[0; ROOM_LEN]; CATCH_MAX].into_boxed_slice(),
            controls: vec![Control([0; CONTROL_LEN]); CATCH_MAX].into_boxed_slice(),
            addresses: vec![address; CATCH_MAX].into_boxed_slice(),
            parts: vec![part; CATCH_MAX].into_boxed_slice(),
            headers: vec![header; CATCH_MAX].into_boxed_slice(),
            length: 0,
        }
    }

    /// Takes what waits, without blocking, in place of what was there before; gives how many.
    pub(crate) fn receive(&mut self, fd: impl AsFd, queue: Queue) -> io::Result<usize> {
        self.length = 0;
        self.point();
        let flags = match queue {
            Queue::Data => libc::MSG_DONTWAIT,
            Queue::Errors => libc::MSG_DONTWAIT | libc::MSG_ERRQUEUE,
        };
        let count = c_uint::try_from(self.headers.len()).unwrap_or_default();
        let fd = fd.as_fd().as_raw_fd();
        // SAFETY: `headers` has `count` entries, whose pointers `point` just set to live, writable
        // memory of the lengths given beside them.
        let received = unsafe {
            let headers = self.headers.as_mut_ptr();
            libc::recvmmsg(fd, headers, count, flags, std::ptr::null_mut())
        };
        match usize::try_from(received) {
            Ok(received) => self.length = received.min(CATCH_MAX),
            Err(_) => {
                let error = io::Error::last_os_error();
                if !matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EINTR)) {
                    return Err(error);
                }
            }
        }
        Ok(self.length)
    }

    /// One packet of the last call: what is known of it, and its bytes behind the headroom.
    pub(crate) fn packet(&mut self, at: usize) -> Option<(Facts, &mut [u8])> {
        if at >= self.length {
            return None;
        }
        let mut facts = Facts::default();
        let header = &self.headers[at];
        if header.msg_hdr.msg_namelen >= length_of::<libc::sockaddr_in6>() {
            let address = &self.addresses[at];
            let is_v6 = c_int::from(address.sin6_family) == libc::AF_INET6;
            facts.source = is_v6.then(|| Ipv6Addr::from(address.sin6_addr.s6_addr));
        }
        // SAFETY: `receive` let the header point to its `Control`, of `CONTROL_LEN` bytes, which
        // the kernel has written since; nothing was moved after that but the boxes themselves.
        unsafe {
            let read = |level, ty, data: &[u8]| read_one(level, ty, data, &mut facts);
            message::each_control(&header.msg_hdr, read);
        }
        let length = usize::try_from(header.msg_len).unwrap_or_default();
        let end = (HEADROOM + length).min(ROOM_LEN);
        Some((facts, &mut self.rooms[at][..end]))
    }

    /// Lets the headers point to their memory, all of it free.
    fn point(&mut self) {
        for at in 0..self.headers.len() {
            let room = &mut self.rooms[at][HEADROOM..];
            self.parts[at].iov_len = room.len();
            self.parts[at].iov_base = room.as_mut_ptr().cast::<c_void>();
            let header = &mut self.headers[at].msg_hdr;
            header.msg_name = (&raw mut self.addresses[at]).cast::<c_void>();
            header.msg_namelen = length_of::<libc::sockaddr_in6>();
            header.msg_iov = &raw mut self.parts[at];
            header.msg_iovlen = 1;
            header.msg_control = self.controls[at].0.as_mut_ptr().cast::<c_void>();
            header.msg_controllen = CONTROL_LEN;
        }
    }
}

fn read_one(level: c_int, ty: c_int, data: &[u8], facts: &mut Facts) {
    let word = |at: usize| Some(u32::from_ne_bytes(*data.get(at..)?.first_chunk()?));
    match (level, ty) {
        // Of the three stamps of `SCM_TIMESTAMPING` the first is the software's.
        (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS | libc::SCM_TIMESTAMPING) => {
            facts.stamp = message::read_stamp(data).filter(|nanos| *nanos > 0);
        }
        (libc::IPPROTO_IP, libc::IP_PKTINFO) => facts.interface = word(0).unwrap_or(0),
        (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
            facts.dest = data.first_chunk::<16>().map(|bytes| Ipv6Addr::from(*bytes));
            facts.interface = word(16).unwrap_or(0);
        }
        (libc::IPPROTO_IPV6, libc::IPV6_HOPLIMIT) => {
            facts.hop_limit = word(0).and_then(|limit| u8::try_from(limit).ok());
        }
        _ => {}
    }
}
